# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernel of ``associate``, with the same bits as ``associate_reference.py``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import inside, launch, project
from ...backend import INTERPRETED

_POINTS = tl.constexpr(1024 if INTERPRETED else 64)  # points per program


@triton.jit(do_not_specialize=["n", "rows", "frames", "h", "w"])
def associate_points_kernel(
    xyz, depth, footprint, valid, rendered, index, footprints, past, intrinsics, world2cam, code, n, rows, frames, h, w,
    tolerance, beyond, far_beyond, closer,
):  # fmt: skip
    """Compare up to ``_POINTS`` points with the view, and those that remain with one past map after the other."""
    point = tl.program_id(0).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    active = point < n
    own, size = tl.load(depth + point, mask=active, other=0.0), tl.load(footprint + point, mask=active, other=0.0)
    drawn, row = tl.load(rendered + point, mask=active, other=0.0), tl.load(index + point, mask=active, other=-1)
    is_hole = (row < 0) | (row >= rows)
    known = tl.load(footprints + row, mask=active & ~is_hole, other=0.0)
    in_front = drawn > own * beyond
    same = tl.abs(drawn - own) <= own * tolerance
    is_closer = same & (known >= size * closer)
    is_wanted = active
    if valid is not None:
        is_wanted = is_wanted & (tl.load(valid + point, mask=active, other=0) != 0)
    left = is_wanted & ~is_hole & (in_front | is_closer)

    x = tl.load(xyz + 3 * point, mask=active, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=active, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=active, other=0.0)
    observed = active & ~active
    frame = frames * 0
    while (frame < frames) & (tl.max((left & ~observed).to(tl.int32), 0) > 0):
        f = frame.to(tl.int64)
        u, v, p, _ = project(world2cam + 12 * f, intrinsics + 9 * f, x, y, z)
        seen = left & inside(u, v, p, h, w)
        seen = seen & (tl.div_rn(p, tl.load(intrinsics + 9 * f)) <= size * beyond)
        cell = tl.where(seen, v, 0.0).to(tl.int32) * w + tl.where(seen, u, 0.0).to(tl.int32)
        surface = tl.load(past + f * h * w + cell, mask=seen, other=0.0)
        observed = observed | (seen & (tl.abs(surface - p) <= p * tolerance))
        frame += 1

    is_duplicate = observed & (drawn <= own * far_beyond)
    number = tl.where(is_closer & ~observed, 2, tl.where(in_front & ~is_duplicate, 1, 0))
    number = tl.where(is_wanted, tl.where(is_hole, 1, number), 0)
    tl.store(code + point, number.to(tl.uint8), mask=active)


def associate(
    xyz: Tensor,
    depth: Tensor,
    footprint: Tensor,
    valid: Tensor | None,
    rendered: Tensor,
    index: Tensor,
    footprints: Tensor,
    past: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    tolerance: float,
    closer: float,
) -> Tensor:
    n, (frames, h, w) = xyz.shape[0], past.shape
    code = torch.empty(n, dtype=torch.uint8, device=xyz.device)
    valid = None if valid is None else valid.contiguous().view(torch.uint8)
    beyond = 1 + tolerance
    operands = (rendered, index, footprints, past, intrinsics, world2cam)
    launch(
        associate_points_kernel,
        (triton.cdiv(n, _POINTS.value),),
        xyz.device,
        *(xyz.contiguous(), depth.contiguous(), footprint.contiguous(), valid, *(t.contiguous() for t in operands)),
        *(code, n, footprints.shape[0], frames, h, w),
        *(float(tolerance), float(beyond), float(beyond * beyond), float(closer)),
    )
    return code
