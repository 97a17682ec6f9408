# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernel of ``project``, with the same bits as ``project_reference.py``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import inside, launch
from ..._triton_common import project as project_to_view
from ...backend import INTERPRETED

_POINTS = tl.constexpr(1024 if INTERPRETED else 256)  # points per program


@triton.jit(do_not_specialize=["n", "of_view", "h", "w"])
def project_points_kernel(xyz, intrinsics, world2cam, uv, depth, seen, n, of_view, h, w):
    """Project up to ``_POINTS`` points into one view. Views and blocks of points are folded into axis 0.

    ``of_view`` is the number of points that each view has of its own, 0 if all views share them.
    """
    blocks = tl.cdiv(n, _POINTS)
    view = tl.program_id(0) // blocks
    point = (tl.program_id(0) % blocks).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    active = point < n
    v = view.to(tl.int64)
    first = xyz + 3 * v * of_view
    x = tl.load(first + 3 * point, mask=active, other=0.0)
    y = tl.load(first + 3 * point + 1, mask=active, other=0.0)
    z = tl.load(first + 3 * point + 2, mask=active, other=0.0)
    column, row, distance, _ = project_to_view(world2cam + 12 * v, intrinsics + 9 * v, x, y, z)
    at = v * n + point
    tl.store(uv + 2 * at, column, mask=active)
    tl.store(uv + 2 * at + 1, row, mask=active)
    tl.store(depth + at, distance, mask=active)
    tl.store(seen + at, inside(column, row, distance, h, w).to(tl.uint8), mask=active)


def project(xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    views, n = world2cam.shape[0], xyz.shape[-2]
    uv, depth = xyz.new_empty(views, n, 2), xyz.new_empty(views, n)
    seen = torch.empty(views, n, dtype=torch.bool, device=xyz.device)
    launch(
        project_points_kernel,
        (views * triton.cdiv(n, _POINTS.value),),
        xyz.device,
        *(xyz.contiguous(), intrinsics.contiguous(), world2cam.contiguous()),
        *(uv, depth, seen.view(torch.uint8), n, n if xyz.dim() == 3 else 0, h, w),
    )
    return uv, depth, seen
