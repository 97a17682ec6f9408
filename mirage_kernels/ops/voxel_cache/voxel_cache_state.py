# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The tensors of a voxel cache: one documented layout for every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .voxel_cache_index_reference import RUNS, clear_boxes

_SMALLEST_TABLE = 64
MOST_ROWS = (1 << 31) - 1
ROW_TENSORS = ("keys", "xyz", "footprint", "features", "stamp", "scale", "count", "touched")


class Layout(NamedTuple):
    """What a row is made of.

    Attributes:
        channels: C.
        features: dtype the features are kept in: float32, bfloat16 or float16; int8 with a scale a row; float32 sums
            with a count a row.
        scaled, counted, touched: whether there is a scale, a count, and when it was touched.
        device: of every tensor.
    """

    channels: int
    features: torch.dtype
    scaled: bool
    counted: bool
    touched: bool
    device: torch.device

    def nbytes(self, capacity: int) -> int:
        """Bytes of a state with room for so many rows."""
        row = 8 + 12 + 4 + 8 + self.channels * self.features.itemsize
        row += 4 * self.scaled + 4 * self.counted + 8 * self.touched
        return row * capacity + 4 * table_size(capacity) + sum(28 * -(-capacity // run) for run in RUNS)


def table_size(capacity: int) -> int:
    """Slots of the table: a power of two, at most half of them taken."""
    return max(_SMALLEST_TABLE, 1 << max(2 * capacity - 1, 0).bit_length())


@dataclass
class State:
    """R rows of capacity, ``rows`` of them in use; what lies beyond those is undefined.

    Attributes:
        rows: how many are in use.
        keys: (R,) int64, the packed voxel: ``floor(x / size) + 2^20``, 21 bits an axis, x highest.
        xyz: (R, 3) float32 and footprint (R,) float32: of the observation that is kept.
        features: (R, C).
        stamp: (R,) int64, when the row last changed.
        scale: (R,) float32, of int8 features.
        count: (R,) int32, how many observations a row is the mean of; its features are their float32 sum.
        touched: (R,) int64, when the row was last touched or changed.
        table: (T,) int32, from key to row (``voxel_cache_index_reference.py``); -1 is an empty slot.
        boxes0, boxes1, boxes2: (ceil(R / 64), 7), (ceil(R / 4096), 7), (ceil(R / 262144), 7) float32: least and
            greatest x, y, z and largest footprint of runs of rows.
    """

    rows: int
    keys: Tensor
    xyz: Tensor
    footprint: Tensor
    features: Tensor
    stamp: Tensor
    scale: Tensor | None
    count: Tensor | None
    touched: Tensor | None
    table: Tensor
    boxes0: Tensor
    boxes1: Tensor
    boxes2: Tensor

    @classmethod
    def allocate(cls, layout: Layout, capacity: int, table: Tensor | None = None) -> State:
        """An empty state with room for ``capacity`` rows; with ``table``, that one instead of a new one."""

        def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=layout.device)

        if table is None:
            table = torch.full((table_size(capacity),), -1, dtype=torch.int32, device=layout.device)
        boxes = [room(-(-capacity // run), 7) for run in RUNS]
        clear_boxes(boxes)
        return cls(
            0,
            room(capacity, dtype=torch.int64),
            room(capacity, 3),
            room(capacity),
            room(capacity, layout.channels, dtype=layout.features),
            room(capacity, dtype=torch.int64),
            room(capacity) if layout.scaled else None,
            room(capacity, dtype=torch.int32) if layout.counted else None,
            room(capacity, dtype=torch.int64) if layout.touched else None,
            table,
            *boxes,
        )

    def resized(self, layout: Layout, capacity: int) -> State:
        """The same rows in new tensors with room for ``capacity``; this state is left alone.

        The table is this one's where it may stay as large as it is, else an empty one: enter the rows anew.
        """
        table = self.table if table_size(capacity) == len(self.table) else None
        new = State.allocate(layout, capacity, table)
        new.rows = self.rows
        for (_, old), (_, tensor) in zip(self.row_tensors(), new.row_tensors(), strict=True):
            tensor[: self.rows] = old[: self.rows]
        for run, old, tensor in zip(RUNS, self.boxes, new.boxes, strict=True):
            used = -(-self.rows // run)
            tensor[:used] = old[:used]
        return new

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """The state with a function applied to every tensor."""
        changed: dict[str, Any] = {name: function(tensor) for name, tensor in self.tensors()}
        return replace(self, **changed)

    @property
    def capacity(self) -> int:
        return self.keys.shape[0]

    @property
    def boxes(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.boxes0, self.boxes1, self.boxes2

    @property
    def written(self) -> tuple[Tensor, ...]:
        """What every insert may change, in the order of the operations' arguments."""
        return (
            *(self.keys, self.xyz, self.footprint, self.features, self.stamp),
            *(self.table, self.boxes0, self.boxes1, self.boxes2),
        )

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor there is, by name."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                yield field.name, value

    def row_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Those with one entry a row."""
        for name, tensor in self.tensors():
            if name in ROW_TENSORS:
                yield name, tensor

    @property
    def nbytes(self) -> int:
        return sum(t.untyped_storage().nbytes() for _, t in self.tensors())
