# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels that plan an insert: encode points, split the sorted points into segments of one voxel each, look up
the voxels, number the new ones."""

from __future__ import annotations

import triton
import triton.language as tl

from ..._triton_common import INFINITY, widen
from ...backend import INTERPRETED
from .voxel_cache_index_reference import LIMIT
from .voxel_cache_index_triton import PROBES, find_rows, key_of_morton, morton

POINTS = tl.constexpr(1024 if INTERPRETED else 128)  # points per program
_LIMIT = tl.constexpr(LIMIT)
_KEPT = tl.constexpr(-(1 << 63))  # set in the codes of kept points; they sort before the others, whose code is 0


@triton.jit(do_not_specialize=["n", "rejected_from"])
def voxel_cache_encode_kernel(
    xyz, features, valid, footprint, codes, counts, n, inverse_size, default_footprint, rejected_from,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the code that each point is sorted by, and count rejected points in counts[1]."""
    at = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    valid_point = at < n
    x, x_in_range = _axis(tl.load(xyz + 3 * at, mask=valid_point, other=0.0), inverse_size)
    y, y_in_range = _axis(tl.load(xyz + 3 * at + 1, mask=valid_point, other=0.0), inverse_size)
    z, z_in_range = _axis(tl.load(xyz + 3 * at + 2, mask=valid_point, other=0.0), inverse_size)
    width = tl.full((POINTS,), default_footprint, tl.float32)
    if footprint is not None:
        width = tl.load(footprint + at, mask=valid_point, other=0.0)
    if valid is not None:
        valid_point = valid_point & (tl.load(valid + at, mask=valid_point, other=0) != 0)
    accepted = x_in_range & y_in_range & z_in_range & (width > 0) & (width < INFINITY)
    accepted = accepted & _are_in_range(features, at, valid_point & accepted, rejected_from, CHANNELS, BLOCK)
    tl.store(codes + at, tl.where(valid_point & accepted, morton(x, y, z) | _KEPT, 0), mask=at < n)
    rejected = tl.sum((valid_point & ~accepted).to(tl.int64), 0)
    tl.atomic_add(counts + 1, rejected, mask=rejected > 0, sem="relaxed")


@triton.jit
def _are_in_range(features, point, wanted, rejected_from, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Return whether the magnitudes of all features of each point, in bits, are below a limit; True where it is not
    wanted."""
    largest = tl.zeros((POINTS,), tl.int32)  # the bits of magnitudes sort as integers, those of infinity and NaN last
    first = 0
    while first < CHANNELS:
        c = first + tl.arange(0, BLOCK)
        in_bounds = wanted[:, None] & (c < CHANNELS)[None, :]
        x = widen(tl.load(features + point[:, None] * CHANNELS + c[None, :], mask=in_bounds, other=0.0))
        largest = tl.maximum(largest, tl.max(x.to(tl.int32, bitcast=True) & 0x7FFFFFFF, 1))
        first += BLOCK
    return largest < rejected_from


@triton.jit
def _axis(x, inverse_size):
    """Return the voxel on one axis, 0 for the lowest, and whether it is in range; False for NaN."""
    x = x * inverse_size
    accepted = (x >= -_LIMIT) & (x < _LIMIT)
    x = tl.where(accepted, x, 0.0)
    # tl.floor treats denormals as 0 on a GPU.
    cell = x.to(tl.int32)
    return (cell - (cell.to(tl.float32) > x).to(tl.int32)).to(tl.int64) + _LIMIT, accepted


@triton.jit(do_not_specialize=["n"])
def voxel_cache_find_starts_kernel(codes, is_start, n):
    """Flag (n + 1,) the starts of segments of equal sorted codes, and the end of the kept points."""
    at = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    code = tl.load(codes + at, mask=at < n, other=0)
    before = tl.load(codes + at - 1, mask=(at > 0) & (at <= n), other=1)  # no point has code 1
    tl.store(is_start + at, (code != before).to(tl.int32), mask=at <= n)


@triton.jit(do_not_specialize=["n"])
def voxel_cache_segment_kernel(
    codes, points, position, footprint, order, starts, key, winner, rank, n, LAST: tl.constexpr
):
    """Write ``order``, ``starts``, ``key`` and the winner of each segment.

    If the first or the ``LAST`` point wins, it is written to ``winner``. Otherwise ``rank`` receives the minimum of the
    packed (bits of the footprint, point). ``position`` is the running count of the flags of
    ``voxel_cache_find_starts_kernel``.
    """
    at = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    code = tl.load(codes + at, mask=at < n, other=0)
    kept = code < 0
    segment = tl.load(position + at, mask=at <= n, other=0) - 1
    begins = (at <= n) & (segment != tl.load(position + at - 1, mask=(at > 0) & (at <= n), other=0) - 1)
    tl.store(starts + segment, at.to(tl.int32), mask=begins)
    begins = begins & kept
    tl.store(key + segment, key_of_morton(code), mask=begins)
    point = tl.load(points + at, mask=kept, other=0)
    tl.store(order + at, point.to(tl.int32), mask=kept)
    if LAST:
        ends = kept & (segment != tl.load(position + at + 1, mask=kept, other=0) - 1)
        tl.store(winner + segment, point.to(tl.int32), mask=ends)
    elif footprint is None:
        tl.store(winner + segment, point.to(tl.int32), mask=begins)
    else:
        # Footprints are positive, so their bits sort as integers.
        width = tl.load(footprint + point, mask=kept, other=0.0)
        candidate = width.to(tl.int32, bitcast=True).to(tl.int64) << 32 | point
        target = rank + segment
        tl.atomic_min(target, candidate, mask=kept & (candidate < tl.load(target, mask=kept, other=0)), sem="relaxed")


@triton.jit(do_not_specialize=["n", "rows", "slots"])
def voxel_cache_look_up_kernel(
    key, position, rank, footprint, keys, footprint_rows, table, row, winner, is_new, n, rows, slots, default_footprint,
    LAST: tl.constexpr,
):  # fmt: skip
    """Find the row of each segment's voxel, or write -1 and flag the segment as new.

    A row with a footprint up to that of the winner keeps its observation.
    """
    at = tl.program_id(0).to(tl.int64) * PROBES + tl.arange(0, PROBES)
    in_bounds = at < tl.load(position + n) - 1
    found = find_rows(tl.load(key + at, mask=in_bounds, other=0), in_bounds, keys, table, rows, slots)
    tl.store(row + at, found, mask=in_bounds)
    tl.store(is_new + at, (in_bounds & (found < 0)).to(tl.int32), mask=at < n)
    if not LAST:
        if footprint is None:
            point = tl.load(winner + at, mask=in_bounds, other=0)
            width = default_footprint
        else:
            point = tl.load(rank + at, mask=in_bounds, other=0).to(tl.int32)
            width = tl.load(footprint + point, mask=in_bounds, other=0.0)
        held = tl.load(footprint_rows + found, mask=in_bounds & (found >= 0), other=INFINITY)
        tl.store(winner + at, tl.where((found < 0) | (width < held), point, -1), mask=in_bounds)


@triton.jit(do_not_specialize=["n", "rows"])
def voxel_cache_number_kernel(position, starts, new_count, row, counts, n, rows):
    """Number the rows of new voxels from ``rows`` on.

    ``new_count`` is the running count of the flags ``is_new`` of ``voxel_cache_look_up_kernel``. Afterwards ``counts``
    holds the numbers of new voxels, rejected points, segments and kept points.
    """
    at = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    segments = tl.load(position + n) - 1
    new = (at < segments) & (tl.load(row + at, mask=at < segments, other=0) < 0)
    tl.store(row + at, rows - 1 + tl.load(new_count + at, mask=new, other=0), mask=new)
    if tl.program_id(0) == 0:
        tl.store(counts, tl.load(new_count + n - 1).to(tl.int64))
        tl.store(counts + 2, segments.to(tl.int64))
        tl.store(counts + 3, tl.load(starts + segments).to(tl.int64))
