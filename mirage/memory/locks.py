# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The lock of a memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch


class Locked(Protocol):
    """An object with a lock."""

    @property
    def lock(self) -> Any:
        """A ``threading.RLock``."""
        ...


_Self = TypeVar("_Self", bound=Locked)
_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def locked(method: Callable[Concatenate[_Self, _Args], _Result]) -> Callable[Concatenate[_Self, _Args], _Result]:
    """Hold ``self.lock`` during a method, except in a function that ``torch.compile`` traces, which cannot take one."""

    @functools.wraps(method)
    def run(self: _Self, /, *args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
        if torch.compiler.is_compiling():
            return method(self, *args, **kwargs)
        with self.lock:
            return method(self, *args, **kwargs)

    return run
