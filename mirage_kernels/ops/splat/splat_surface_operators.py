# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``splat_surface``: schema, fake kernel, and the function that calls it."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from ...cameras import Cameras
from . import splat_surface_reference as reference
from .splat_operators import Boxes


def surface_of_points(
    xyz: Tensor,
    footprint: Tensor,
    cameras: Cameras,
    *,
    valid: Tensor | None,
    behind: Tensor | None,
    below: Tensor | None,
    first_scale: float,
    scale: float,
    min_extent: float,
    tolerance: float,
    boxes: Boxes,
    near: float,
) -> tuple[Tensor, Tensor]:
    """Run the operation ``splat_surface`` on the backend of the points' device. Arguments are not checked.

    Args:
        xyz: (N, 3) float32, world units.
        footprint: (N,) float32, world units.
        cameras: V cameras over a grid (h, w), on the same device.
        valid, behind, below, tolerance, near: as for :meth:`mirage_kernels.VoxelCache.splat_surface`.
        first_scale, scale: half-sizes of the squares in footprints, of the first and of the other renderings; 0 renders
            points.
        min_extent: smallest footprint of a square, world units.
        boxes: as for :func:`.splat_operators.splat_nearest`.

    Returns:
        depth (V, h, w) and index (V, h, w), as in :class:`mirage_kernels.Splat`.
    """
    run = backend.operation("splat_surface", xyz)
    floats: tuple[float, ...] = (first_scale, scale, min_extent, tolerance, near)
    if torch.compiler.is_dynamo_compiling():
        floats = _transforms.constants(*floats)
    views = (cameras._intrinsics, cameras._world2cam, *cameras.size)
    surface: tuple[Tensor, Tensor]
    try:
        surface = run(xyz, footprint, *views, valid, behind, below, *floats[:4], *boxes, floats[4])
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "splat_surface", xyz=xyz, cameras=cameras)
    return surface


def _fake(
    xyz: Tensor, footprint: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int, *rest: object
) -> tuple[Tensor, Tensor]:
    views = world2cam.shape[0]
    return xyz.new_empty(views, h, w), xyz.new_empty(views, h, w, dtype=torch.int64)


_library.define(
    "splat_surface(Tensor xyz, Tensor footprint, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w, "
    "Tensor? valid, Tensor? behind, Tensor? below, float first_scale, float scale, float least_extent, "
    "float tolerance, Tensor? boxes0, Tensor? boxes1, Tensor? boxes2, float near) -> (Tensor depth, Tensor index)",
    reference=reference.splat_surface,
    triton=f"{__package__}.splat_surface_triton",
    fake=_fake,
)
