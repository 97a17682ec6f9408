# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``splat`` of several clouds by the kernels of ``splat_triton.py``."""

from __future__ import annotations

from torch import Tensor

from ...cameras import NEAR
from .splat_clouds_reference import NO_MIN_EXTENT
from .splat_triton import rasterize_and_resolve


def splat_clouds(
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None = None,
    extents: Tensor | None = None,
    offsets: Tensor | None = None,
    extent: float = 0.0,
    radius: float = 0.0,
    near: float = NEAR,
) -> tuple[Tensor, Tensor, Tensor]:
    scale = extent if extents is None else 1.0
    shape = (valid, extents, offsets, scale, NO_MIN_EXTENT, radius, near)
    return rasterize_and_resolve(xyz, features, intrinsics, world2cam, h, w, *shape)


splat_clouds_plain = splat_clouds
