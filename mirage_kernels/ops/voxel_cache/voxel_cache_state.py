# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The tensors of a voxel cache, in one documented layout for all backends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..._inference import outside_inference_mode
from .voxel_cache_index_reference import RUNS, clear_boxes

_MIN_TABLE_SIZE = 64
MAX_ROWS = (1 << 31) - 1
MAX_QUANTIZED = 2.0**127  # of features: 127 times a scale that was rounded up is still below infinity
ROW_TENSORS = ("keys", "xyz", "footprint", "features", "stamp", "scale", "count", "touched")
_INDEX_TENSORS = ("table", "boxes0", "boxes1", "boxes2")


class InsertInput(NamedTuple):
    """The points of an insert.

    Attributes:
        xyz: (N, 3) float32, world units.
        features: (N, C) in the dtype of the cache.
        footprint: (N,) float32, world units; None for the voxel size.
        valid: (N,) bool; points that are False are skipped.
    """

    xyz: Tensor
    features: Tensor
    footprint: Tensor | None
    valid: Tensor | None


class Layout(NamedTuple):
    """The tensors of a row.

    Attributes:
        channels: C.
        features: stored dtype of the features: float32, bfloat16 or float16; int8 together with a scale per row;
            float32 sums together with a count per row.
        scaled, counted, touched: whether rows have a scale, a count, and the stamp of the last touch.
        device: device of all tensors.
    """

    channels: int
    features: torch.dtype
    scaled: bool
    counted: bool
    touched: bool
    device: torch.device

    @property
    def row_nbytes(self) -> int:
        """Size of a row, in bytes."""
        row = 8 + 12 + 4 + 8 + self.channels * self.features.itemsize
        return row + 4 * self.scaled + 4 * self.counted + 8 * self.touched

    def nbytes(self, capacity: int) -> int:
        """Return the size, in bytes, of a state with room for ``capacity`` rows."""
        return self.row_nbytes * capacity + 4 * table_size(capacity) + sum(28 * -(-capacity // run) for run in RUNS)


def table_size(capacity: int) -> int:
    """Return the number of slots of the hash table: a power of two, at least twice the capacity."""
    return max(_MIN_TABLE_SIZE, 1 << max(2 * capacity - 1, 0).bit_length())


@dataclass
class State:
    """R rows of capacity, of which ``rows`` are in use; the content of the other rows is undefined.

    Attributes:
        rows: number of rows in use.
        keys: (R,) int64, the packed voxel: ``floor(x / size) + 2^20`` per axis, 21 bits each, x in the highest bits.
        xyz: (R, 3) float32, position of the stored observation, world units.
        footprint: (R,) float32, its width, world units.
        features: (R, C), its features.
        stamp: (R,) int64, stamp of the insert that changed the row last.
        scale: (R,) float32, factor of int8 features.
        count: (R,) int32, number of observations in the mean; ``features`` is their float32 sum.
        touched: (R,) int64, stamp of the last touch or change.
        table: (T,) int32, hash table from key to row (``voxel_cache_index_reference.py``); -1 in empty slots.
        boxes0, boxes1, boxes2: (ceil(R / 64), 7), (ceil(R / 4096), 7), (ceil(R / 262144), 7) float32: bounding boxes of
            runs of rows: minimum and maximum of x, y, z and the largest footprint.
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

    def __post_init__(self) -> None:
        with outside_inference_mode():
            for name, tensor in list(self.tensors()):
                if tensor.is_inference():
                    setattr(self, name, tensor.clone())

    @classmethod
    def allocate(cls, layout: Layout, capacity: int, table: Tensor | None = None) -> State:
        """Allocate a state without rows and with room for ``capacity``; ``table`` is used instead of a new one."""

        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.empty(shape, dtype=dtype, device=layout.device)

        if table is None:
            table = torch.full((table_size(capacity),), -1, dtype=torch.int32, device=layout.device)
        boxes = [empty(-(-capacity // run), 7) for run in RUNS]
        clear_boxes(boxes)
        return cls(
            0,
            empty(capacity, dtype=torch.int64),
            empty(capacity, 3),
            empty(capacity),
            empty(capacity, layout.channels, dtype=layout.features),
            empty(capacity, dtype=torch.int64),
            empty(capacity) if layout.scaled else None,
            empty(capacity, dtype=torch.int32) if layout.counted else None,
            empty(capacity, dtype=torch.int64) if layout.touched else None,
            table,
            *boxes,
        )

    def resized(self, layout: Layout, capacity: int) -> State:
        """Copy the rows into new tensors with room for ``capacity``; this state is not modified.

        The table is copied if its size stays the same; otherwise it is empty and has to be rebuilt.
        """
        table = self.table.clone() if table_size(capacity) == len(self.table) else None
        new = State.allocate(layout, capacity, table)
        new.rows = self.rows
        if not self.rows:
            return new
        for (_, old), (_, tensor) in zip(self.row_tensors(), new.row_tensors(), strict=True):
            tensor[: self.rows] = old[: self.rows]
        for run, old, tensor in zip(RUNS, self.boxes, new.boxes, strict=True):
            used = -(-self.rows // run)
            tensor[:used] = old[:used]
        return new

    def selected(self, layout: Layout, rows: Tensor, capacity: int) -> State:
        """Copy some rows into new tensors with room for ``capacity``; this state is not modified.

        Args:
            layout: the layout of this state.
            rows: (N,) int64, the rows.
            capacity: at least N.

        Returns:
            The new state. Its table and boxes have to be rebuilt.
        """
        new = State.allocate(layout, capacity)
        new.rows = len(rows)
        for (_, old), (_, tensor) in zip(self.row_tensors(), new.row_tensors(), strict=True):
            torch.index_select(old, 0, rows, out=tensor[: new.rows])
        return new

    def map(self, function: Callable[[Tensor], Tensor]) -> State:
        """Return the state with ``function`` applied to every tensor."""
        changed: dict[str, Any] = {name: function(tensor) for name, tensor in self.tensors()}
        return replace(self, **changed)

    @property
    def capacity(self) -> int:
        """Number of rows there is memory for."""
        return self.keys.shape[0]

    @property
    def boxes(self) -> tuple[Tensor, Tensor, Tensor]:
        """The bounding boxes of all levels."""
        return self.boxes0, self.boxes1, self.boxes2

    @property
    def insert_arguments(self) -> tuple[Tensor, ...]:
        """The tensors that every insert may modify, in the order of the operations' arguments."""
        return (
            *(self.keys, self.xyz, self.footprint, self.features, self.stamp),
            *(self.table, self.boxes0, self.boxes1, self.boxes2),
        )

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over all tensors and their names."""
        yield from self._held(ROW_TENSORS + _INDEX_TENSORS)

    def row_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Iterate over the tensors with one entry per row and their names."""
        yield from self._held(ROW_TENSORS)

    def _held(self, names: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
        for name in names:
            tensor = getattr(self, name)
            if tensor is not None:
                yield name, tensor

    @property
    def nbytes(self) -> int:
        """Size of all tensors in bytes."""
        return sum(t.untyped_storage().nbytes() for _, t in self.tensors())
