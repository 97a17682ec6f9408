# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels and functions for voxel keys, the hash table and the bounding boxes.

``voxel_cache_index_reference.py`` describes the table and the boxes.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ..._triton_common import INFINITY
from ...backend import INTERPRETED
from . import voxel_cache_index_reference as reference

_AXIS = tl.constexpr(reference.AXIS)
_AXIS_MASK = tl.constexpr((1 << reference.AXIS) - 1)
_FIRST_FACTOR = tl.constexpr(reference._HASH_FACTORS[0])
_SECOND_FACTOR = tl.constexpr(reference._HASH_FACTORS[1])
BOX_ROWS = tl.constexpr(64)  # rows per box, and boxes per box of the next level
# Keys per warp that searches the table. The search takes as long as that of its last key.
PROBES = tl.constexpr(1024 if INTERPRETED else 32)
BOXES = tl.constexpr(16 if INTERPRETED else 4)  # boxes per program
# The -1 of an empty slot is larger, as an unsigned number, than every row, so an atomic minimum enters the lowest row.
_EMPTY = tl.constexpr(0xFFFFFFFF)


@triton.jit
def _expand_bits(axis):
    """Move bit b of 21 to bit 3b."""
    axis = (axis | axis << 32) & 0x1F00000000FFFF
    axis = (axis | axis << 16) & 0x1F0000FF0000FF
    axis = (axis | axis << 8) & 0x100F00F00F00F00F
    axis = (axis | axis << 4) & 0x10C30C30C30C30C3
    return (axis | axis << 2) & 0x1249249249249249


@triton.jit
def _compact_bits(code):
    """Move bit 3b to bit b; other bits are ignored."""
    axis = code & 0x1249249249249249
    axis = (axis | axis >> 2) & 0x10C30C30C30C30C3
    axis = (axis | axis >> 4) & 0x100F00F00F00F00F
    axis = (axis | axis >> 8) & 0x1F0000FF0000FF
    axis = (axis | axis >> 16) & 0x1F00000000FFFF
    return (axis | axis >> 32) & _AXIS_MASK


@triton.jit
def morton(x, y, z):
    """Interleave int64 axes: bit b of x, y, z becomes bit 3b + 2, 3b + 1, 3b."""
    return _expand_bits(x) << 2 | _expand_bits(y) << 1 | _expand_bits(z)


@triton.jit
def key_of_morton(code):
    """Return the packed key of a Morton code, whose sign is ignored."""
    return _compact_bits(code >> 2) << 2 * _AXIS | _compact_bits(code >> 1) << _AXIS | _compact_bits(code)


@triton.jit
def _home_slot(key, slots):
    """Return the slot at which the search for a key begins, in a table with ``slots`` slots."""
    x, y, z = key >> 2 * _AXIS, (key >> _AXIS) & _AXIS_MASK, key & _AXIS_MASK
    h = (x >> 2 << 38 | y >> 2 << 19 | z >> 2) * _FIRST_FACTOR
    h = (h ^ ((h >> 32) & 0xFFFFFFFF)) * _SECOND_FACTOR
    h = h ^ ((h >> 32) & 0xFFFFFFFF)
    inner = (x & 2) << 4 | (y & 2) << 3 | (z & 2) << 2 | (x & 1) << 2 | (y & 1) << 1 | (z & 1)
    return (h & (slots // 64 - 1)) * 64 + inner


@triton.jit
def find_rows(key, active, keys, table, rows, slots):
    """Return the row of each key, -1 if it has none. Table entries that are not below ``rows`` are skipped."""
    row = tl.full(key.shape, -1, tl.int32)
    slot = _home_slot(key, slots)
    step = 0
    while (tl.max(active.to(tl.int32), 0) > 0) & (step < slots):
        entry = tl.load(table + slot, mask=active, other=-1)
        same = active & (entry >= 0) & (entry < rows)
        same = same & (tl.load(keys + entry, mask=same, other=-1) == key)
        row = tl.where(same, entry, row)
        active = active & (entry >= 0) & ~same
        slot = (slot + 1) & (slots - 1)
        step += 1
    return row


@triton.jit(do_not_specialize=["n", "rows", "slots"])
def voxel_cache_enter_kernel(key, row, table, n, rows, slots):
    """Enter those of n rows that are not below ``rows``; without ``row`` they are 0, 1, 2, ...

    A row that finds its slot taken by a lower row, or loses it to one, moves on to the next slot. The table does not
    depend on the order in which rows are entered (Amble and Knuth, Ordered hash tables).
    """
    at = tl.program_id(0).to(tl.int64) * PROBES + tl.arange(0, PROBES)
    active = at < n
    slot = _home_slot(tl.load(key + at, mask=active, other=0), slots)
    if row is None:
        entry = at.to(tl.uint32)
    else:
        entry = tl.load(row + at, mask=active, other=0)
        active = active & (entry >= rows)
        entry = entry.to(tl.uint32, bitcast=True)
    step = 0
    while (tl.max(active.to(tl.int32), 0) > 0) & (step < slots):
        before = tl.atomic_min(table + slot, entry, mask=active, sem="relaxed")
        active = active & (before != _EMPTY)
        entry = tl.maximum(entry, before)  # the row that lost the slot moves on
        slot = (slot + 1) & (slots - 1)
        step += 1


@triton.jit
def grow_boxes(box, x, y, z, footprint, active):
    """Enlarge boxes of the first level to contain observations. Adding 0 turns -0 into 0."""
    _grow_interval(box, box + 3, x + 0.0, active)
    _grow_interval(box + 1, box + 4, y + 0.0, active)
    _grow_interval(box + 2, box + 5, z + 0.0, active)
    width = footprint + 0.0
    tl.atomic_max(box + 6, width, mask=active & (width > tl.load(box + 6, mask=active, other=0.0)), sem="relaxed")


@triton.jit
def _grow_interval(minimum, maximum, x, active):
    """Enlarge an interval by atomics. It only grows, so a stale value is sufficient to skip an atomic."""
    tl.atomic_min(minimum, x, mask=active & (x < tl.load(minimum, mask=active, other=0.0)), sem="relaxed")
    tl.atomic_max(maximum, x, mask=active & (x > tl.load(maximum, mask=active, other=0.0)), sem="relaxed")


@triton.jit(do_not_specialize=["rows", "n"])
def voxel_cache_build_boxes_kernel(xyz, footprint, out, rows, n):
    """Compute n boxes of 64 rows each."""
    box = tl.program_id(0).to(tl.int64) * BOXES + tl.arange(0, BOXES)
    row = box[:, None] * BOX_ROWS + tl.arange(0, BOX_ROWS)[None, :]
    for a in tl.static_range(3):
        x = tl.load(xyz + 3 * row + a, mask=row < rows, other=0.0) + 0.0
        tl.store(out + 7 * box + a, tl.min(tl.where(row < rows, x, INFINITY), 1), mask=box < n)
        tl.store(out + 7 * box + (a + 3), tl.max(tl.where(row < rows, x, -INFINITY), 1), mask=box < n)
    width = tl.load(footprint + row, mask=row < rows, other=0.0) + 0.0
    tl.store(out + 7 * box + 6, tl.max(width, 1), mask=box < n)


@triton.jit(do_not_specialize=["num_below", "n"])
def voxel_cache_build_level_kernel(below, out, num_below, n):
    """Compute n boxes of 64 boxes each of the level below, which has ``num_below`` boxes."""
    box = tl.program_id(0).to(tl.int64) * BOXES + tl.arange(0, BOXES)
    at = box[:, None] * BOX_ROWS + tl.arange(0, BOX_ROWS)[None, :]
    for a in tl.static_range(7):
        if a < 3:
            x = tl.min(tl.load(below + 7 * at + a, mask=at < num_below, other=INFINITY), 1)
        else:
            x = tl.max(tl.load(below + 7 * at + a, mask=at < num_below, other=-INFINITY), 1)
        tl.store(out + 7 * box + a, x, mask=box < n)
