# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""splat: a cloud of points with features, drawn into the grids of V cameras through a z-buffer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import backend, check, library
from ...cameras import Cameras
from ...views import Splat
from . import splat_reference as reference


def splat(
    xyz: Tensor,
    features: Tensor,
    cameras: Cameras,
    *,
    valid: Tensor | None = None,
    extent: float | Tensor | None = None,
) -> Splat:
    """Draw points into the grid of every camera; in each cell the nearest point wins, and of equals the first.

    A cell holds exactly one point's features and that same point's depth; points are never mixed. The result is the
    same, bit for bit, on every backend, device and number of threads. Projection is that of
    :mod:`mirage_kernels.cameras`. Points behind a camera, outside of its grid, or with a coordinate that is not finite
    are not drawn.

    Gradients flow to ``features``, and to ``xyz`` through ``depth``. Their sums run in (view, cell) order in float32
    and are rounded once. Cameras get none.

    Args:
        xyz: (N, 3) float32, world units.
        features: (N, C) float32, bfloat16 or float16.
        cameras: V cameras over a grid (h, w), on the same device.
        valid: (N,) bool; points that are False are not drawn.
        extent: world units, a number or (N,) float32. The point is a square of that half-size that faces the camera,
            and also covers the cells whose centres lie within it, so that a patch of surface seen from nearer than it
            was observed leaves no holes. An extent that is not positive leaves a point.

    Raises:
        TypeError, ValueError: ``name: expected X, got Y``.
    """
    dims: check.Dims = {}
    check.tensor("xyz", xyz, ("N", 3), dims)
    like = ("xyz", xyz)
    check.tensor("features", features, ("N", "C"), dims, check.FEATURE_DTYPES, like)
    if not isinstance(cameras, Cameras):
        raise check.type_error("cameras", "Cameras", cameras)
    if cameras.intrinsics.device != xyz.device:
        raise check.value_error("cameras", f"cameras on {xyz.device} like xyz", cameras.device)
    if valid is not None:
        check.tensor("valid", valid, ("N",), dims, (torch.bool,), like)
    extents: Tensor | None = None
    size = 0.0
    if isinstance(extent, Tensor):
        check.tensor("extent", extent, ("N",), dims, like=like)
        extents = extent
    elif extent is not None:
        size = check.number("extent", extent, 0)
    if dims["N"] >= 1 << 32:
        raise check.value_error("xyz", "fewer than 2^32 points", dims["N"])
    h, w = cameras.size
    operation = backend.operation("splat", xyz.device.type)
    return Splat(*operation(xyz, features, cameras.intrinsics, cameras.world2cam, h, w, valid, extents, size))


def _fake_splat(
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    extents: Tensor | None,
    extent: float,
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
    grads: list[Tensor | None] = [None] * 9
    if ctx.needs_input_grad[0] and grad_depth is not None:
        grads[0] = call("splat_backward_xyz", grad_depth, index, world2cam, ctx.num_points)
    if ctx.needs_input_grad[1] and grad_features is not None:
        grads[1] = call("splat_backward_features", grad_features, index, ctx.num_points)
    return tuple(grads)


library.define(
    "splat(Tensor xyz, Tensor features, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w, Tensor? valid, "
    "Tensor? extents, float extent) -> (Tensor, Tensor, Tensor)",
    reference=reference.splat,
    fake=_fake_splat,
)
library.define(
    "splat_backward_features(Tensor grad_features, Tensor index, SymInt num_points) -> Tensor",
    reference=reference.splat_backward_features,
    fake=lambda grad_features, index, num_points: grad_features.new_empty(num_points, grad_features.shape[1]),
)
library.define(
    "splat_backward_xyz(Tensor grad_depth, Tensor index, Tensor world2cam, SymInt num_points) -> Tensor",
    reference=reference.splat_backward_xyz,
    fake=lambda grad_depth, index, world2cam, num_points: grad_depth.new_empty(num_points, 3),
)
library.differentiate("splat", setup_context=_setup_context, backward=_backward)
