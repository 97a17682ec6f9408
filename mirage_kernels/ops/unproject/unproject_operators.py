# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``unproject``: schemas, fake kernels, gradients, and the function that calls it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from ..._modes import POOLINGS, Pooling
from . import unproject_reference as reference


def unproject_cells(
    depth: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    cam2world: Tensor,
    *,
    mask: Tensor | None,
    pooling: Pooling,
    min_valid: int,
    max_masked: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the operation ``unproject`` on the backend of the depth's device. Arguments are not checked.

    Args:
        depth: (B, H, W) float32 z-depth, world units.
        features: (B, C, h, w) float32, bfloat16 or float16.
        intrinsics: (B, 3, 3) float32, in cells of the grid (h, w).
        cam2world: (B, 4, 4) float32.
        mask, pooling, min_valid, max_masked: as for :func:`mirage_kernels.unproject`.

    Returns:
        xyz (B h w, 3), features (B h w, C), valid (B h w,), footprint (B h w,).
    """
    run = backend.operation("unproject", depth)
    mode = POOLINGS.index(pooling)
    if torch.compiler.is_dynamo_compiling():
        (max_masked,) = _transforms.constants(max_masked)
    result: tuple[Tensor, Tensor, Tensor, Tensor]
    try:
        result = run(depth, features, intrinsics, cam2world, mask, mode, min_valid, max_masked)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "unproject", depth=depth, features=features)
    return result


def _fake_unproject(
    depth: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    cam2world: Tensor,
    mask: Tensor | None,
    pooling: int,
    min_valid: int,
    max_masked: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    b, c, h, w = features.shape
    n = b * h * w
    return depth.new_empty(n, 3), features.new_empty(n, c), depth.new_empty(n, dtype=torch.bool), depth.new_empty(n)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    depth, features, intrinsics, cam2world, mask, ctx.pooling, ctx.min_valid, ctx.max_masked = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(depth, intrinsics, cam2world, mask, output[2])
    ctx.features_shape = features.shape


def _backward(
    call: Any, ctx: Any, grad_xyz: Tensor | None, grad_features: Tensor | None, _: None, grad_footprint: Tensor | None
) -> tuple[Any, ...]:
    depth, intrinsics, cam2world, mask, valid = ctx.saved_tensors
    b, _, h, w = ctx.features_shape
    grads: list[Tensor | None] = [None] * 8
    if ctx.needs_input_grad[0] and not (grad_xyz is None and grad_footprint is None):
        grads[0] = call(
            "unproject_backward_depth",
            grad_xyz=depth.new_zeros(b * h * w, 3) if grad_xyz is None else grad_xyz,
            grad_footprint=depth.new_zeros(b * h * w) if grad_footprint is None else grad_footprint,
            valid=valid,
            depth=depth,
            intrinsics=intrinsics,
            cam2world=cam2world,
            mask=mask,
            h=h,
            w=w,
            pooling=ctx.pooling,
            min_valid=ctx.min_valid,
            max_masked=ctx.max_masked,
        )
    if ctx.needs_input_grad[1] and grad_features is not None:
        grads[1] = call("unproject_backward_features", grad=grad_features, valid=valid, b=b, h=h, w=w)
    return tuple(grads)


_library.define(
    "unproject(Tensor depth, Tensor features, Tensor intrinsics, Tensor cam2world, Tensor? mask, int pooling, "
    "int min_valid, float max_masked) -> (Tensor, Tensor, Tensor, Tensor)",
    reference=reference.unproject,
    triton=f"{__package__}.unproject_triton",
    fake=_fake_unproject,
)
_library.define(
    "unproject_backward_features(Tensor grad, Tensor valid, SymInt b, SymInt h, SymInt w) -> Tensor",
    reference=reference.unproject_backward_features,
    triton=f"{__package__}.unproject_triton",
    fake=lambda grad, valid, b, h, w: grad.new_empty(b, grad.shape[1], h, w),
)
_library.define(
    "unproject_backward_depth(Tensor grad_xyz, Tensor grad_footprint, Tensor valid, Tensor depth, Tensor intrinsics, "
    "Tensor cam2world, Tensor? mask, SymInt h, SymInt w, int pooling, int min_valid, float max_masked) -> Tensor",
    reference=reference.unproject_backward_depth,
    triton=f"{__package__}.unproject_triton",
    fake=lambda grad_xyz, grad_footprint, valid, depth, *rest: depth.new_empty(depth.shape),
)
_library.differentiate("unproject", setup_context=_setup_context, backward=_backward)
_library.differentiate_once("unproject", "unproject_backward_features", "unproject_backward_depth")
