# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a voxel cache: how they grow, within what budget, and how some are given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ... import backend
from .voxel_cache_state import MOST_ROWS, Layout, State

GROWTH = 1.25  # a cache that has to grow becomes this much larger: more room copies less, and wastes more


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

    def call(self, name: str, *args: Any) -> Any:
        """Run an operation on the backend of this device."""
        return backend.operation(name, self.layout.device.type)(*args)

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
        """The state with room for so many rows; the store keeps the old one until it is given the new."""
        if rows <= self.state.capacity:
            return self.state
        return self._resized(min(max(rows, int(self.state.capacity * GROWTH)), self.most))

    def shrink_to_fit(self) -> None:
        if self.state.capacity > self.state.rows:
            self.state = self._resized(self.state.rows)

    def _resized(self, capacity: int) -> State:
        new = self.state.resized(self.layout, capacity)
        if new.table is not self.state.table:
            self.index(new)
        return new

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


def chain(first: Tensor | None, second: Tensor) -> Tensor:
    """Two remaps, one after the other."""
    if first is None:
        return second
    return torch.where(first >= 0, second[first.clamp(min=0)], -1) if len(second) else first.new_full(first.shape, -1)
