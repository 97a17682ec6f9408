# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Voxel keys, the table and the boxes in Triton; ``voxel_cache_index_reference.py`` says what they are."""

from __future__ import annotations

import triton
import triton.language as tl

from ...backend import INTERPRETED
from ...triton_common import INFINITY
from . import voxel_cache_index_reference as reference

_AXIS = tl.constexpr(reference.AXIS)
_AXIS_MASK = tl.constexpr((1 << reference.AXIS) - 1)
_MIX = tl.constexpr(reference._MIX[0])
_MIX_AGAIN = tl.constexpr(reference._MIX[1])
PAGE = tl.constexpr(64)  # rows in a box, and boxes of a level in one of the next
PROBES = tl.constexpr(1024 if INTERPRETED else 32)  # of a warp that searches the table, till all have found their slot
BOXES = tl.constexpr(16 if INTERPRETED else 4)  # of one program
# As an unsigned number the empty slot's -1 is higher than every row, so that the least of what wants a slot gets it.
_EMPTY = tl.constexpr(0xFFFFFFFF)


@triton.jit
def _spread(axis):
    """Bit b of 21 goes to bit 3b."""
    axis = (axis | axis << 32) & 0x1F00000000FFFF
    axis = (axis | axis << 16) & 0x1F0000FF0000FF
    axis = (axis | axis << 8) & 0x100F00F00F00F00F
    axis = (axis | axis << 4) & 0x10C30C30C30C30C3
    return (axis | axis << 2) & 0x1249249249249249


@triton.jit
def _unspread(code):
    """The way back; the other bits are ignored."""
    axis = code & 0x1249249249249249
    axis = (axis | axis >> 2) & 0x10C30C30C30C30C3
    axis = (axis | axis >> 4) & 0x100F00F00F00F00F
    axis = (axis | axis >> 8) & 0x1F0000FF0000FF
    axis = (axis | axis >> 16) & 0x1F00000000FFFF
    return (axis | axis >> 32) & _AXIS_MASK


@triton.jit
def morton(x, y, z):
    """Of int64 axes: bit b of x, y, z becomes bit 3b + 2, 3b + 1, 3b."""
    return _spread(x) << 2 | _spread(y) << 1 | _spread(z)


@triton.jit
def key_of_morton(code):
    """The packed key; the sign of the code is ignored."""
    return _unspread(code >> 2) << 2 * _AXIS | _unspread(code >> 1) << _AXIS | _unspread(code)


@triton.jit
def _home_slot(key, slots):
    """Where in a table of so many slots the search for a key begins."""
    x, y, z = key >> 2 * _AXIS, (key >> _AXIS) & _AXIS_MASK, key & _AXIS_MASK
    h = (x >> 2 << 38 | y >> 2 << 19 | z >> 2) * _MIX
    h = (h ^ ((h >> 32) & 0xFFFFFFFF)) * _MIX_AGAIN
    h = h ^ ((h >> 32) & 0xFFFFFFFF)
    inner = (x & 2) << 4 | (y & 2) << 3 | (z & 2) << 2 | (x & 1) << 2 | (y & 1) << 1 | (z & 1)
    return (h & (slots // 64 - 1)) * 64 + inner


@triton.jit
def find_rows(key, there, keys, table, rows, slots):
    """The row that holds each key, -1 where none does. Entries that no row in use can have had are passed by."""
    row = tl.full(key.shape, -1, tl.int32)
    slot = _home_slot(key, slots)
    step = 0
    while (tl.max(there.to(tl.int32), 0) > 0) & (step < slots):
        entry = tl.load(table + slot, mask=there, other=-1)
        same = there & (entry >= 0) & (entry < rows)
        same = same & (tl.load(keys + entry, mask=same, other=-1) == key)
        row = tl.where(same, entry, row)
        there = there & (entry >= 0) & ~same
        slot = (slot + 1) & (slots - 1)
        step += 1
    return row


@triton.jit(do_not_specialize=["n", "rows", "slots"])
def enter_kernel(key, row, table, n, rows, slots):
    """Enter those of n rows that are not below ``rows``; without ``row`` they are 0, 1, 2, ... Whoever finds its slot
    taken by a lower row, or has to give it up to one, goes on to the next: in whatever order they come, they end up
    where they would have, had they come in order (Amble and Knuth, Ordered hash tables)."""
    at = tl.program_id(0).to(tl.int64) * PROBES + tl.arange(0, PROBES)
    there = at < n
    slot = _home_slot(tl.load(key + at, mask=there, other=0), slots)
    if row is None:
        own = at.to(tl.uint32)
    else:
        own = tl.load(row + at, mask=there, other=0)
        there = there & (own >= rows)
        own = own.to(tl.uint32, bitcast=True)
    step = 0
    while (tl.max(there.to(tl.int32), 0) > 0) & (step < slots):
        before = tl.atomic_min(table + slot, own, mask=there, sem="relaxed")
        there = there & (before != _EMPTY)
        own = tl.maximum(own, before)  # goes on, be it the one that came or the one that stood there
        slot = (slot + 1) & (slots - 1)
        step += 1


@triton.jit
def grow_boxes(box, x, y, z, footprint, there):
    """Let boxes of the first level take in observations. Adding 0 makes -0 and 0 one."""
    _stretch(box, box + 3, x + 0.0, there)
    _stretch(box + 1, box + 4, y + 0.0, there)
    _stretch(box + 2, box + 5, z + 0.0, there)
    wide = footprint + 0.0
    tl.atomic_max(box + 6, wide, mask=there & (wide > tl.load(box + 6, mask=there, other=0.0)), sem="relaxed")


@triton.jit
def _stretch(least, largest, x, there):
    """A box only grows, so an old look at it is as good as the newest for finding that it need not."""
    tl.atomic_min(least, x, mask=there & (x < tl.load(least, mask=there, other=0.0)), sem="relaxed")
    tl.atomic_max(largest, x, mask=there & (x > tl.load(largest, mask=there, other=0.0)), sem="relaxed")


@triton.jit(do_not_specialize=["rows", "n"])
def page_kernel(xyz, footprint, out, rows, n):
    """n boxes of 64 rows each, all of them anew."""
    box = tl.program_id(0).to(tl.int64) * BOXES + tl.arange(0, BOXES)
    row = box[:, None] * PAGE + tl.arange(0, PAGE)[None, :]
    for a in tl.static_range(3):
        x = tl.load(xyz + 3 * row + a, mask=row < rows, other=0.0) + 0.0
        tl.store(out + 7 * box + a, tl.min(tl.where(row < rows, x, INFINITY), 1), mask=box < n)
        tl.store(out + 7 * box + (a + 3), tl.max(tl.where(row < rows, x, -INFINITY), 1), mask=box < n)
    wide = tl.load(footprint + row, mask=row < rows, other=0.0) + 0.0
    tl.store(out + 7 * box + 6, tl.max(wide, 1), mask=box < n)


@triton.jit(do_not_specialize=["lower", "n"])
def level_kernel(below, out, lower, n):
    """n boxes that hold 64 each of the ``lower`` ones below."""
    box = tl.program_id(0).to(tl.int64) * BOXES + tl.arange(0, BOXES)
    at = box[:, None] * PAGE + tl.arange(0, PAGE)[None, :]
    for a in tl.static_range(7):
        if a < 3:
            x = tl.min(tl.load(below + 7 * at + a, mask=at < lower, other=INFINITY), 1)
        else:
            x = tl.max(tl.load(below + 7 * at + a, mask=at < lower, other=-INFINITY), 1)
        tl.store(out + 7 * box + a, x, mask=box < n)
