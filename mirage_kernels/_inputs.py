# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Geometry and masks as users have them, converted to the float32 and bool that the operations take.

Operations compute which cell, which voxel and which point in float32, so that every backend returns the same integers.
Geometry in float64 is rounded to float32 once, here, and gradients flow back through that rounding. Half precision is
refused: it has 8 or 11 bits, fewer than a position needs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import check

GEOMETRY_DTYPES = (torch.float32, torch.float64)
_MASK_DTYPES = (torch.bool, torch.uint8, torch.float32, torch.float64, torch.bfloat16, torch.float16)
_HALF = (torch.bfloat16, torch.float16)

Like = tuple[str, Tensor]


def check_geometry(
    name: str, value: Any, shape: tuple[str | int, ...], dims: check.Dims, like: Like | None = None
) -> None:
    """Check a tensor of positions, depths or lengths as :func:`mirage_kernels.check.tensor` does.

    Raises:
        TypeError: the dtype is neither float32 nor float64; the message names autocast if that may be the cause.
        ValueError: the shape or the device is wrong.
    """
    if isinstance(value, Tensor) and value.dtype in _HALF and torch.is_autocast_enabled(value.device.type):
        got = check.dtype_name(value.dtype)
        hint = "torch.autocast is on: compute geometry under torch.autocast(..., enabled=False)"
        raise TypeError(f"{name}: expected float32 or float64, got {got} ({hint})")
    check.tensor(name, value, shape, dims, GEOMETRY_DTYPES, like)


def geometry(name: str, value: Any, shape: tuple[str | int, ...], dims: check.Dims, like: Like | None = None) -> Tensor:
    """Check a tensor of geometry, as :func:`check_geometry` does, and return it in float32."""
    check_geometry(name, value, shape, dims, like)
    rounded: Tensor = value if value.dtype is torch.float32 else value.float()
    return rounded


def mask(name: str, value: Any, shape: tuple[str | int, ...], dims: check.Dims, like: Like) -> Tensor:
    """Check a mask and return it as bool. In a mask of uint8 or floating point, whatever is not 0 is True.

    Raises:
        TypeError: the dtype is another one.
        ValueError: the shape or the device is wrong.
    """
    check.tensor(name, value, shape, dims, _MASK_DTYPES, like)
    converted: Tensor = value if value.dtype is torch.bool else value != 0
    return converted
