# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``splat`` of several clouds: schema, fake kernel, gradient, and the function that calls it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from ...cameras import Cameras
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
    clouds: int,
    offsets: Tensor | None,
    differentiable: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the operation on the backend of the points' device. Arguments are not checked.

    Args:
        xyz: (N, 3) float32, the points of all clouds, one cloud after another.
        features: (N, C) float32, bfloat16 or float16.
        cameras: V cameras; cameras b V / clouds to (b + 1) V / clouds - 1 see cloud b.
        valid: (N,) bool, or (V, N / clouds) with a mask for each view.
        extent: half-size of the square of every point, world units; without ``extents``.
        extents: (N,) float32, half-size of the square of each point.
        radius: radius of the disc of every point, cells; without ``extent`` and ``extents``.
        near: points up to this depth are skipped.
        clouds: their number, which divides V.
        offsets: (clouds + 1,) int64, first row of every cloud and the end of the last one, clamped to 0 .. N; without
            masks for each view. None: all clouds have N / clouds points.
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
        result = run(xyz, features, *views, valid, extents, extent, radius, near, clouds, offsets)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "splat", xyz=xyz, features=features, cameras=cameras, clouds=clouds)
    return result


def _fake_splat_clouds(
    xyz: Tensor, features: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    views = world2cam.shape[0]
    maps = features.new_empty(views, features.shape[1], h, w)
    return maps, xyz.new_empty(views, h, w), xyz.new_empty(views, h, w, dtype=torch.int64)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    xyz, _, _, world2cam, *_, ctx.clouds, offsets = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(world2cam, output[2], offsets)
    ctx.num_points = xyz.shape[0]


def _backward(call: Any, ctx: Any, grad_features: Tensor | None, grad_depth: Tensor | None, _: None) -> tuple[Any, ...]:
    world2cam, index, offsets = ctx.saved_tensors
    rows = reference.rows_of_index(index, ctx.num_points, ctx.clouds, offsets)
    cells = {"index": rows, "num_points": ctx.num_points}
    grads: list[Tensor | None] = [None] * 13
    if ctx.needs_input_grad[0] and grad_depth is not None:
        grads[0] = call("splat_backward_xyz", grad_depth=grad_depth, world2cam=world2cam, **cells)
    if ctx.needs_input_grad[1] and grad_features is not None:
        grads[1] = call("splat_backward_features", grad_features=grad_features, **cells)
    return tuple(grads)


_library.define(
    "splat_clouds(Tensor xyz, Tensor features, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w, Tensor? valid, "
    "Tensor? extents, float extent, float radius, float near, SymInt clouds, Tensor? offsets) "
    "-> (Tensor, Tensor, Tensor)",
    reference=reference.splat_clouds,
    fake=_fake_splat_clouds,
    triton=f"{__package__}.splat_clouds_triton",
    inference=True,
)
_library.differentiate("splat_clouds", setup_context=_setup_context, backward=_backward)
