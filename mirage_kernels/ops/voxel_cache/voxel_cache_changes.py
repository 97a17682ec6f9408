# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Changes of a voxel cache that an error or an interrupt cannot leave half done.

A change that builds new tensors keeps the old ones until it is complete. A change in place first copies what it will
overwrite. Both are transactions: :meth:`Changes.roll_back` returns to the state of :meth:`Changes.begin`.

An insert by a native kernel is faster without copies. The kernel either writes everything or raises before it writes,
so it is finished instead of rolled back: :attr:`Changes.unfinished` holds what that takes.

If even the roll-back is interrupted, whoever uses the cache next completes it (:meth:`Changes.recover`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from torch import Tensor

from ..._locks import Lock, renew_after_fork
from . import voxel_cache_operators as operators
from .voxel_cache_state import Layout, State

_ROLL_BACK, _TORN = "roll back", "torn"  # values of Changes.unfinished, besides an insert

# An insert in place: its result as soon as there is one, the rows and totals before it, its stamp, the voxel size, and
# (N,) int64 to note touched rows with, because no memory may be needed once the rows are written.
InPlace = tuple[list[tuple[Tensor, Tensor]], int, dict[str, int], int, float, Tensor | None]

_Self = TypeVar("_Self", bound="Changes")
_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def atomic(method: Callable[Concatenate[_Self, _Args], _Result]) -> Callable[Concatenate[_Self, _Args], _Result]:
    """Run a method as a transaction, or as a part of the open one."""

    @functools.wraps(method)
    def run(self: _Self, /, *args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
        if self.in_transaction:
            return method(self, *args, **kwargs)
        try:
            self.begin()
            result = method(self, *args, **kwargs)
            self.end()
        except BaseException:
            self.roll_back()
            raise
        return result

    return run


class Changes:
    """The state of a cache, its lock and its transactions. All methods need the lock.

    Attributes:
        lock: held by every change and by every read of more than one tensor.
        state: the tensors.
        layout: the tensors of a row.
        voxel_size: world units; None before the first insert with voxel size "auto".
        totals: numbers of added, merged, rejected, evicted and carved rows or points. Replaced, never modified.
        unfinished: None, unless a change was interrupted or is running: then :meth:`recover` has to be called.
    """

    state: State
    layout: Layout
    voxel_size: float | None
    totals: dict[str, int]

    def __init__(self) -> None:
        self.lock = Lock()
        self.unfinished: InPlace | str | None = None
        self._undo: list[Callable[[], None]] | None = None  # how to roll back the open transaction, last change first
        self._first: State | None = None  # the state in which the transaction began
        renew_after_fork(self)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._undo is not None

    def begin(self, undo: Callable[[], None] | None = None) -> None:
        """Begin a transaction.

        Args:
            undo: rolls back what belongs to the transaction besides the cache. It may be called more than once.
        """
        if self._undo is not None:  # its roll-back was interrupted before it began
            self.roll_back()
        s = self.state
        back = functools.partial(self._return_to, s, s.rows, s.touched, self.layout, self.voxel_size, self.totals)
        self._first = s
        self._undo = [back] if undo is None else [back, undo]

    def end(self) -> None:
        """Complete the transaction: its changes are kept."""
        self._undo = None
        self._first = None

    def roll_back(self) -> None:
        """Return to the state in which the transaction began. Without an open transaction, nothing happens."""
        if self._undo is None:
            return
        self.unfinished = _ROLL_BACK
        while self._undo:
            self._undo[-1]()
            self._undo.pop()
        self.end()
        self.unfinished = None

    def _return_to(
        self,
        state: State,
        rows: int,
        touched: Tensor | None,
        layout: Layout,
        voxel_size: float | None,
        totals: dict[str, int],
    ) -> None:
        state.rows, state.touched = rows, touched
        self.state, self.layout, self.voxel_size, self.totals = state, layout, voxel_size, totals

    def save_rows(self, rows: Tensor) -> None:
        """Copy rows that a change in place is about to overwrite, unless roll-back drops the state as a whole.

        Args:
            rows: int64, rows in use; a row may be given more than once.
        """
        s = self.state
        if self._undo is None or s is not self._first:
            return
        saved = [(tensor, tensor.index_select(0, rows)) for name, tensor in s.row_tensors() if name != "keys"]
        self._undo.append(functools.partial(_put_back, s, s.rows, rows, saved))

    def save_touched(self, touched: Tensor, rows: Tensor) -> None:
        """Copy what a change of ``touched`` in place is about to overwrite.

        Args:
            touched: (R,) int64.
            rows: int64, rows in use; a row may be given more than once.
        """
        if self._undo is not None:
            self._undo.append(functools.partial(_restore, touched, rows, touched.index_select(0, rows)))

    def recover(self) -> None:
        """Complete what an interrupt has left unfinished.

        Raises:
            RuntimeError: the process was forked while another thread changed the cache.
        """
        with self.lock:
            change = self.unfinished
            if change == _TORN:
                raise RuntimeError(
                    "VoxelCache: expected a complete cache, got one that another thread was changing when this process "
                    "was forked; hold its lock while you fork, or pass a copy"
                )
            if change == _ROLL_BACK:
                self.roll_back()
            elif isinstance(change, tuple):
                if change[0]:
                    self.finish(change)
                else:
                    self._find_rows(change)
            self.unfinished = None

    def finish(self, change: InPlace) -> Any:
        """Take note of what an insert in place has written. It may be called more than once."""
        raise NotImplementedError

    def _find_rows(self, change: InPlace) -> None:
        """Take note of an insert that has not returned. If it has written rows, the table leads to them."""
        _, rows_before, totals, stamp, voxel_size, _ = change
        s = self.state
        rows = int(s.table.max()) + 1
        if rows <= rows_before:
            return
        if s.touched is not None:
            s.touched[rows_before:rows] = stamp
        s.rows, self.voxel_size = rows, voxel_size
        self.totals = {**totals, "added": totals["added"] + rows - rows_before}

    def after_fork(self) -> None:
        """Renew the lock in a child process. A change of another thread is not continued there."""
        is_free = self.lock.acquire(blocking=False)
        if not is_free and (self.unfinished is not None or self._undo is not None):
            self.unfinished = _TORN
        self.lock = Lock()


def _restore(tensor: Tensor, rows: Tensor, values: Tensor) -> None:
    tensor.index_copy_(0, rows, values)


def _put_back(state: State, count: int, rows: Tensor, saved: list[tuple[Tensor, Tensor]]) -> None:
    """Undo an insert in place: the number of rows, the rows that it has overwritten, the table and the boxes."""
    state.rows = count
    for tensor, values in saved:
        tensor.index_copy_(0, rows, values)
    operators.index(state)
