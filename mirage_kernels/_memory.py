# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The error for exhausted memory, the same on every backend and device."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

import torch
from torch import Tensor

_EXHAUSTED = re.compile(r"out of memory|can't allocate memory|bad_alloc|Storage size calculation overflowed")
_EXPLAINED = re.compile(r"[\w ]+: out of memory\. ")

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")


def explains(name: str) -> Callable[[Callable[_Args, _Result]], Callable[_Args, _Result]]:
    """Return a decorator with which a function raises the error of :func:`explained` if memory is exhausted.

    It is for functions that run more than one operation. Where a call has to be fast, its operation is called in a
    try block instead.
    """

    def decorate(function: Callable[_Args, _Result]) -> Callable[_Args, _Result]:
        @functools.wraps(function)
        def run(*args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
            try:
                return function(*args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                raise_explained(error, name)

        return run

    return decorate


def raise_explained(error: BaseException, name: str, **arguments: Any) -> NoReturn:
    """Raise what :func:`explained` returns; an error that it does not replace keeps its cause."""
    other = explained(error, name, **arguments)
    if other is error:
        raise error
    raise other from error


def explained(error: BaseException, name: str, **arguments: Any) -> BaseException:
    """Return the error to raise in place of one that an operation raised.

    Args:
        error: what the operation raised.
        name: the operation.
        arguments: its arguments, for the message.

    Returns:
        ``torch.OutOfMemoryError`` with the shapes of the arguments if memory was exhausted, else ``error`` itself, as
        for an error that this function has returned before.
    """
    reason = str(error).partition("\n")[0]
    if isinstance(error, torch.OutOfMemoryError) and _EXPLAINED.match(reason):
        return error
    # Not a subclass of RuntimeError, which says what it is; torch.AcceleratorError is that of CUDA's allocations.
    is_torchs = type(error) is RuntimeError or type(error).__name__ == "AcceleratorError"
    if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and not (is_torchs and _EXHAUSTED.search(reason)):
        return error
    # " out of memory." is what accelerate's find_executable_batch_size looks for.
    shapes = ", ".join(f"{key} {_describe(value)}" for key, value in arguments.items() if value is not None)
    reason = ": ".join(part for part in (shapes, reason or type(error).__name__) if part)
    return torch.OutOfMemoryError(f"{name}: out of memory. {reason}")


def raise_if_exhausted(error: BaseException, name: str, **arguments: Any) -> None:
    """Raise ``torch.OutOfMemoryError``, as :func:`explained` makes it, if the error is that of exhausted memory."""
    other = explained(error, name, **arguments)
    if isinstance(other, torch.OutOfMemoryError):
        raise other from (None if other is error else error)


def _describe(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else str(value)
