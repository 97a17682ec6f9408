# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The kernels of ``voxel_cache_commit``: what is written of each segment. C channels."""

from __future__ import annotations

import triton
import triton.language as tl

from ...backend import INTERPRETED
from ...triton_common import widen
from .voxel_cache_index_triton import PAGE, grow_boxes

SEGMENTS = tl.constexpr(1024 if INTERPRETED else 128)  # of one program, where it does not move features
COPIES = tl.constexpr(256 if INTERPRETED else 32)  # rows of one program that copies
SUMS = tl.constexpr(256 if INTERPRETED else 8)  # rows of one warp that adds up or quantises


@triton.jit(do_not_specialize=["n", "rows", "stamp"])
def write_kernel(
    starts, key, row, winner, xyz, footprint, keys, xyz_rows, footprint_rows, count, stamp_rows, boxes, n, rows, stamp,
    default_footprint,
):  # fmt: skip
    """All of a segment but its features: key, place, footprint, count, stamp, and the box of its page."""
    at = tl.program_id(0).to(tl.int64) * SEGMENTS + tl.arange(0, SEGMENTS)
    there = at < n
    to = tl.load(row + at, mask=there, other=0).to(tl.int64)
    point = tl.load(winner + at, mask=there, other=-1).to(tl.int64)
    new, changed = there & (to >= rows), point >= 0
    tl.store(keys + to, tl.load(key + at, mask=new, other=0), mask=new)
    if count is None:
        tl.store(stamp_rows + to, stamp, mask=changed)
    else:
        tl.store(stamp_rows + to, stamp, mask=there)
        before = tl.load(count + to, mask=there & ~new, other=0)
        more = tl.load(starts + at + 1, mask=there, other=0) - tl.load(starts + at, mask=there, other=0)
        tl.store(count + to, before + more, mask=there)
    x = tl.load(xyz + 3 * point, mask=changed, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=changed, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=changed, other=0.0)
    if footprint is None:
        wide = tl.full((SEGMENTS,), default_footprint, tl.float32)
    else:
        wide = tl.load(footprint + point, mask=changed, other=0.0)
    tl.store(xyz_rows + 3 * to, x, mask=changed)
    tl.store(xyz_rows + 3 * to + 1, y, mask=changed)
    tl.store(xyz_rows + 3 * to + 2, z, mask=changed)
    tl.store(footprint_rows + to, wide, mask=changed)
    grow_boxes(boxes + 7 * (to // PAGE), x, y, z, wide, changed)


@triton.jit(do_not_specialize=["n"])
def copy_kernel(row, winner, features, out, n, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """The features of winners, into their rows."""
    at = tl.program_id(0).to(tl.int64) * COPIES + tl.arange(0, COPIES)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    to = tl.load(row + at, mask=at < n, other=0).to(tl.int64)
    point = tl.load(winner + at, mask=at < n, other=-1).to(tl.int64)
    there = (point >= 0)[:, None] & (c < CHANNELS)[None, :]
    values = tl.load(features + point[:, None] * CHANNELS + c[None, :], mask=there)
    tl.store(out + to[:, None] * CHANNELS + c[None, :], values, mask=there)


@triton.jit(do_not_specialize=["n"])
def quantise_kernel(row, winner, features, out, scales, n, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """The features of winners in 127 steps to the largest magnitude, and the size of a step."""
    at = tl.program_id(0).to(tl.int64) * SUMS + tl.arange(0, SUMS)
    to = tl.load(row + at, mask=at < n, other=0).to(tl.int64)
    point = tl.load(winner + at, mask=at < n, other=-1).to(tl.int64)
    largest = tl.zeros((SUMS,), tl.int32)  # magnitudes sort as integers
    first = 0
    while first < CHANNELS:
        c = first + tl.arange(0, BLOCK)
        there = (point >= 0)[:, None] & (c < CHANNELS)[None, :]
        x = widen(tl.load(features + point[:, None] * CHANNELS + c[None, :], mask=there, other=0.0))
        largest = tl.maximum(largest, tl.max(x.to(tl.int32, bitcast=True) & 0x7FFFFFFF, 1))
        first += BLOCK
    scale = tl.div_rn(largest.to(tl.float32, bitcast=True), 127.0)
    tl.store(scales + to, scale, mask=point >= 0)
    scale = scale[:, None]
    first = 0
    while first < CHANNELS:
        c = first + tl.arange(0, BLOCK)
        there = (point >= 0)[:, None] & (c < CHANNELS)[None, :]
        x = widen(tl.load(features + point[:, None] * CHANNELS + c[None, :], mask=there, other=0.0))
        # Adding and taking away 1.5 * 2^23 rounds to nearest, ties to even. A scale that has lost bits to underflow can
        # leave a quotient above 127.
        steps = (tl.div_rn(x, scale) + 12582912.0) - 12582912.0
        steps = tl.where(scale > 0, tl.minimum(tl.maximum(steps, -127.0), 127.0), 0.0)
        tl.store(out + to[:, None] * CHANNELS + c[None, :], steps.to(tl.int8), mask=there)
        first += BLOCK


@triton.jit(do_not_specialize=["n", "rows"])
def sum_kernel(order, starts, row, features, out, n, rows, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Adds up the features of each segment, in its order; a new row's sum begins with its first."""
    at = tl.program_id(0).to(tl.int64) * SUMS + tl.arange(0, SUMS)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    channel = (c < CHANNELS)[None, :]
    to = tl.load(row + at, mask=at < n, other=0).to(tl.int64)
    begin = tl.load(starts + at, mask=at < n, other=0)
    end = tl.load(starts + at + 1, mask=at < n, other=0)
    new = to >= rows
    sums = out + to[:, None] * CHANNELS + c[None, :]
    total = tl.load(sums, mask=((at < n) & ~new)[:, None] & channel, other=0.0)
    longest, step = tl.max(end - begin, 0), 0
    while step < longest:
        mine = begin + step < end
        point = tl.load(order + begin + step, mask=mine, other=0).to(tl.int64)
        x = tl.load(features + point[:, None] * CHANNELS + c[None, :], mask=mine[:, None] & channel, other=0.0)
        x = widen(x)
        more = tl.where((new & (step == 0))[:, None], x, total + x)
        total = tl.where(mine[:, None], more, total)
        step += 1
    tl.store(sums, total, mask=(at < n)[:, None] & channel)
