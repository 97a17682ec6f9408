# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``splat`` in mode "nearest": schemas, fake kernels, gradients, and the function that calls it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend, check
from ...cameras import NEAR, Cameras
from . import splat_reference as reference

Boxes = tuple[Tensor | None, Tensor | None, Tensor | None]

# Not -inf: AOTInductor cannot load a program with an infinite constant.
_NO_MIN_EXTENT = -torch.finfo(torch.float32).max


def splat_nearest(
    xyz: Tensor,
    features: Tensor,
    cameras: Cameras,
    *,
    valid: Tensor | None = None,
    extent: float = 0.0,
    extents: Tensor | None = None,
    extent_scale: float = 1.0,
    min_extent: float = _NO_MIN_EXTENT,
    radius: float = 0.0,
    boxes: Boxes = (None, None, None),
    near: float = NEAR,
    differentiable: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the operation ``splat`` on the backend of the points' device. Arguments are not checked.

    Args:
        xyz: (N, 3) float32, world units.
        features: (N, C) float32, bfloat16 or float16.
        cameras: V cameras over a grid (h, w), on the same device.
        valid: (N,) bool; points that are False are skipped.
        extent: half-size of the square of every point, world units; without ``extents``.
        extents: (N,) float32; point i is a square of half-size ``extent_scale * max(extents[i], min_extent)``, where a
            NaN in ``extents`` counts as ``min_extent``.
        extent_scale, min_extent: see ``extents``.
        radius: radius of the disc of every point, cells; without ``extent``. With ``extents``, those are the radii of
            discs, up to this; NaN counts as 0.
        boxes: bounding boxes of runs of 64, 64^2 and 64^3 points, (B, 7) each: minimum and maximum of x, y, z and the
            largest of ``extents``. Runs that no camera can see are skipped; results do not depend on it.
        near: points up to this depth are skipped.
        differentiable: whether autograd records the call.

    Returns:
        features (V, C, h, w), depth (V, h, w) and index (V, h, w), as in :class:`mirage_kernels.Splat`.
    """
    h, w = cameras.size
    size = extent if extents is None else extent_scale
    name, kind = "splat", "default" if differentiable else "inference"
    views = (cameras._intrinsics, cameras._world2cam, h, w)
    if torch.compiler.is_dynamo_compiling():
        floats: tuple[Any, ...] = (size, min_extent, radius, near)
        if _transforms.are_symbolic(*floats):
            name, kind, floats = "splat_symbolic", "default", _transforms.symbolic_tensors(*floats)
        else:
            floats = _transforms.constants(*floats)
        shape: tuple[Any, ...] = (valid, extents, *floats[:3], *boxes, floats[3])
    else:
        shape = (valid, extents, size, min_extent, radius, *boxes)
        if near != NEAR:  # an argument that is not passed takes no time
            shape = (*shape, near)
    run = backend.operation(name, xyz, kind)
    result: tuple[Tensor, Tensor, Tensor]
    try:
        result = run(xyz, features, *views, *shape)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "splat", xyz=xyz, features=features, cameras=cameras)
    return result


def check_near(near: Any) -> float:
    """Check the argument ``near`` and return it as a float."""
    return check.number("near", near, NEAR, 3e38)


def _fake_splat(
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None = None,
    extents: Tensor | None = None,
    extent: float = 0.0,
    min_extent: float = 0.0,
    radius: float = 0.0,
    boxes0: Tensor | None = None,
    boxes1: Tensor | None = None,
    boxes2: Tensor | None = None,
    near: float = NEAR,
) -> tuple[Tensor, Tensor, Tensor]:
    views = world2cam.shape[0]
    return (
        features.new_empty(views, features.shape[1], h, w),
        xyz.new_empty(views, h, w),
        xyz.new_empty(views, h, w, dtype=torch.int64),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    xyz, _, _, world2cam, *_ = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(world2cam, output[2])
    ctx.num_points = xyz.shape[0]


def _backward(call: Any, ctx: Any, grad_features: Tensor | None, grad_depth: Tensor | None, _: None) -> tuple[Any, ...]:
    world2cam, index = ctx.saved_tensors
    grads: list[Tensor | None] = [None] * 15
    if ctx.needs_input_grad[0] and grad_depth is not None:
        grads[0] = call(
            "splat_backward_xyz", grad_depth=grad_depth, index=index, world2cam=world2cam, num_points=ctx.num_points
        )
    if ctx.needs_input_grad[1] and grad_features is not None:
        grads[1] = call("splat_backward_features", grad_features=grad_features, index=index, num_points=ctx.num_points)
    return tuple(grads)


_POINTS = "Tensor xyz, Tensor features, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w"

_library.define(
    f"splat({_POINTS}, Tensor? valid, Tensor? extents, float extent, float least_extent, float radius, "
    "Tensor? boxes0, Tensor? boxes1, Tensor? boxes2, float near=1e-06) -> (Tensor, Tensor, Tensor)",
    reference=reference.splat,
    fake=_fake_splat,
    triton=f"{__package__}.splat_triton",
    inference=True,
    symbolic=True,
)
# Points without extent or mask, without a gradient. Each argument less saves 2 % of the time of a small call.
_library.define(
    f"splat_plain({_POINTS}) -> (Tensor, Tensor, Tensor)",
    reference=reference.splat,
    fake=_fake_splat,
    triton=f"{__package__}.splat_triton",
    differentiable=("splat", (None, None, 0.0, 0.0, 0.0, None, None, None)),
)
_library.define(
    "splat_backward_features(Tensor grad_features, Tensor index, SymInt num_points) -> Tensor",
    reference=reference.splat_backward_features,
    fake=lambda grad_features, index, num_points: grad_features.new_empty(num_points, grad_features.shape[1]),
    triton=f"{__package__}.splat_backward_triton",
)
_library.define(
    "splat_backward_xyz(Tensor grad_depth, Tensor index, Tensor world2cam, SymInt num_points) -> Tensor",
    reference=reference.splat_backward_xyz,
    fake=lambda grad_depth, index, world2cam, num_points: grad_depth.new_empty(num_points, 3),
    triton=f"{__package__}.splat_backward_triton",
)
_library.differentiate("splat", setup_context=_setup_context, backward=_backward)
_library.differentiate_once("splat", "splat_backward_features", "splat_backward_xyz")
