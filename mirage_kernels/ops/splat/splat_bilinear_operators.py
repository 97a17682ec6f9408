# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``splat`` in mode "bilinear": schemas, fake kernels, gradients, and the function that calls it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from ...cameras import NEAR, Cameras
from . import splat_bilinear_reference as reference


def splat_bilinear(
    xyz: Tensor, features: Tensor, cameras: Cameras, *, valid: Tensor | None = None, band: float, near: float = NEAR
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the operation ``splat_bilinear`` on the backend of the points' device. Arguments are not checked.

    Args:
        xyz: (N, 3) float32, world units.
        features: (N, C) float32, bfloat16 or float16.
        cameras: V cameras over a grid (h, w), on the same device.
        valid: (N,) bool; points that are False are skipped.
        band: points up to ``(1 + band)`` times the depth of the nearest point of a cell are blended.
        near: points up to this depth are skipped.

    Returns:
        features (V, C, h, w), depth (V, h, w) and index (V, h, w), as in :class:`mirage_kernels.Splat`, and the sum of
        the weights (V, h, w) of every cell.
    """
    h, w = cameras.size
    run = backend.operation("splat_bilinear", xyz)
    if torch.compiler.is_dynamo_compiling():
        band, near = _transforms.constants(band, near)
    result: tuple[Tensor, Tensor, Tensor, Tensor]
    try:
        result = run(xyz, features, cameras._intrinsics, cameras._world2cam, h, w, valid, band, near)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "splat", xyz=xyz, features=features, cameras=cameras)
    return result


def _fake_splat_bilinear(
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    band: float,
    near: float = NEAR,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    views = world2cam.shape[0]
    return (
        features.new_empty(views, features.shape[1], h, w),
        xyz.new_empty(views, h, w),
        xyz.new_empty(views, h, w, dtype=torch.int64),
        xyz.new_empty(views, h, w),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
    xyz, features, intrinsics, world2cam, _, _, valid, ctx.band, ctx.near = inputs
    blended, depth, index, weight = output
    ctx.mark_non_differentiable(index, weight)
    ctx.save_for_backward(xyz, features, intrinsics, world2cam, valid, blended, depth, index, weight)


def _backward(
    call: Any, ctx: Any, grad_features: Tensor | None, grad_depth: Tensor | None, *_: None
) -> tuple[Tensor | None, ...]:
    xyz, features, intrinsics, world2cam, valid, blended, depth, index, weight = ctx.saved_tensors
    grads: list[Tensor | None] = [None] * 9
    splatted = {"intrinsics": intrinsics, "world2cam": world2cam, "valid": valid, "depth": depth, "weight": weight}
    if ctx.needs_input_grad[0] and grad_features is not None:
        grads[0] = call(
            "splat_bilinear_backward_xyz",
            grad_features=grad_features,
            blended=blended,
            xyz=xyz,
            features=features,
            **splatted,
            band=ctx.band,
            near=ctx.near,
        )
    if ctx.needs_input_grad[0] and grad_depth is not None:
        through_depth = call(
            "splat_backward_xyz", grad_depth=grad_depth, index=index, world2cam=world2cam, num_points=xyz.shape[0]
        )
        grads[0] = through_depth if grads[0] is None else grads[0] + through_depth
    if ctx.needs_input_grad[1] and grad_features is not None:
        grads[1] = call(
            "splat_bilinear_backward_features",
            grad_features=grad_features,
            xyz=xyz,
            **splatted,
            band=ctx.band,
            near=ctx.near,
        )
    return tuple(grads)


_library.define(
    "splat_bilinear(Tensor xyz, Tensor features, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w, "
    "Tensor? valid, float band, float near=1e-06) -> (Tensor, Tensor, Tensor, Tensor)",
    reference=reference.splat_bilinear,
    fake=_fake_splat_bilinear,
    triton=f"{__package__}.splat_bilinear_triton",
)
_library.define(
    "splat_bilinear_backward_features(Tensor grad_features, Tensor xyz, Tensor intrinsics, Tensor world2cam, "
    "Tensor? valid, Tensor depth, Tensor weight, float band, float near=1e-06) -> Tensor",
    reference=reference.splat_bilinear_backward_features,
    fake=lambda grad_features, xyz, *_: grad_features.new_empty(xyz.shape[0], grad_features.shape[1]),
    triton=f"{__package__}.splat_bilinear_backward_triton",
)
_library.define(
    "splat_bilinear_backward_xyz(Tensor grad_features, Tensor blended, Tensor xyz, Tensor features, "
    "Tensor intrinsics, Tensor world2cam, Tensor? valid, Tensor depth, Tensor weight, float band, float near=1e-06) "
    "-> Tensor",
    reference=reference.splat_bilinear_backward_xyz,
    fake=lambda grad_features, blended, xyz, *_: xyz.new_empty(xyz.shape),
    triton=f"{__package__}.splat_bilinear_backward_triton",
)
_library.differentiate("splat_bilinear", setup_context=_setup_context, backward=_backward)
_library.differentiate_once("splat_bilinear", "splat_bilinear_backward_features", "splat_bilinear_backward_xyz")
