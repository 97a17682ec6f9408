# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of ``frontmost``, with the same bits as ``splat_frontmost_reference.py``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import launch, on_grid, project
from ...backend import INTERPRETED

_POINTS = tl.constexpr(1024 if INTERPRETED else 256)  # points per program
_INFINITY_BITS = 0x7F800000


@triton.jit(do_not_specialize=["n", "h", "w"])
def splat_frontmost_kernel(
    xyz, valid, intrinsics, world2cam, nearest, front, n, h, w, near, far, tolerance, CUT_OFF: tl.constexpr,
    TEST: tl.constexpr,
):  # fmt: skip
    """Enter the bits of the depths of points into ``nearest`` (V, h w); or compare them with it, with ``TEST``.

    Views and blocks of points are folded into axis 0. Depths in view are positive, so that their bits have their order.
    """
    blocks = tl.cdiv(n, _POINTS)
    view = (tl.program_id(0) // blocks).to(tl.int64)
    point = (tl.program_id(0) % blocks).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    active = point < n
    x = tl.load(xyz + 3 * point, mask=active, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=active, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=active, other=0.0)
    u, v, depth, _ = project(world2cam + 12 * view, intrinsics + 9 * view, x, y, z)
    if CUT_OFF:
        u, v = tl.where((u < 0) & (u > -1), 0.0, u), tl.where((v < 0) & (v > -1), 0.0, v)
    seen = active & (depth > near) & (depth < far) & on_grid(u, v, h, w)
    if valid is not None:
        seen = seen & (tl.load(valid + point, mask=active, other=0) != 0)
    cell = tl.where(seen, v, 0.0).to(tl.int32) * w + tl.where(seen, u, 0.0).to(tl.int32)
    at = nearest + view * h * w + cell
    if TEST:
        smallest = tl.load(at, mask=seen, other=0).to(tl.float32, bitcast=True)
        is_front = seen & (depth <= smallest + tolerance)
        tl.store(front + view * n + point, is_front.to(tl.uint8), mask=active)
    else:
        tl.atomic_min(at, depth.to(tl.int32, bitcast=True), mask=seen, sem="relaxed")


def splat_frontmost(
    xyz: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    near: float,
    far: float,
    tolerance: float,
    cut_off: bool,
) -> Tensor:
    views, n = world2cam.shape[0], xyz.shape[0]
    nearest = torch.full((views, h * w), _INFINITY_BITS, dtype=torch.int32, device=xyz.device)
    front = torch.empty(views, n, dtype=torch.bool, device=xyz.device)
    valid = None if valid is None else valid.contiguous().view(torch.uint8)
    far = far if far <= torch.finfo(torch.float32).max else torch.inf
    for test in (False, True):
        launch(
            splat_frontmost_kernel,
            (views * triton.cdiv(n, _POINTS.value),),
            xyz.device,
            *(xyz.contiguous(), valid, intrinsics.contiguous(), world2cam.contiguous(), nearest),
            *(front.view(torch.uint8), n, h, w, float(near), float(far), float(tolerance)),
            CUT_OFF=cut_off,
            TEST=test,
        )
    return front
