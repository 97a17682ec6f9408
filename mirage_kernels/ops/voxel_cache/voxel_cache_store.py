# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a voxel cache: how they grow, within what budget, and how some are given up."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import backend, check
from .voxel_cache_reference import Plan
from .voxel_cache_state import MOST_ROWS, Layout, State

_LEFT_BY_EVICTION = 7 / 8  # of a budget, so that not every insert has to evict
# A cache that has to grow becomes this much larger: more room copies less, and wastes more. A small one is soon copied.
GROWTH, SMALL_GROWTH, SMALL = 1.5, 1.25, 65_536


class InsertCounts(NamedTuple):
    """What became of the points of one insert.

    Attributes:
        added: voxels that are new, each a row.
        merged: points that met another of their voxel, in the cache or in the same call.
        rejected: valid points that were not taken: a coordinate out of range (2^20 voxels from the origin) or not
            finite, a footprint negative or not finite, or, for int8, a feature not finite.
        evicted: rows given up to keep within the budget.
        remap: (rows before,) int64, where each row went, -1 = gone; None where no row was evicted.
    """

    added: int
    merged: int
    rejected: int
    evicted: int
    remap: Tensor | None


class Points(NamedTuple):
    """What is inserted: xyz (N, 3), features (N, C), footprint (N,) and valid (N,) or None."""

    xyz: Tensor
    features: Tensor
    footprint: Tensor | None
    valid: Tensor | None


class Store:
    """Owns the state. Whatever changes it leaves a whole one behind, or raises and leaves the old one.

    Args:
        layout: of the rows.
        max_rows, max_bytes: the budget.
    """

    def __init__(self, layout: Layout, max_rows: int | None = None, max_bytes: int | None = None) -> None:
        self.layout = layout
        self.max_rows, self.max_bytes = max_rows, max_bytes
        most = MOST_ROWS if max_rows is None else max_rows
        self.most = most if max_bytes is None else min(most, self.rows_within(max_bytes))
        self.state = State.allocate(layout, 0)

    def call(self, name: str, *args: Any, kind: str = "default") -> Any:
        """Run an operation on the backend of this device."""
        return backend.operation(name, self.state.keys, kind)(*args)

    def with_state(self, state: State) -> Store:
        """A store like this one with another state, perhaps elsewhere."""
        device = state.keys.device
        other = Store(self.layout._replace(device=device), self.max_rows, self.max_bytes)
        other.state = state
        return other

    def map(self, function: Callable[[Tensor], Tensor]) -> Store:
        return self.with_state(self.state.map(function))

    def rows_within(self, nbytes: int) -> int:
        """The most rows that so many bytes have room for."""
        low, high = 0, MOST_ROWS  # the bytes grow with the rows
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.layout.nbytes(middle) <= nbytes else (low, middle - 1)
        return low

    def make_room(self, rows: int) -> State:
        """The state, with room for so many rows."""
        if rows <= self.state.capacity:
            return self.state
        capacity = self.state.capacity
        growth = SMALL_GROWTH if capacity < SMALL else GROWTH
        return self._resized(min(max(rows, int(capacity * growth)), self.most))

    def shrink_to_fit(self) -> None:
        if self.state.capacity > self.state.rows:
            self.state = self._resized(self.state.rows)

    def _resized(self, capacity: int) -> State:
        new = self.state.resized(self.layout, capacity)
        if new.table is not self.state.table:
            self.index(new)
        return new

    def insert(self, points: Points, size: float, stamp: int, fusion: int, eviction: str) -> InsertCounts:
        """Plan, make room, write; see :meth:`VoxelCache.insert`. ``size`` is the voxel's, ``fusion`` a number."""
        xyz, features, footprint, valid = points
        before, remap = self.state.rows, None
        while True:
            s = self.state
            plan, counts = self.call(
                "voxel_cache_insert",
                *(xyz, features, *s.written, s.rows, stamp, inverse_of(size), size, fusion),
                *(footprint, valid, s.scale, s.count),
            )
            added, rejected, kept, segments = counts.tolist()
            rows = s.rows + added
            if rows <= s.capacity:  # then it is written
                break
            if segments > self.most:
                raise check.value_error("xyz", f"at most {self.most} voxels, the budget of the cache", segments)
            self.state = s = self.make_room(min(rows, self.most))
            if rows <= self.most:
                self.call(
                    "voxel_cache_commit",
                    *(plan, kept, segments, xyz, features, *s.written, s.rows, stamp, size, fusion),
                    *(footprint, s.scale, s.count),
                )
                break
            # what this call would have merged with may go too and then counts as new: plan again
            keep = min(self.most - added, int(self.most * _LEFT_BY_EVICTION))
            remap = chain(remap, self.evict_to(keep, eviction))
        evicted = before - s.rows
        if s.touched is not None:
            s.touched[Plan.unpack(plan, kept, segments).row.long()] = stamp
        s.rows = rows
        return InsertCounts(added, kept - added, rejected, evicted, remap)

    def index(self, s: State) -> None:
        """Make the table and the boxes from the rows."""
        self.call("voxel_cache_index", s.keys, s.xyz, s.footprint, s.table, *s.boxes, s.rows)

    def keep_track_of_touches(self) -> None:
        """From now on rows know when they were last touched."""
        if not self.layout.touched:
            self.layout = self.layout._replace(touched=True)
            self.state.touched = self.state.stamp.clone()

    def evict_to(self, rows: int, by: str, position: Tensor | None = None) -> Tensor:
        """Give up rows beyond so many; of equals the lower row goes first. Returns the remap of :meth:`compact`."""
        s = self.state
        excess = s.rows - rows
        keep = torch.ones(s.rows, dtype=torch.bool, device=s.keys.device)
        if excess > 0:
            if position is not None:
                x, y, z = (s.xyz[: s.rows] - position).unbind(1)
                score = -((x * x + y * y) + z * z)
            else:
                score = (s.touched if by == "untouched" and s.touched is not None else s.stamp)[: s.rows]
            keep[score.sort(stable=True).indices[:excess]] = False
        return self.compact(keep)

    def compact(self, keep: Tensor) -> Tensor:
        """Keep some rows (rows,) bool, in their order; the room stays.

        Returns:
            remap: (rows before,) int64, where each row went, -1 = gone.
        """
        s = self.state
        remap = torch.where(keep, keep.cumsum(0) - 1, -1)
        kept = keep.nonzero().squeeze(1)
        if len(kept) < s.rows:
            for _, tensor in s.row_tensors():
                tensor[: len(kept)] = tensor[kept]
            s.rows = len(kept)
            self.index(s)
        return remap


@lru_cache
def inverse_of(size: float) -> float:
    """float32(1 / float32(size)), by which coordinates are multiplied to find their voxel."""
    return float((1 / torch.tensor(size, dtype=torch.float32)).item())


def chain(first: Tensor | None, second: Tensor) -> Tensor:
    """Two remaps, one after the other."""
    if first is None:
        return second
    return torch.where(first >= 0, second[first.clamp(min=0)], -1) if len(second) else first.new_full(first.shape, -1)
