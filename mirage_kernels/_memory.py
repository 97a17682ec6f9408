# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The error for exhausted memory, the same on every backend and device."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

_EXHAUSTED = re.compile(r"out of memory|can't allocate memory|bad_alloc|Storage size calculation overflowed")


def explained(error: BaseException, name: str, **arguments: Any) -> BaseException:
    """Return the error to raise in place of one that an operation raised.

    Args:
        error: what the operation raised.
        name: the operation.
        arguments: its arguments, for the message.

    Returns:
        ``torch.OutOfMemoryError`` with the shapes of the arguments if memory was exhausted, else ``error`` itself.
    """
    reason = str(error).partition("\n")[0]
    if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and not _EXHAUSTED.search(reason):
        return error
    # " out of memory." is what accelerate's find_executable_batch_size looks for.
    shapes = ", ".join(f"{key} {_describe(value)}" for key, value in arguments.items() if value is not None)
    return torch.OutOfMemoryError(f"{name}: out of memory. {shapes}: {reason or type(error).__name__}")


def _describe(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else str(value)
