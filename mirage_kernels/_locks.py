# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Locks of objects with state: one thread at a time changes or reads it.

Methods that hold one raise ``torch.OutOfMemoryError`` if memory is exhausted, wherever in them that happens.

A ``threading.RLock`` is released by whatever ends its block, an exception or an interrupt, because its methods are
written in C. A compiled function takes no lock, since torch.compile cannot trace one: is_dynamo_compiling() is True
while such a function is traced, whereas is_compiling() is also True in all threads as long as one of them compiles.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch

from . import _memory

Lock = threading.RLock


class Locked(Protocol):
    """An object with a lock."""

    @property
    def lock(self) -> Any:
        """A ``threading.RLock``."""
        ...


class LockOwner(Protocol):
    """An object whose lock another thread may hold while this process forks."""

    def after_fork(self) -> None:
        """Replace the lock, in the child process."""
        ...


_Self = TypeVar("_Self", bound=Locked)
_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")

_owners: weakref.WeakSet[Any] = weakref.WeakSet()


def writes(method: Callable[Concatenate[_Self, _Args], _Result]) -> Callable[Concatenate[_Self, _Args], _Result]:
    """Hold ``self.lock`` during a method."""

    @functools.wraps(method)
    def run(self: _Self, /, *args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
        with self.lock:
            try:
                return method(self, *args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                _memory.raise_explained(error, method.__name__)

    return run


def reads(method: Callable[Concatenate[_Self, _Args], _Result]) -> Callable[Concatenate[_Self, _Args], _Result]:
    """Hold ``self.lock`` during a method, except in a function that ``torch.compile`` traces."""

    @functools.wraps(method)
    def run(self: _Self, /, *args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
        if torch.compiler.is_dynamo_compiling():
            return method(self, *args, **kwargs)
        with self.lock:
            try:
                return method(self, *args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                _memory.raise_explained(error, method.__name__)

    return run


def renew_after_fork(owner: LockOwner) -> None:
    """Call ``owner.after_fork()`` in child processes: a lock that another thread held is never released there."""
    _owners.add(owner)


def _after_fork() -> None:
    for owner in list(_owners):
        owner.after_fork()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
