# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The hash table and the bounding boxes of a voxel cache in pure PyTorch.

**The table** maps keys to rows: open addressing, linear probing, T slots, T a power of two. The voxels of a 4x4x4 block
have adjacent slots. The table depends only on the rows, not on the order of insertion: it equals the table obtained by
inserting rows 0, 1, 2, ... in this order, so that the lower row takes a contested slot.

**The boxes** bound runs of 64, 4096 and 262144 rows: minimum and maximum of x, y, z and the largest footprint, (P, 7).
A box contains every observation that its rows have had since the last rebuild, so an insert only ever enlarges it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

AXIS = 21  # bits per axis
LIMIT = 1 << 20  # voxels to either side of the origin
_EMPTY_BOX = (torch.inf,) * 3 + (-torch.inf,) * 3 + (0.0,)
RUNS = (64, 64**2, 64**3)  # rows per box of each level
_HASH_FACTORS = (0x9E3779B97F4A7C15 - (1 << 64), 0xD6E8FEB86659FD93 - (1 << 64))
# Steps that move bit b of 21 to bit 3b: shift, then mask.
_MORTON_STEPS = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def axes_of(key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unpack keys into x, y, z, each 0 .. 2^21 - 1."""
    mask = (1 << AXIS) - 1
    return key >> 2 * AXIS, (key >> AXIS) & mask, key & mask


def morton(key: Tensor) -> Tensor:
    """Interleave the bits of the axes: bit b of x, y, z becomes bit 3b + 2, 3b + 1, 3b."""
    code = torch.zeros_like(key)
    for offset, axis in zip((2, 1, 0), axes_of(key), strict=True):
        for shift, mask in _MORTON_STEPS:
            axis = (axis | axis << shift) & mask
        code |= axis << offset
    return code


def home_slot(key: Tensor, slots: int) -> Tensor:
    """Return the slot at which the search for a key begins, in a table with ``slots`` slots."""
    x, y, z = axes_of(key)
    h = x >> 2 << 38 | y >> 2 << 19 | z >> 2
    for factor in _HASH_FACTORS:
        h = h * factor
        h = h ^ ((h >> 32) & 0xFFFFFFFF)
    inner = (x & 2) << 4 | (y & 2) << 3 | (z & 2) << 2 | (x & 1) << 2 | (y & 1) << 1 | (z & 1)
    return (h & (slots // 64 - 1)) * 64 + inner


def look_up(key: Tensor, keys: Tensor, table: Tensor) -> Tensor:
    """Return the row (S,) int64 of each key, -1 if it has none."""
    row = torch.full_like(key, -1)
    slot = home_slot(key, len(table))
    pending = torch.arange(len(key), device=key.device, dtype=torch.int64)
    for _ in range(len(table)):  # a table without an empty slot has no end
        if not pending.numel():
            break
        entry = table[slot[pending]].long()
        found = entry >= 0
        same = found & (keys[torch.where(found, entry, 0)] == key[pending]) if len(keys) else found
        row[pending[same]] = entry[same]
        pending = pending[found & ~same]
        slot[pending] = (slot[pending] + 1) & (len(table) - 1)
    return row


def enter_table(table: Tensor, keys: Tensor, rows: Tensor) -> None:
    """Enter rows whose keys are new. A row that loses its slot to a lower row moves on to the next slot."""
    none = torch.iinfo(table.dtype).max
    slots = torch.where(table < 0, none, table)
    row = rows.to(table.dtype)
    slot = home_slot(keys[rows], len(table))
    while row.numel():
        before = slots[slot]
        slots.scatter_reduce_(0, slot, row, "amin")
        after = slots[slot]
        lost = after != row
        # A row that lost the slot it had before is found by the one row that took the slot.
        displaced = (before != none) & (after == row) & (before != row)
        row, slot = torch.cat([row[lost], before[displaced]]), torch.cat([slot[lost], slot[displaced]])
        slot = (slot + 1) & (len(table) - 1)
    table.copy_(torch.where(slots == none, -1, slots))


def clear_boxes(levels: Iterable[Tensor]) -> None:
    """Set boxes to empty. The values are Python numbers: a tensor copied from the host would wait for the device."""
    for boxes in levels:
        if boxes.is_cpu and len(boxes):
            boxes.copy_(boxes.new_tensor(_EMPTY_BOX))
            continue
        boxes[:, :3].fill_(torch.inf)
        boxes[:, 3:6].fill_(-torch.inf)
        boxes[:, 6].fill_(0)


def grow_boxes(levels: tuple[Tensor, ...], rows: Tensor, xyz: Tensor, footprint: Tensor) -> None:
    """Enlarge the boxes of all levels to contain observations of these rows. Adding 0 turns -0 into 0."""
    for boxes, run in zip(levels, RUNS, strict=True):
        box = (rows // run)[:, None]
        boxes[:, :3] = boxes[:, :3].scatter_reduce(0, box.expand(-1, 3), xyz + 0.0, "amin")
        boxes[:, 3:6] = boxes[:, 3:6].scatter_reduce(0, box.expand(-1, 3), xyz + 0.0, "amax")
        boxes[:, 6] = boxes[:, 6].scatter_reduce(0, box[:, 0], footprint + 0.0, "amax")
