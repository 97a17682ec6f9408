# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton functions for the cells that a point covers and for the z-buffer, as in ``splat_reference.py``.

The native counterparts are ``csrc/splat/splat.h`` and ``csrc/common/depth_key.h``.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ..._triton_common import INFINITY
from . import splat_reference as reference

EMPTY = tl.constexpr(reference.EMPTY)

_SLACK, _CELLS_SLACK, _GRID_SLACK = tl.constexpr(1.001), tl.constexpr(2.0**-7), tl.constexpr(2.0**-20)


@triton.jit
def depth_key(depth, point):
    """Pack a positive depth and an index, so that keys sort by depth, then by index."""
    return (depth.to(tl.int32, bitcast=True).to(tl.int64) << 32) | point


@triton.jit
def key_depth(key):
    """Return the depth of a key, inf for the empty key."""
    depth = (key >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    return tl.where(key != EMPTY, depth, INFINITY)


@triton.jit
def key_index(key):
    """Return the index of a key, -1 for the empty key."""
    return tl.where(key != EMPTY, key & 0xFFFFFFFF, -1)


@triton.jit
def atomic_min_key(keys, cell, key, active):
    """Apply keys to cells by atomic minimum.

    Keys only decrease, so a key that is not below a stale value is not below the current one. The plain load avoids
    most atomics.
    """
    current = tl.load(keys + cell, mask=active, other=0, cache_modifier=".cg")
    tl.atomic_min(keys + cell, key, mask=active & (key < current), sem="relaxed")


@triton.jit
def in_front(depth, near):
    """Return whether a depth is greater than ``near`` and finite."""
    return (depth > near) & (depth < INFINITY)


@triton.jit
def cell_of_point(u, v, in_cell):
    """Return row and column of the cell of a point, 0 if it is not on the grid."""
    return tl.where(in_cell, v, 0.0).to(tl.int32), tl.where(in_cell, u, 0.0).to(tl.int32)


@triton.jit
def _centers_within(at, reach, size):
    """Return the first and last of the cells 0 .. size - 1 with centers within ``reach`` of ``at``.

    If there is none, last is -1.
    """
    end = (size - 1).to(tl.float32)
    lo, hi = (at - reach) - 0.5, (at + reach) - 0.5
    some = (lo <= end) & (hi >= 0)
    lo = tl.where(some & (lo > 0), lo, 0.0)
    hi = tl.where(some, tl.where(hi < end, hi, end), 0.0)
    below = lo.to(tl.int32)
    first = below + (below.to(tl.float32) < lo).to(tl.int32)
    return first, tl.where(some, hi.to(tl.int32), -1)


@triton.jit
def covered_cells(u, v, inverse, pinhole, extent, rendered, in_cell, h, w):
    """Return the cells of a square of half-size ``extent``, or the cell of the point if the square covers no center.

    Points that are not ``rendered`` have none.

    Returns:
        First row, first column, number of columns (at least 1), number of cells.
    """
    half = extent * inverse
    j0, j1 = _centers_within(u, half * tl.load(pinhole), w)
    i0, i1 = _centers_within(v, half * tl.load(pinhole + 4), h)
    square = rendered & (i0 <= i1) & (j0 <= j1)
    i, j = cell_of_point(u, v, in_cell)
    width = tl.where(square, j1 - j0 + 1, 1)
    area = tl.where(square, (i1 - i0 + 1) * width, in_cell.to(tl.int32))
    return tl.where(square, i0, i), tl.where(square, j0, j), width, area


@triton.jit
def cells_around(u, v, radius, rendered, h, w):
    """Return a range of cells, as ``covered_cells`` does, that contains every cell that ``disc_covers``.

    The slack is larger than the rounding errors of both functions.
    """
    reach = radius * _SLACK + _CELLS_SLACK
    j0, j1 = _centers_within(u, reach + w.to(tl.float32) * _GRID_SLACK, w)
    i0, i1 = _centers_within(v, reach + h.to(tl.float32) * _GRID_SLACK, h)
    some = rendered & (i0 <= i1) & (j0 <= j1)
    width = tl.where(some, j1 - j0 + 1, 1)
    return i0, j0, width, tl.where(some, (i1 - i0 + 1) * width, 0)


@triton.jit
def disc_covers(u, v, radius, i, j):
    """Return whether the center of cell (i, j) is within ``radius`` of (u, v)."""
    x, y = (j.to(tl.float32) + 0.5) - u, (i.to(tl.float32) + 0.5) - v
    return x * x + y * y <= radius * radius


@triton.jit
def bilinear_position(u, v, depth, near, h, w):
    """Return the position of a point between four cell centers in mode "bilinear".

    Returns:
        Whether it has a cell on the grid, row i and column j of its first cell, and the fractions towards column j + 1
        and row i + 1.
    """
    return corners_at(u - 0.5, v - 0.5, in_front(depth, near), h, w)


@triton.jit
def corners_at(a, b, in_view, h, w):
    """Return the same of a point at column a and row b, where cells have their centers at integers."""
    some = in_view & (a >= -1) & (a < w.to(tl.float32)) & (b >= -1) & (b < h.to(tl.float32))
    a, b = tl.where(some, a, 0.0), tl.where(some, b, 0.0)
    j, i = _floor(a), _floor(b)
    return some, i, j, a - j.to(tl.float32), b - i.to(tl.float32)


@triton.jit
def _floor(x):
    """Round down a number in the range of int32. (tl.floor treats denormals as 0 on a GPU.)"""
    toward_zero = x.to(tl.int32)
    return toward_zero - (toward_zero.to(tl.float32) > x).to(tl.int32)


@triton.jit
def bilinear_tap(some, i, j, s, t, tap, h, w):
    """Return, for tap 0 to 3, whether its weight is positive and its cell on the grid, the cell, and the weight."""
    right, low = tap % 2, tap // 2
    weight = tl.where(right == 1, s, 1.0 - s) * tl.where(low == 1, t, 1.0 - t)
    i, j = i + low, j + right
    return some & (i >= 0) & (i < h) & (j >= 0) & (j < w) & (weight > 0), i * w + j, weight


@triton.jit
def blend_limit(nearest, band):
    """Return the largest depth that a cell blends, 0 for an empty cell."""
    return tl.where(nearest < INFINITY, (1.0 + band) * nearest, 0.0)
