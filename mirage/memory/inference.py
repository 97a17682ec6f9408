# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""State that is written in ``torch.inference_mode()`` and may be written outside of it later."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def outside_inference_mode(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Decorate a function so that the tensors it makes can be changed in place outside of inference mode.

    Args:
        function: makes or changes tensors; it needs no gradients.

    Returns:
        A function that leaves inference mode for the call, if it is on.

    Example:
        >>> with torch.inference_mode():
        ...     outside_inference_mode(torch.zeros)(3).is_inference()
        False
    """

    @functools.wraps(function)
    def run(*args: _Parameters.args, **options: _Parameters.kwargs) -> _Result:
        if not torch.is_inference_mode_enabled():
            return function(*args, **options)
        with torch.inference_mode(False), torch.no_grad():
            return function(*args, **options)

    return run
