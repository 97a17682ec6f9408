# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``splat`` of several clouds: schema, fake kernel, gradient, and the function that calls it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from ...cameras import NEAR, Cameras
from . import splat_clouds_reference as reference


def splat_clouds(
    xyz: Tensor,
    features: Tensor,
    cameras: Cameras,
    *,
    valid: Tensor | None,
    extent: float,
    extents: Tensor | None,
    radius: float,
    near: float,
    offsets: Tensor | None,
    differentiable: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the operation on the backend of the points' device. Arguments are not checked.

    Args:
        xyz: (B, N, 3) float32; or (N, 3), which are one cloud, or several by ``offsets``.
        features: (B, N, C) or (N, C), float32, bfloat16 or float16.
        cameras: V cameras; cameras b V / B to (b + 1) V / B - 1 see cloud b.
        valid: (B, N) or (N,) bool, or (V, N) with a mask for each view.
        extent: half-size of the square of every point, world units; without ``extents``.
        extents: (B, N) or (N,) float32, half-size of the square of each point.
        radius: radius of the disc of every point, cells; without ``extent``. With ``extents``, those are the radii of
            discs, up to this; NaN counts as 0.
        near: points up to this depth are skipped.
        offsets: (B + 1,) int64, first row of every cloud and the end of the last one, clamped to 0 .. N; without
            masks for each view.
        differentiable: whether autograd records the call.

    Returns:
        features (V, C, h, w), depth (V, h, w) and index (V, h, w), which counts within the cloud.
    """
    h, w = cameras.size
    run = backend.operation("splat_clouds", xyz, "default" if differentiable else "inference")
    if torch.compiler.is_dynamo_compiling():
        extent, radius, near = _transforms.constants(extent, radius, near)
    views = (cameras._intrinsics, cameras._world2cam, h, w)
    result: tuple[Tensor, Tensor, Tensor]
    try:
        result = run(xyz, features, *views, valid, extents, offsets, extent, radius, near)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "splat", xyz=xyz, features=features, cameras=cameras)
    return result


def _fake_splat_clouds(
    xyz: Tensor, features: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    views = world2cam.shape[0]
    maps = features.new_empty(views, features.shape[-1], h, w)
    return maps, xyz.new_empty(views, h, w), xyz.new_empty(views, h, w, dtype=torch.int64)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    xyz, features, _, world2cam, *_ = inputs
    offsets = inputs[8]
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(world2cam, output[2], offsets)
    ctx.clouds = reference.count_clouds(xyz, offsets)
    ctx.xyz_shape, ctx.features_shape = xyz.shape, features.shape


def _backward(call: Any, ctx: Any, grad_features: Tensor | None, grad_depth: Tensor | None, _: None) -> tuple[Any, ...]:
    world2cam, index, offsets = ctx.saved_tensors
    num_points = math.prod(ctx.xyz_shape[:-1])
    cells = {"index": reference.rows_of_index(index, num_points, ctx.clouds, offsets), "num_points": num_points}
    grads: list[Tensor | None] = [None] * 12
    if ctx.needs_input_grad[0] and grad_depth is not None:
        grad = call("splat_backward_xyz", grad_depth=grad_depth, world2cam=world2cam, **cells)
        grads[0] = grad.view(ctx.xyz_shape)
    if ctx.needs_input_grad[1] and grad_features is not None:
        grad = call("splat_backward_features", grad_features=grad_features, **cells)
        grads[1] = grad.view(ctx.features_shape)
    return tuple(grads)


_POINTS = "Tensor xyz, Tensor features, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w"

_library.define(
    f"splat_clouds({_POINTS}, Tensor? valid, Tensor? extents, Tensor? offsets, float extent, float radius, float near) "
    "-> (Tensor, Tensor, Tensor)",
    reference=reference.splat_clouds,
    fake=_fake_splat_clouds,
    triton=f"{__package__}.splat_clouds_triton",
    inference=True,
)
# As splat_plain: fewer arguments take less of the time of a small call.
_library.define(
    f"splat_clouds_plain({_POINTS}) -> (Tensor, Tensor, Tensor)",
    reference=reference.splat_clouds,
    fake=_fake_splat_clouds,
    triton=f"{__package__}.splat_clouds_triton",
    differentiable=("splat_clouds", (None, None, None, 0.0, 0.0, NEAR)),
)
_library.differentiate("splat_clouds", setup_context=_setup_context, backward=_backward)
