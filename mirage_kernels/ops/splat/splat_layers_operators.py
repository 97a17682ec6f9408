# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``splat`` with ``k``: schemas, fake kernels, gradients, and the function that calls it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from ...cameras import NEAR, Cameras
from . import splat_layers_reference as reference


def splat_layers(
    xyz: Tensor,
    cameras: Cameras,
    k: int,
    *,
    valid: Tensor | None,
    extent: float,
    extents: Tensor | None,
    radius: float,
    near: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the operation ``splat_layers`` on the backend of the points' device. Arguments are not checked.

    Args:
        xyz: (N, 3) float32, world units.
        cameras: V cameras over a grid (h, w), on the same device.
        k: the number of layers.
        valid: (N,) bool; points that are False are skipped.
        extent: half-size of the square of every point, world units; without ``extents``.
        extents: (N,) float32, half-size of the square of each point.
        radius: radius of the disc of every point, cells; without ``extent``. With ``extents``, those are the radii of
            discs, up to this; NaN counts as 0.
        near: points up to this depth are skipped.

    Returns:
        depth, distance2 and index (V, k, h, w), as in :class:`mirage_kernels.Layers`.
    """
    h, w = cameras.size
    run = backend.operation("splat_layers", xyz)
    floats: tuple[float, ...] = (extent, radius, near)
    if torch.compiler.is_dynamo_compiling():
        floats = _transforms.constants(*floats)
    result: tuple[Tensor, Tensor, Tensor]
    try:
        result = run(xyz, cameras._intrinsics, cameras._world2cam, h, w, k, valid, extents, *floats)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "splat", xyz=xyz, cameras=cameras, k=k)
    return result


def _fake_splat_layers(
    xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int, k: int, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    shape = (world2cam.shape[0], k, h, w)
    return xyz.new_empty(shape), xyz.new_empty(shape), xyz.new_empty(shape, dtype=torch.int64)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    xyz, intrinsics, world2cam, *_ = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(xyz, intrinsics, world2cam, output[2])


def _backward(
    call: Any, ctx: Any, grad_depth: Tensor | None, grad_distance2: Tensor | None, _: None
) -> tuple[Tensor | None, ...]:
    xyz, intrinsics, world2cam, index = ctx.saved_tensors
    grads: list[Tensor | None] = [None] * 11
    if ctx.needs_input_grad[0] and not (grad_depth is None and grad_distance2 is None):
        zeros = xyz.new_zeros(index.shape) if grad_depth is None or grad_distance2 is None else None
        grads[0] = call(
            "splat_layers_backward_xyz",
            grad_depth=zeros if grad_depth is None else grad_depth,
            grad_distance2=zeros if grad_distance2 is None else grad_distance2,
            xyz=xyz,
            intrinsics=intrinsics,
            world2cam=world2cam,
            index=index,
        )
    return tuple(grads)


_library.define(
    "splat_layers(Tensor xyz, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w, SymInt k, Tensor? valid, "
    f"Tensor? extents, float extent, float radius, float near={NEAR}) -> (Tensor, Tensor, Tensor)",
    reference=reference.splat_layers,
    fake=_fake_splat_layers,
    triton=f"{__package__}.splat_layers_triton",
)
_library.define(
    "splat_layers_backward_xyz(Tensor grad_depth, Tensor grad_distance2, Tensor xyz, Tensor intrinsics, "
    "Tensor world2cam, Tensor index) -> Tensor",
    reference=reference.splat_layers_backward_xyz,
    fake=lambda grad_depth, grad_distance2, xyz, *_: xyz.new_empty(xyz.shape),
    triton=f"{__package__}.splat_layers_triton",
)
_library.differentiate("splat_layers", setup_context=_setup_context, backward=_backward)
_library.differentiate_once("splat", "splat_layers_backward_xyz")
