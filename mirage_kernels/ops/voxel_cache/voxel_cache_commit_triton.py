# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of ``voxel_cache_commit``, which write the segments of a plan. C channels."""

from __future__ import annotations

import triton
import triton.language as tl

from ..._triton_common import widen
from ...backend import INTERPRETED
from .voxel_cache_index_triton import BOX_ROWS, grow_boxes
from .voxel_cache_reference import MAX_COUNT

SEGMENTS = tl.constexpr(1024 if INTERPRETED else 128)  # segments per program of kernels that do not copy features
COPIES = tl.constexpr(256 if INTERPRETED else 32)  # rows per program that copies
SUMS = tl.constexpr(256 if INTERPRETED else 8)  # rows per warp that sums or quantizes
_MAX_COUNT = tl.constexpr(MAX_COUNT)


@triton.jit
def _count_after(count, more):
    """Return the counts of means after ``more`` observations: halved whenever they reach the maximum."""
    # The tensor comes first: the interpreter of Triton 3.8 does not subtract a tensor from a constant.
    until_halved = tl.maximum(-count + _MAX_COUNT, 1)
    while tl.max((more >= until_halved).to(tl.int32), 0) > 0:
        halved = more >= until_halved
        more = tl.where(halved, more - until_halved, more)
        # Half of count + until_halved, whose sum may exceed 32 bits.
        count = tl.where(halved, (count >> 1) + (until_halved >> 1) + (count & until_halved & 1), count)
        until_halved = tl.maximum(-count + _MAX_COUNT, 1)
    return count + more


@triton.jit(do_not_specialize=["n", "rows", "stamp"])
def voxel_cache_write_kernel(
    starts, key, row, winner, xyz, footprint, keys, xyz_rows, footprint_rows, count, stamp_rows, boxes, n, rows, stamp,
    default_footprint,
):  # fmt: skip
    """Write everything of a segment except its features: key, xyz, footprint, count, stamp, and its bounding box."""
    segment = tl.program_id(0).to(tl.int64) * SEGMENTS + tl.arange(0, SEGMENTS)
    in_bounds = segment < n
    target = tl.load(row + segment, mask=in_bounds, other=0).to(tl.int64)
    point = tl.load(winner + segment, mask=in_bounds, other=-1).to(tl.int64)
    new, changed = in_bounds & (target >= rows), point >= 0
    tl.store(keys + target, tl.load(key + segment, mask=new, other=0), mask=new)
    if count is None:
        tl.store(stamp_rows + target, stamp, mask=changed)
    else:
        tl.store(stamp_rows + target, stamp, mask=in_bounds)
        begin = tl.load(starts + segment, mask=in_bounds, other=0)
        end = tl.load(starts + segment + 1, mask=in_bounds, other=0)
        before = tl.load(count + target, mask=in_bounds & ~new, other=0)
        tl.store(count + target, _count_after(before, end - begin), mask=in_bounds)
    x = tl.load(xyz + 3 * point, mask=changed, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=changed, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=changed, other=0.0)
    if footprint is None:
        width = tl.full((SEGMENTS,), default_footprint, tl.float32)
    else:
        width = tl.load(footprint + point, mask=changed, other=0.0)
    tl.store(xyz_rows + 3 * target, x, mask=changed)
    tl.store(xyz_rows + 3 * target + 1, y, mask=changed)
    tl.store(xyz_rows + 3 * target + 2, z, mask=changed)
    tl.store(footprint_rows + target, width, mask=changed)
    grow_boxes(boxes + 7 * (target // BOX_ROWS), x, y, z, width, changed)


@triton.jit(do_not_specialize=["n"])
def voxel_cache_copy_kernel(row, winner, features, out, n, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Copy the features of winners to their rows."""
    segment = tl.program_id(0).to(tl.int64) * COPIES + tl.arange(0, COPIES)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    target = tl.load(row + segment, mask=segment < n, other=0).to(tl.int64)
    point = tl.load(winner + segment, mask=segment < n, other=-1).to(tl.int64)
    in_bounds = (point >= 0)[:, None] & (c < CHANNELS)[None, :]
    values = tl.load(features + point[:, None] * CHANNELS + c[None, :], mask=in_bounds)
    tl.store(out + target[:, None] * CHANNELS + c[None, :], values, mask=in_bounds)


@triton.jit(do_not_specialize=["n"])
def voxel_cache_quantize_kernel(row, winner, features, out, scales, n, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Write the features of winners as int8, with 127 for the largest magnitude, and the scale of every row."""
    segment = tl.program_id(0).to(tl.int64) * SUMS + tl.arange(0, SUMS)
    target = tl.load(row + segment, mask=segment < n, other=0).to(tl.int64)
    point = tl.load(winner + segment, mask=segment < n, other=-1).to(tl.int64)
    largest = tl.zeros((SUMS,), tl.int32)  # the bits of magnitudes sort as integers
    first = 0
    while first < CHANNELS:
        c = first + tl.arange(0, BLOCK)
        in_bounds = (point >= 0)[:, None] & (c < CHANNELS)[None, :]
        x = widen(tl.load(features + point[:, None] * CHANNELS + c[None, :], mask=in_bounds, other=0.0))
        largest = tl.maximum(largest, tl.max(x.to(tl.int32, bitcast=True) & 0x7FFFFFFF, 1))
        first += BLOCK
    scale = tl.div_rn(largest.to(tl.float32, bitcast=True), 127.0)
    tl.store(scales + target, scale, mask=point >= 0)
    scale = scale[:, None]
    first = 0
    while first < CHANNELS:
        c = first + tl.arange(0, BLOCK)
        in_bounds = (point >= 0)[:, None] & (c < CHANNELS)[None, :]
        x = widen(tl.load(features + point[:, None] * CHANNELS + c[None, :], mask=in_bounds, other=0.0))
        # Adding and subtracting 1.5 * 2^23 rounds to nearest, ties to even. If the scale underflowed, the quotient can
        # be above 127.
        steps = (tl.div_rn(x, scale) + 12582912.0) - 12582912.0
        steps = tl.where(scale > 0, tl.minimum(tl.maximum(steps, -127.0), 127.0), 0.0)
        tl.store(out + target[:, None] * CHANNELS + c[None, :], steps.to(tl.int8), mask=in_bounds)
        first += BLOCK


@triton.jit(do_not_specialize=["n", "rows"])
def voxel_cache_sum_kernel(
    order, starts, row, counts, features, out, n, rows, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):
    """Add the features of each segment, in order, to the sum of its row; a new row starts with its first point.

    ``counts`` are those of the rows before.
    """
    segment = tl.program_id(0).to(tl.int64) * SUMS + tl.arange(0, SUMS)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    channel = (c < CHANNELS)[None, :]
    target = tl.load(row + segment, mask=segment < n, other=0).to(tl.int64)
    begin = tl.load(starts + segment, mask=segment < n, other=0)
    end = tl.load(starts + segment + 1, mask=segment < n, other=0)
    new = target >= rows
    sums = out + target[:, None] * CHANNELS + c[None, :]
    total = tl.load(sums, mask=((segment < n) & ~new)[:, None] & channel, other=0.0)
    count = tl.load(counts + target, mask=(segment < n) & ~new, other=0)
    longest, step = tl.max(end - begin, 0), 0
    while step < longest:
        active = begin + step < end
        point = tl.load(order + begin + step, mask=active, other=0).to(tl.int64)
        x = tl.load(features + point[:, None] * CHANNELS + c[None, :], mask=active[:, None] & channel, other=0.0)
        x = widen(x)
        more = tl.where((new & (step == 0))[:, None], x, total + x)
        full = count >= _MAX_COUNT - 1  # with this point
        more = tl.where(full[:, None], more * 0.5, more)
        count = tl.where(full, (count >> 1) + (count & 1), count + 1)
        total = tl.where(active[:, None], more, total)
        step += 1
    tl.store(sums, total, mask=(segment < n)[:, None] & channel)
