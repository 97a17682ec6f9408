# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Modes of torch in which the stand-ins compute the same as without."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import torch

_P = ParamSpec("_P")
_R = TypeVar("_R")


@contextlib.contextmanager
def autocast_off() -> Iterator[None]:
    """Compute in the dtypes of the tensors, on every device."""
    with contextlib.ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def without_autocast(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a function compute under ``torch.autocast`` as without it."""

    @functools.wraps(function)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with autocast_off():
            return function(*args, **kwargs)

    return run


def without_gradients(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make a function compute without gradients, and under ``torch.autocast`` as without it."""
    run: Callable[_P, _R] = torch.no_grad()(without_autocast(function))
    return run
