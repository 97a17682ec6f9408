# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a voxel cache: growth, budget, eviction."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ... import _memory, check
from ..._modes import AutomaticEviction, Eviction, Fusion
from . import voxel_cache_operators as operators
from .voxel_cache_reference import Plan
from .voxel_cache_state import MAX_ROWS, InsertInput, Layout, State

_EVICTION_TARGET = 7 / 8  # fraction of the budget that an eviction leaves, so that not every insert has to evict
# Factors by which the capacity grows. A larger factor copies less often and wastes more memory.
_GROWTH, _SMALL_GROWTH, _SMALL_CAPACITY = 1.5, 1.25, 65_536


class InsertCounts(NamedTuple):
    """Result of an insert.

    Attributes:
        added: number of new voxels, each of which is a new row.
        merged: number of points that fell into a voxel of an existing row or of another point of the call.
        rejected: number of valid points that were not inserted: a coordinate out of range (2^20 voxels from the origin)
            or not finite, a footprint negative or not finite, or, with int8 storage, a feature not finite.
        evicted: number of rows removed to keep the budget.
        remap: (rows before,) int64, new index of every row, -1 if it was removed; None if no row was evicted.
    """

    added: int
    merged: int
    rejected: int
    evicted: int
    remap: Tensor | None


class Store:
    """The state of a cache and its budget. Every change is atomic: on error the state is unchanged.

    Args:
        layout: the tensors of a row.
        max_rows, max_bytes: the budget; None for no limit.
    """

    def __init__(self, layout: Layout, max_rows: int | None = None, max_bytes: int | None = None) -> None:
        self.layout = layout
        self.max_rows, self.max_bytes = max_rows, max_bytes
        limit = MAX_ROWS if max_rows is None else max_rows
        self.row_limit = limit if max_bytes is None else min(limit, self.rows_within(max_bytes))
        self.state = State.allocate(layout, 0)

    def with_state(self, state: State) -> Store:
        """Return a store with the same layout and budget and another state, which may be on another device."""
        device = state.keys.device
        other = Store(self.layout._replace(device=device), self.max_rows, self.max_bytes)
        other.state = state
        return other

    def map(self, function: Callable[[Tensor], Tensor]) -> Store:
        """Return a store with ``function`` applied to every tensor of the state."""
        return self.with_state(self.state.map(function))

    def rows_within(self, nbytes: int) -> int:
        """Return the largest number of rows whose state fits into ``nbytes``."""
        low, high = 0, MAX_ROWS  # the size grows with the number of rows, so bisection finds it
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.layout.nbytes(middle) <= nbytes else (low, middle - 1)
        return low

    def reserve(self, rows: int) -> State:
        """Return the state, reallocated if it has no room for ``rows`` rows. ``self.state`` is not modified."""
        if rows <= self.state.capacity:
            return self.state
        capacity = self.state.capacity
        growth = _SMALL_GROWTH if capacity < _SMALL_CAPACITY else _GROWTH
        return self._resized(min(max(rows, int(capacity * growth)), self.row_limit))

    def shrink_to_fit(self) -> None:
        """Reallocate the state without unused rows."""
        if self.state.capacity > self.state.rows:
            self.state = self._resized(self.state.rows)

    def _resized(self, capacity: int) -> State:
        try:
            new = self.state.resized(self.layout, capacity)
        except (RuntimeError, MemoryError) as error:
            raise _memory.explained(error, "cache", rows=self.state.rows, capacity=capacity) from None
        if new.table is not self.state.table:
            operators.index(new)
        return new

    def insert(
        self, points: InsertInput, *, voxel_size: float, stamp: int, fusion: Fusion, eviction: AutomaticEviction
    ) -> InsertCounts:
        """Insert points: plan, evict and grow where necessary, write. See :meth:`VoxelCache.insert`."""
        rows_before, remap = self.state.rows, None
        while True:
            s = self.state
            plan, counts = operators.insert(s, points, stamp=stamp, voxel_size=voxel_size, fusion=fusion)
            added, rejected, kept, segments = counts.tolist()
            rows = s.rows + added
            if rows <= s.capacity:  # then the operation has written the points already
                break
            if segments > self.row_limit:
                expected = f"points in at most {self.row_limit} voxels, the budget of the cache"
                raise check.value_error("xyz", expected, f"{segments} voxels")
            self.state = s = self.reserve(min(rows, self.row_limit))
            if rows <= self.row_limit:
                operators.commit(
                    s,
                    plan,
                    points,
                    kept=kept,
                    segments=segments,
                    stamp=stamp,
                    voxel_size=voxel_size,
                    fusion=fusion,
                )
                break
            # Rows that points of this call would merge with may be evicted, so plan again.
            keep = min(self.row_limit - added, int(self.row_limit * _EVICTION_TARGET))
            remap = _chain(remap, self.evict_to(keep, eviction))
        evicted = rows_before - s.rows
        if s.touched is not None:
            s.touched[Plan.unpack(plan, kept, segments).row.long()] = stamp
        s.rows = rows
        return InsertCounts(added, kept - added, rejected, evicted, remap)

    def track_touches(self) -> None:
        """Add the tensor ``touched`` to the state, if it has none."""
        if not self.layout.touched:
            self.layout = self.layout._replace(touched=True)
            self.state.touched = self.state.stamp.clone()

    def evict_to(self, rows: int, eviction: Eviction, position: Tensor | None = None) -> Tensor:
        """Remove rows until at most ``rows`` are left; ties go to the lower row. Returns the remap of :meth:`compact`.

        Args:
            rows: number of rows to keep.
            eviction: which rows to remove first.
            position: (3,) float32, world units, for "farthest".
        """
        s = self.state
        excess = s.rows - rows
        keep = torch.ones(s.rows, dtype=torch.bool, device=s.keys.device)
        if excess > 0:
            if position is not None:
                x, y, z = (s.xyz[: s.rows] - position).unbind(1)
                score = -((x * x + y * y) + z * z)
            else:
                score = (s.touched if eviction == "untouched" and s.touched is not None else s.stamp)[: s.rows]
            keep[score.sort(stable=True).indices[:excess]] = False
        return self.compact(keep)

    def compact(self, keep: Tensor) -> Tensor:
        """Remove the rows where ``keep`` (rows,) bool is False. The order of rows and the capacity do not change.

        Returns:
            (rows before,) int64, new index of every row, -1 if it was removed.
        """
        s = self.state
        remap = torch.where(keep, keep.cumsum(0) - 1, -1)
        kept = keep.nonzero().squeeze(1)
        if len(kept) < s.rows:
            for _, tensor in s.row_tensors():
                tensor[: len(kept)] = tensor[kept]
            s.rows = len(kept)
            operators.index(s)
        return remap


def _chain(first: Tensor | None, second: Tensor) -> Tensor:
    """Return the remap that applies ``first`` and then ``second``."""
    if first is None:
        return second
    return torch.where(first >= 0, second[first.clamp(min=0)], -1) if len(second) else first.new_full(first.shape, -1)
