# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The kernels that plan an insert: encode the points, cut the sorted ones into segments of one voxel, look those
up, number the new ones."""

from __future__ import annotations

import triton
import triton.language as tl

from ...backend import INTERPRETED
from ...triton_common import INFINITY
from .voxel_cache_index_reference import LIMIT
from .voxel_cache_index_triton import PROBES, find_rows, key_of_morton, morton

POINTS = tl.constexpr(1024 if INTERPRETED else 128)  # of one program
_LIMIT = tl.constexpr(LIMIT)
_KEPT = tl.constexpr(-(1 << 63))  # set in the code of a point that is kept: it sorts before the others, whose code is 0


@triton.jit(do_not_specialize=["n"])
def encode_kernel(xyz, valid, footprint, codes, counts, n, inverse_size, default_footprint):
    """What to sort each point by; adds up the rejected ones in counts[1]."""
    at = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    offered = at < n
    x, x_good = _axis(tl.load(xyz + 3 * at, mask=offered, other=0.0), inverse_size)
    y, y_good = _axis(tl.load(xyz + 3 * at + 1, mask=offered, other=0.0), inverse_size)
    z, z_good = _axis(tl.load(xyz + 3 * at + 2, mask=offered, other=0.0), inverse_size)
    wide = tl.full((POINTS,), default_footprint, tl.float32)
    if footprint is not None:
        wide = tl.load(footprint + at, mask=offered, other=0.0)
    if valid is not None:
        offered = offered & (tl.load(valid + at, mask=offered, other=0) != 0)
    good = x_good & y_good & z_good & (wide >= 0) & (wide < INFINITY)
    tl.store(codes + at, tl.where(offered & good, morton(x, y, z) | _KEPT, 0), mask=at < n)
    rejected = tl.sum((offered & ~good).to(tl.int64), 0)
    tl.atomic_add(counts + 1, rejected, mask=rejected > 0, sem="relaxed")


@triton.jit
def _axis(x, inverse_size):
    """The voxel counted from the lowest, and whether it is in range; False for NaN."""
    x = x * inverse_size
    good = (x >= -_LIMIT) & (x < _LIMIT)
    x = tl.where(good, x, 0.0)
    # tl.floor takes a denormal number for 0 on a GPU.
    cell = x.to(tl.int32)
    return (cell - (cell.to(tl.float32) > x).to(tl.int32)).to(tl.int64) + _LIMIT, good


@triton.jit(do_not_specialize=["n"])
def cut_kernel(codes, cuts, n):
    """Flags (n + 1,) where a segment of equal sorted codes begins, and where the points that are kept end."""
    at = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    code = tl.load(codes + at, mask=at < n, other=0)
    before = tl.load(codes + at - 1, mask=(at > 0) & (at <= n), other=1)  # 1 is no point's code
    tl.store(cuts + at, (code != before).to(tl.int32), mask=at <= n)


@triton.jit(do_not_specialize=["n"])
def segment_kernel(codes, points, place, footprint, order, starts, key, winner, rank, n, LAST: tl.constexpr):
    """``order``, ``starts``, ``key``, and which point of each segment wins: in ``winner`` where that is the first or
    the ``LAST``, else in ``rank`` the least of the footprints' bits above the points' numbers. ``place`` counts the
    flags of ``cut_kernel``."""
    at = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    code = tl.load(codes + at, mask=at < n, other=0)
    kept = code < 0
    segment = tl.load(place + at, mask=at <= n, other=0) - 1
    begins = (at <= n) & (segment != tl.load(place + at - 1, mask=(at > 0) & (at <= n), other=0) - 1)
    tl.store(starts + segment, at.to(tl.int32), mask=begins)
    begins = begins & kept
    tl.store(key + segment, key_of_morton(code), mask=begins)
    point = tl.load(points + at, mask=kept, other=0)
    tl.store(order + at, point.to(tl.int32), mask=kept)
    if LAST:
        ends = kept & (segment != tl.load(place + at + 1, mask=kept, other=0) - 1)
        tl.store(winner + segment, point.to(tl.int32), mask=ends)
    elif footprint is None:
        tl.store(winner + segment, point.to(tl.int32), mask=begins)
    else:
        # A footprint is not negative, so its bits sort as an integer once -0 has become 0.
        wide = tl.load(footprint + point, mask=kept, other=0.0) + 0.0
        own = wide.to(tl.int32, bitcast=True).to(tl.int64) << 32 | point
        least = rank + segment
        tl.atomic_min(least, own, mask=kept & (own < tl.load(least, mask=kept, other=0)), sem="relaxed")


@triton.jit(do_not_specialize=["n", "rows", "slots"])
def look_up_kernel(
    key, place, rank, footprint, keys, footprint_rows, table, row, winner, fresh, n, rows, slots, default_footprint,
    LAST: tl.constexpr,
):  # fmt: skip
    """Which row holds each segment's voxel, -1 and a flag where none does; a row that was seen from nearer keeps its
    observation."""
    at = tl.program_id(0).to(tl.int64) * PROBES + tl.arange(0, PROBES)
    there = at < tl.load(place + n) - 1
    found = find_rows(tl.load(key + at, mask=there, other=0), there, keys, table, rows, slots)
    tl.store(row + at, found, mask=there)
    tl.store(fresh + at, (there & (found < 0)).to(tl.int32), mask=at < n)
    if not LAST:
        if footprint is None:
            point = tl.load(winner + at, mask=there, other=0)
            wide = default_footprint
        else:
            point = tl.load(rank + at, mask=there, other=0).to(tl.int32)
            wide = tl.load(footprint + point, mask=there, other=0.0)
        held = tl.load(footprint_rows + found, mask=there & (found >= 0), other=INFINITY)
        tl.store(winner + at, tl.where((found < 0) | (wide < held), point, -1), mask=there)


@triton.jit(do_not_specialize=["n", "rows"])
def number_kernel(place, starts, fresh, row, counts, n, rows):
    """New voxels get the rows from ``rows`` on. ``fresh`` counts the flags of ``look_up_kernel``. Then ``counts`` are
    new voxels, rejected points, segments and points that are kept."""
    at = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    segments = tl.load(place + n) - 1
    new = (at < segments) & (tl.load(row + at, mask=at < segments, other=0) < 0)
    tl.store(row + at, rows - 1 + tl.load(fresh + at, mask=new, other=0), mask=new)
    if tl.program_id(0) == 0:
        tl.store(counts, tl.load(fresh + n - 1).to(tl.int64))
        tl.store(counts + 2, segments.to(tl.int64))
        tl.store(counts + 3, tl.load(starts + segments).to(tl.int64))
