# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``project``: schema, fake kernel, and the function that calls it."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from . import project_reference as reference


def project_points(
    xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the operation ``project`` on the backend of the points' device. Arguments are not checked.

    In float64, and where a gradient may be wanted, PyTorch's operations run in its place: the operation has none.

    Args:
        xyz: (N, 3) float32 or float64, world units; or (V, N, 3), those of each view.
        intrinsics: (V, 3, 3) float32.
        world2cam: (V, 3, 4) float32.
        size: (h, w) of the grid.

    Returns:
        uv (V, N, 2) and depth (V, N) in the dtype of ``xyz``, and inside (V, N) bool.
    """
    result: tuple[Tensor, Tensor, Tensor]
    try:
        if xyz.dtype != torch.float32 or _may_be_differentiated(xyz):
            return reference.project(xyz, intrinsics, world2cam, *size)
        result = backend.operation("project", xyz)(xyz, intrinsics, world2cam, *size)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "project", xyz=xyz, cameras=world2cam)
    return result


def _may_be_differentiated(xyz: Tensor) -> bool:
    wanted = xyz.requires_grad and torch.is_grad_enabled()
    return wanted or _transforms.is_active() or _transforms.is_in_functorch()


def _fake(xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = world2cam.shape[0], xyz.shape[-2]
    return xyz.new_empty(*shape, 2), xyz.new_empty(shape), xyz.new_empty(shape, dtype=torch.bool)


_library.define(
    "project(Tensor xyz, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w) -> "
    "(Tensor uv, Tensor depth, Tensor inside)",
    reference=reference.project,
    triton=f"{__package__}.project_triton",
    fake=_fake,
)
