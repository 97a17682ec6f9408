# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a voxel cache: growth, budget, eviction."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ... import _memory, backend, check
from ..._modes import AutomaticEviction, Eviction, Fusion
from . import voxel_cache_operators as operators
from .voxel_cache_changes import Changes, InPlace, atomic
from .voxel_cache_reference import Plan
from .voxel_cache_state import MAX_ROWS, InsertInput, Layout, State

_EVICTION_TARGET = 7 / 8  # fraction of the budget that an eviction leaves, so that not every insert has to evict
# Factors by which the capacity grows. A larger factor copies less often and wastes more memory.
_GROWTH, _SMALL_GROWTH, _SMALL_CAPACITY = 1.5, 1.25, 65_536
_MIN_GROWTH = 1 << 18  # bytes of rows


class InsertCounts(NamedTuple):
    """Result of an insert.

    Attributes:
        added: number of new voxels, each of which is a new row.
        merged: number of points that fell into a voxel of an existing row or of another point of the call.
        rejected: number of valid points that were not inserted: a coordinate out of range (2^20 voxels from the origin)
            or not finite, a feature not finite, or a footprint that is not positive or not finite.
        evicted: number of rows removed to keep the budget.
        remap: (rows before,) int64, new index of every row, -1 if it was removed; None if no row was evicted.
    """

    added: int
    merged: int
    rejected: int
    evicted: int
    remap: Tensor | None


class Store(Changes):
    """The state of a cache and its budget. Every change is atomic: on error the state is unchanged.

    Args:
        layout: the tensors of a row.
        max_rows, max_bytes: the budget; None for no limit.
        voxel_size: world units; None until the first insert.
    """

    def __init__(
        self,
        layout: Layout,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        voxel_size: float | None = None,
    ) -> None:
        super().__init__()
        self.layout, self.voxel_size = layout, voxel_size
        self.max_rows, self.max_bytes = max_rows, max_bytes
        limit = MAX_ROWS if max_rows is None else max_rows
        self.row_limit = limit if max_bytes is None else min(limit, self.rows_within(max_bytes))
        self.state = State.allocate(layout, 0)
        self.totals = dict.fromkeys(("added", "merged", "rejected", "evicted", "carved"), 0)

    def with_state(self, state: State) -> Store:
        """Return a store with the same layout and budget and another state, which may be on another device."""
        layout = self.layout._replace(device=state.keys.device)
        other = Store(layout, self.max_rows, self.max_bytes, self.voxel_size)
        other.state, other.totals = state, self.totals
        return other

    def map(self, function: Callable[[Tensor], Tensor]) -> Store:
        """Return a store with ``function`` applied to every tensor of the state."""
        return self.with_state(self.state.map(function))

    @atomic
    def replace(self, other: Store) -> None:
        """Take over the tensors of a store with the same budget."""
        self.layout, self.state = other.layout, other.state

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
        larger = max(int(capacity * growth), capacity + _MIN_GROWTH // self.layout.row_nbytes) if capacity else rows
        return self._resized(min(max(rows, larger), self.row_limit))

    def shrink_to_fit(self) -> None:
        """Reallocate the state without unused rows."""
        if self.state.capacity > self.state.rows:
            self.state = self._resized(self.state.rows)

    def _resized(self, capacity: int) -> State:
        try:
            new = self.state.resized(self.layout, capacity)
        except (RuntimeError, MemoryError) as error:
            _memory.raise_explained(error, "cache", rows=self.state.rows, capacity=capacity)
        if len(new.table) != len(self.state.table):
            operators.index(new)
        return new

    def insert(
        self, points: InsertInput, *, voxel_size: float, stamp: int, fusion: Fusion, eviction: AutomaticEviction
    ) -> InsertCounts:
        """Insert points: plan, evict and grow where necessary, write. See :meth:`VoxelCache.insert`."""
        if self.unfinished is not None:
            self.recover()
        planned = None
        # Roll-back drops a state that is not the first of its transaction as a whole.
        if (self._undo is None or self.state is not self._first) and backend.is_native(self.state.keys):
            outcome: list[tuple[Tensor, Tensor]] = []
            s = self.state
            room = None if s.touched is None else s.touched.new_empty(len(points.xyz))
            self.unfinished = change = (outcome, s.rows, self.totals, stamp, voxel_size, room)
            operators.insert(self.state, points, stamp=stamp, voxel_size=voxel_size, fusion=fusion, into=outcome)
            counts = self.finish(change)
            if counts is not None:
                return counts
            planned = outcome[0]
        return self._insert_in_steps(points, planned, voxel_size, stamp, fusion, eviction)

    def finish(self, change: InPlace) -> InsertCounts | None:
        """Take note of what an insert in place has written; return None if the state has no room for it."""
        [(plan, counts)], rows_before, totals, stamp, voxel_size, room = change
        added, rejected, kept, segments = counts.tolist()
        s, rows = self.state, rows_before + added
        if rows > s.capacity:
            self.unfinished = None
            return None
        if s.touched is not None and room is not None:
            s.touched.index_fill_(0, room[:segments].copy_(Plan.unpack(plan, kept, segments).row), stamp)
        s.rows, self.voxel_size = rows, voxel_size
        result = InsertCounts(added, kept - added, rejected, 0, None)
        self.totals = _add_counts(totals, result)
        self.unfinished = None
        return result

    @atomic
    def _insert_in_steps(
        self,
        points: InsertInput,
        planned: tuple[Tensor, Tensor] | None,
        voxel_size: float,
        stamp: int,
        fusion: Fusion,
        eviction: AutomaticEviction,
    ) -> InsertCounts:
        """Insert points: plan, evict or grow into new tensors if necessary, and write."""
        rows_before, totals, remap = self.state.rows, self.totals, None
        while True:
            plan, counts = planned or operators.plan(self.state, points, voxel_size=voxel_size, fusion=fusion)
            added, rejected, kept, segments = counts.tolist()
            rows = self.state.rows + added
            if rows <= self.row_limit:
                break
            if segments > self.row_limit:
                expected = f"points in at most {self.row_limit} voxels, the budget of the cache"
                raise check.value_error("xyz", expected, f"{segments} voxels")
            # Rows that points of this call would merge with may be evicted, so plan again.
            keep = min(self.row_limit - added, int(self.row_limit * _EVICTION_TARGET))
            remap, planned = _chain(remap, self.evict_to(keep, eviction, capacity=self.row_limit)), None
        evicted = rows_before - self.state.rows
        row = Plan.unpack(plan, kept, segments).row
        if rows > self.state.capacity:
            self.state = self.reserve(rows)
        elif self._undo is not None and self.state is self._first:
            # New voxels have no row to save. On a GPU, to find the others would wait for it.
            known = self.state.rows
            old = row[:0] if added == segments else row[row < known] if row.is_cpu else row.clamp(max=known - 1)
            self.save_rows(old.long())
        s, sizes = self.state, {"kept": kept, "segments": segments}
        operators.commit(s, plan, points, **sizes, stamp=stamp, voxel_size=voxel_size, fusion=fusion)
        if s.touched is not None:
            s.touched[row.long()] = stamp
        s.rows, self.voxel_size = rows, voxel_size
        result = InsertCounts(added, kept - added, rejected, evicted, remap)
        self.totals = _add_counts(totals, result)
        return result

    @atomic
    def touch(self, rows: Tensor, stamp: int) -> None:
        """Set the stamp of the last touch of rows (N,) int64."""
        self.track_touches()
        touched = self.state.touched
        assert touched is not None
        self.save_touched(touched, rows)
        touched[rows] = stamp

    def track_touches(self) -> None:
        """Add the tensor ``touched`` to the state, if it has none."""
        if self.state.touched is None:
            self.state.touched = self.state.stamp.clone()
            self.layout = self.layout._replace(touched=True)

    def evict_to(
        self, rows: int, eviction: Eviction, position: Tensor | None = None, capacity: int | None = None
    ) -> Tensor:
        """Remove rows until at most ``rows`` are left; ties go to the lower row. Returns the remap of :meth:`compact`.

        Args:
            rows: number of rows to keep.
            eviction: which rows to remove first.
            position: (3,) float32, world units, for "farthest".
            capacity: as for :meth:`compact`.
        """
        s = self.state
        excess = s.rows - rows
        keep = torch.ones(s.rows, dtype=torch.bool, device=s.keys.device)
        if excess > 0:
            if position is not None:
                x, y, z = (s.xyz[: s.rows].double() - position).unbind(1)  # squares leave the range of float32
                score = -((x * x + y * y) + z * z)
            else:
                score = (s.touched if eviction == "untouched" and s.touched is not None else s.stamp)[: s.rows]
            keep[score.sort(stable=True).indices[:excess]] = False
        return self.compact(keep, "evicted", capacity)

    @atomic
    def compact(self, keep: Tensor, total: str, capacity: int | None = None) -> Tensor:
        """Remove the rows where ``keep`` (rows,) bool is False. The order of rows does not change.

        Args:
            keep: (rows,) bool.
            total: the name of the total that counts the removed rows.
            capacity: number of rows to allocate memory for; None does not change it.

        Returns:
            (rows before,) int64, new index of every row, -1 if it was removed.
        """
        s = self.state
        remap = torch.where(keep, keep.cumsum(0) - 1, -1)
        kept = keep.nonzero().squeeze(1)
        if len(kept) < s.rows:
            new = s.selected(self.layout, kept, s.capacity if capacity is None else capacity)
            operators.index(new)
            self.totals = {**self.totals, total: self.totals[total] + s.rows - len(kept)}
            self.state = new
        return remap

    @atomic
    def evict_to_bytes(self, nbytes: int, eviction: Eviction, position: Tensor | None) -> Tensor:
        """Remove rows as :meth:`evict_to` does, and unused memory, until the state fits into ``nbytes``."""
        rows = self.rows_within(nbytes)
        does_fit = self.state.nbytes <= nbytes
        remap = self.evict_to(rows, eviction, position, capacity=None if does_fit else min(rows, self.state.rows))
        if self.state.nbytes > nbytes:
            self.shrink_to_fit()
        return remap


def _add_counts(totals: dict[str, int], counts: InsertCounts) -> dict[str, int]:
    return {
        "added": totals["added"] + counts.added,
        "merged": totals["merged"] + counts.merged,
        "rejected": totals["rejected"] + counts.rejected,
        "evicted": totals["evicted"] + counts.evicted,
        "carved": totals["carved"],
    }


def _chain(first: Tensor | None, second: Tensor) -> Tensor:
    """Return the remap that applies ``first`` and then ``second``."""
    if first is None:
        return second
    return torch.where(first >= 0, second[first.clamp(min=0)], -1) if len(second) else first.new_full(first.shape, -1)
