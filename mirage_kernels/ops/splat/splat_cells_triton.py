# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Which cells a point covers, and the z-buffer, in Triton. The rules are those of ``csrc/splat/splat.h`` and
``csrc/common/depth_key.h``, the letters those of ``splat_reference.py``."""

from __future__ import annotations

import triton
import triton.language as tl

from ...triton_common import INFINITY, NEAR
from . import splat_reference as reference

EMPTY = tl.constexpr(reference.EMPTY)

_SLACK, _CELLS_SLACK, _GRID_SLACK = tl.constexpr(1.001), tl.constexpr(2.0**-7), tl.constexpr(2.0**-20)


@triton.jit
def depth_key(depth, point):
    """Of a positive depth: orders points by it, then by index."""
    return (depth.to(tl.int32, bitcast=True).to(tl.int64) << 32) | point


@triton.jit
def key_depth(key):
    """Infinite where no point is."""
    depth = (key >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    return tl.where(key != EMPTY, depth, INFINITY)


@triton.jit
def key_index(key):
    return tl.where(key != EMPTY, key & 0xFFFFFFFF, -1)


@triton.jit
def lower(keys, cell, key, mine):
    """Lower the keys of cells. They only ever fall, so one that does not beat an old value does not beat the newest:
    most atomics are saved by looking first."""
    shown = tl.load(keys + cell, mask=mine, other=0, cache_modifier=".cg")
    tl.atomic_min(keys + cell, key, mask=mine & (key < shown), sem="relaxed")


@triton.jit
def in_front(depth):
    return (depth > NEAR) & (depth < INFINITY)


@triton.jit
def own_cell(u, v, own):
    """Row and column; 0 where it is not on the grid."""
    return tl.where(own, v, 0.0).to(tl.int32), tl.where(own, u, 0.0).to(tl.int32)


@triton.jit
def _centres_within(at, reach, size):
    """First and last of the cells 0 .. size - 1 whose centres lie within ``reach`` of ``at``; last = -1 if none."""
    end = (size - 1).to(tl.float32)
    lo, hi = (at - reach) - 0.5, (at + reach) - 0.5
    some = (lo <= end) & (hi >= 0)
    lo = tl.where(some & (lo > 0), lo, 0.0)
    hi = tl.where(some, tl.where(hi < end, hi, end), 0.0)
    below = lo.to(tl.int32)
    first = below + (below.to(tl.float32) < lo).to(tl.int32)
    return first, tl.where(some, hi.to(tl.int32), -1)


@triton.jit
def covered_cells(u, v, depth, inverse, pinhole, extent, own, h, w):
    """Rows i0.. and columns j0.. of a square of half-size ``extent``, or of the cell it lands in: i0, j0, the number
    of columns (at least 1) and of cells."""
    half = extent * inverse
    j0, j1 = _centres_within(u, half * tl.load(pinhole), w)
    i0, i1 = _centres_within(v, half * tl.load(pinhole + 4), h)
    square = in_front(depth) & (i0 <= i1) & (j0 <= j1)
    i, j = own_cell(u, v, own)
    width = tl.where(square, j1 - j0 + 1, 1)
    area = tl.where(square, (i1 - i0 + 1) * width, own.to(tl.int32))
    return tl.where(square, i0, i), tl.where(square, j0, j), width, area


@triton.jit
def cells_around(u, v, depth, radius, h, w):
    """A range, like that of ``covered_cells``, that leaves out no cell that ``disc_covers``, and few others: the slack
    is more than the rounding of both."""
    reach = radius * _SLACK + _CELLS_SLACK
    j0, j1 = _centres_within(u, reach + w.to(tl.float32) * _GRID_SLACK, w)
    i0, i1 = _centres_within(v, reach + h.to(tl.float32) * _GRID_SLACK, h)
    some = in_front(depth) & (i0 <= i1) & (j0 <= j1)
    width = tl.where(some, j1 - j0 + 1, 1)
    return i0, j0, width, tl.where(some, (i1 - i0 + 1) * width, 0)


@triton.jit
def disc_covers(u, v, radius, i, j):
    x, y = (j.to(tl.float32) + 0.5) - u, (i.to(tl.float32) + 0.5) - v
    return x * x + y * y <= radius * radius


@triton.jit
def corners_of(u, v, depth, h, w):
    """Where a point is drawn in mode "bilinear": whether at all, row i and column j of the first cell, how far towards
    column j + 1 and row i + 1."""
    a, b = u - 0.5, v - 0.5
    some = in_front(depth) & (a >= -1) & (a < w.to(tl.float32)) & (b >= -1) & (b < h.to(tl.float32))
    a, b = tl.where(some, a, 0.0), tl.where(some, b, 0.0)
    j, i = _floor(a), _floor(b)
    return some, i, j, a - j.to(tl.float32), b - i.to(tl.float32)


@triton.jit
def _floor(x):
    """Of a number that an int32 can hold. (The floor of a GPU takes denormals for 0.)"""
    toward_zero = x.to(tl.int32)
    return toward_zero - (toward_zero.to(tl.float32) > x).to(tl.int32)


@triton.jit
def touch(some, i, j, s, t, corner, h, w):
    """Of corner 0 to 3, in the order of their cells: whether the point touches it, its cell and its weight."""
    right, low = corner % 2, corner // 2
    weight = tl.where(right == 1, s, 1.0 - s) * tl.where(low == 1, t, 1.0 - t)
    i, j = i + low, j + right
    return some & (i >= 0) & (i < h) & (j >= 0) & (j < w) & (weight > 0), i * w + j, weight


@triton.jit
def blend_limit(nearest, band):
    """A cell mixes the points that touch it no farther than this; none where it shows nothing."""
    return tl.where(nearest < INFINITY, (1.0 + band) * nearest, 0.0)
