# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""splat: a cloud of points with features, drawn into the grids of V cameras through a z-buffer."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ... import backend, check, library
from ...cameras import Cameras
from ...views import Splat
from . import splat_bilinear as _bilinear  # noqa: F401 (registers the operation)
from . import splat_reference as reference

MODES = ("nearest", "bilinear")


def splat(
    xyz: Tensor,
    features: Tensor,
    cameras: Cameras,
    *,
    valid: Tensor | None = None,
    extent: float | Tensor | None = None,
    radius: float = 0.0,
    mode: str = "nearest",
    band: float = 0.05,
) -> Splat:
    """Draw points into the grid of every camera; in each cell the nearest point wins, and of equals the first.

    In mode "nearest" a cell holds exactly one point's features and that same point's depth; points are never mixed.
    The result is the same, bit for bit, on every backend, device and number of threads. Projection is that of
    :mod:`mirage_kernels.cameras`. Points behind a camera, outside of its grid, or with a coordinate that is not finite
    are not drawn.

    In mode "bilinear" a point touches the four cells whose centres surround it (those on the grid), with weights that
    follow from where it lies between them: with a = u - 0.5, s = a - floor(a), and t alike of v, they are
    (1 - s) (1 - t), s (1 - t), (1 - s) t and s t, of which only those above 0 count. A cell mixes the points that touch
    it with depth <= (1 + band) * that of the nearest: sum(weight * feature) / sum(weight), both sums in float32 in the
    order of the points, rounded once. It is known where sum(weight) > 1e-4, and a hole elsewhere. ``depth`` and
    ``index`` are the nearest point's.

    Gradients flow to ``features``, and to ``xyz`` through ``depth``; in mode "bilinear" also to ``xyz`` through the
    weights, while which points a cell mixes is taken as constant. The sums for ``features`` run in (view, cell) order
    in float32 and are rounded once. Cameras get none.

    Args:
        xyz: (N, 3) float32, world units.
        features: (N, C) float32, bfloat16 or float16.
        cameras: V cameras over a grid (h, w), on the same device.
        valid: (N,) bool; points that are False are not drawn.
        extent: world units, a number or (N,) float32. The point is a square of that half-size that faces the camera,
            and also covers the cells whose centres lie within it, so that a patch of surface seen from nearer than it
            was observed leaves no holes. An extent that is not positive leaves a point.
        radius: cells, 0 to 2^24. The point is a disc of that radius around the place (u, v) where it lands, and also
            covers the cells (i, j) with ((j + 0.5) - u)^2 + ((i + 0.5) - v)^2 <= radius^2. Not together with
            ``extent``.
        mode: "nearest" or "bilinear"; the latter knows neither ``extent`` nor ``radius``.
        band: of mode "bilinear", at least 0: how much farther than the nearest a point may be and still be mixed.

    Raises:
        TypeError, ValueError: ``name: expected X, got Y``.
    """
    plain = valid is None and extent is None and mode == "nearest"
    if plain and check.are_points(xyz, features) and radius == 0 and isinstance(cameras, Cameras):
        intrinsics, (h, w) = cameras.intrinsics, cameras.size
        learns = (xyz.requires_grad or features.requires_grad) and torch.is_grad_enabled()
        if (intrinsics.is_cpu if xyz.is_cpu else intrinsics.device == xyz.device) and not learns:
            operation = backend.operation("splat_plain", xyz)
            # tuple's own constructor: a named tuple's takes as long as a check
            return tuple.__new__(Splat, operation(xyz, features, intrinsics, cameras.world2cam, h, w))
    dims = _check_operands(xyz, features, cameras, valid)
    if radius != 0:
        radius = check.number("radius", radius, 0, 1 << 24)
    if mode != "nearest":
        check.choice("mode", mode, MODES)
        return _splat_bilinear(xyz, features, cameras, valid, extent, radius, check.number("band", band, 0))
    extents, size = _check_extent(extent, radius, xyz, dims)
    view = (cameras.intrinsics, cameras.world2cam, *cameras.size)
    learns = (xyz.requires_grad or features.requires_grad) and torch.is_grad_enabled()
    operation = backend.operation("splat", xyz, "default" if learns else "inference")
    return Splat(*operation(xyz, features, *view, valid, extents, size, -math.inf, radius, None, None, None))


def _check_operands(xyz: Any, features: Any, cameras: Any, valid: Any) -> check.Dims:
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
    if dims["N"] >= 1 << 32:
        raise check.value_error("xyz", "fewer than 2^32 points", dims["N"])
    return dims


def _check_extent(extent: Any, radius: float, xyz: Tensor, dims: check.Dims) -> tuple[Tensor | None, float]:
    """Extents of the points, or None, and the extent of all of them or what to scale theirs by."""
    extents, size = None, 0.0
    if isinstance(extent, Tensor):
        check.tensor("extent", extent, ("N",), dims, like=("xyz", xyz))
        extents, size = extent, 1.0
    elif extent is not None:
        size = check.number("extent", extent, 0)
    if extent is not None and radius != 0:
        raise check.value_error("radius", "0 where an extent is given", radius)
    return extents, size


def _splat_bilinear(
    xyz: Tensor,
    features: Tensor,
    cameras: Cameras,
    valid: Tensor | None,
    extent: float | Tensor | None,
    radius: float,
    band: float,
) -> Splat:
    if extent is not None:
        raise check.value_error("extent", "None in mode 'bilinear'", type(extent).__name__)
    if radius != 0:
        raise check.value_error("radius", "0 in mode 'bilinear'", radius)
    h, w = cameras.size
    operation = backend.operation("splat_bilinear", xyz)
    features, depth, index, _ = operation(xyz, features, cameras.intrinsics, cameras.world2cam, h, w, valid, band)
    return Splat(features, depth, index)


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
    least_extent: float = 0.0,
    radius: float = 0.0,
    *boxes: Tensor | None,
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
    grads: list[Tensor | None] = [None] * 14
    if ctx.needs_input_grad[0] and grad_depth is not None:
        grads[0] = call("splat_backward_xyz", grad_depth, index, world2cam, ctx.num_points)
    if ctx.needs_input_grad[1] and grad_features is not None:
        grads[1] = call("splat_backward_features", grad_features, index, ctx.num_points)
    return tuple(grads)


_POINTS = "Tensor xyz, Tensor features, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w"

library.define(
    f"splat({_POINTS}, Tensor? valid, Tensor? extents, float extent, float least_extent, float radius, "
    "Tensor? boxes0, Tensor? boxes1, Tensor? boxes2) -> (Tensor, Tensor, Tensor)",
    reference=reference.splat,
    fake=_fake_splat,
    triton=f"{__package__}.splat_triton",
    inference=True,
)
# Points alone, without a gradient. Each argument that need not be handed over saves a fiftieth of a small call.
library.define(
    f"splat_plain({_POINTS}) -> (Tensor, Tensor, Tensor)",
    reference=reference.splat,
    fake=_fake_splat,
    triton=f"{__package__}.splat_triton",
)
library.define(
    "splat_backward_features(Tensor grad_features, Tensor index, SymInt num_points) -> Tensor",
    reference=reference.splat_backward_features,
    fake=lambda grad_features, index, num_points: grad_features.new_empty(num_points, grad_features.shape[1]),
    triton=f"{__package__}.splat_backward_triton",
)
library.define(
    "splat_backward_xyz(Tensor grad_depth, Tensor index, Tensor world2cam, SymInt num_points) -> Tensor",
    reference=reference.splat_backward_xyz,
    fake=lambda grad_depth, index, world2cam, num_points: grad_depth.new_empty(num_points, 3),
    triton=f"{__package__}.splat_backward_triton",
)
library.differentiate("splat", setup_context=_setup_context, backward=_backward)
