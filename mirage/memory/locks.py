# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The locks of a memory and of a history."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch


class Locked(Protocol):
    """An object with a lock."""

    @property
    def lock(self) -> Any:
        """A ``threading.RLock``."""
        ...


class OwnLock:
    """A lock that is free in a forked process, in which the thread that held it does not exist."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        _own_locks.add(self)


_own_locks: weakref.WeakSet[OwnLock] = weakref.WeakSet()


def _renew_after_fork() -> None:
    for owner in list(_own_locks):
        owner.lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_after_fork)

_Self = TypeVar("_Self", bound=Locked)
_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def locked(method: Callable[Concatenate[_Self, _Args], _Result]) -> Callable[Concatenate[_Self, _Args], _Result]:
    """Hold ``self.lock`` during a method, except in a function that ``torch.compile`` traces, which cannot take one."""

    @functools.wraps(method)
    def run(self: _Self, /, *args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
        if torch.compiler.is_dynamo_compiling():
            return method(self, *args, **kwargs)
        with self.lock:
            return method(self, *args, **kwargs)

    return run
