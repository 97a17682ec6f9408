# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``splat_surface`` by the Triton kernels of ``splat``."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .splat_surface_reference import splat_surface_with
from .splat_triton import splat


def splat_surface(*args: Any) -> tuple[Tensor, Tensor]:
    return splat_surface_with(splat, *args)
