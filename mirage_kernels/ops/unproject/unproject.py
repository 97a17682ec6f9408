# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""unproject: latent cells lifted to 3D with the depth under them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import backend, check, library
from ...cameras import Cameras
from . import unproject_reference as reference


class Points(NamedTuple):
    """Latent cells as points, N = B h w of them, batch-major and row-major.

    Attributes:
        xyz: (N, 3) float32, world units.
        features: (N, C), the cells' own.
        valid: (N,) bool; where it is False everything else is zero.
        footprint: (N,) float32, the width of the cell at its depth, in world units: z / fx.
    """

    xyz: Tensor
    features: Tensor
    valid: Tensor
    footprint: Tensor


def unproject(
    depth: Tensor,
    features: Tensor,
    cameras: Cameras,
    *,
    mask: Tensor | None = None,
    pooling: str = "median",
    min_valid: int = 1,
    max_masked: float = 0.0,
) -> Points:
    """Lift every latent cell to the 3D point at its centre, at the depth that the depth map shows there.

    Pixel (r, c) belongs to cell (((2r + 1) h) // (2H), ((2c + 1) w) // (2W)): the one its centre falls in. Sizes need
    not divide. Bilinear resampling of depth invents surfaces between foreground and background; the median never does.
    A cell is valid with at least ``min_valid`` usable pixels (depth finite and positive, not masked) and at most the
    share ``max_masked`` of masked ones. Where the grid is finer than the depth map, cells without a pixel are not
    valid.

    Gradients flow to ``features``, and to ``depth`` (through ``xyz`` and ``footprint``) at the pixels that were read.

    Args:
        depth: (B, H, W) float32 z-depth, world units.
        features: (B, C, h, w) float32, bfloat16 or float16.
        cameras: B cameras over depth's grid (H, W), on the same device; the latent grid's follow by rescaling.
        mask: (B, H, W) bool, True where nothing may be taken from (something moves, say).
        pooling: a cell's depth is the lower ``"median"`` of its usable pixels, their ``"min"``, the pixel under its
            centre (``"nearest"``), or ``"bilinear"`` between the four pixels around its centre, all of which must be
            usable.
        min_valid: at least 1.
        max_masked: 0 to 1.

    Raises:
        TypeError, ValueError: ``name: expected X, got Y``.
    """
    dims: check.Dims = {}
    check.tensor("depth", depth, ("B", "H", "W"), dims)
    like = ("depth", depth)
    check.tensor("features", features, ("B", "C", "h", "w"), dims, check.FEATURE_DTYPES, like)
    if not isinstance(cameras, Cameras):
        raise check.type_error("cameras", "Cameras", cameras)
    if len(cameras) != dims["B"]:
        raise check.value_error("cameras", f"B={dims['B']} cameras", len(cameras))
    if cameras.size != (dims["H"], dims["W"]):
        raise check.value_error("cameras", f"cameras of depth's size (H={dims['H']}, W={dims['W']})", cameras.size)
    if cameras.intrinsics.device != depth.device:
        raise check.value_error("cameras", f"cameras on {depth.device} like depth", cameras.device)
    if mask is not None:
        check.tensor("mask", mask, ("B", "H", "W"), dims, (torch.bool,), like)
    check.choice("pooling", pooling, reference.POOLINGS)
    check.integer("min_valid", min_valid, 1)
    check.number("max_masked", max_masked, 0, 1)
    grid = check.size("features' grid", (dims["h"], dims["w"]))
    return Points(
        *backend.operation("unproject", depth)(
            depth,
            features,
            cameras.rescale(grid).intrinsics,
            cameras.cam2world,
            mask,
            reference.POOLINGS.index(pooling),
            min_valid,
            float(max_masked),
        )
    )


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
    depth, features, intrinsics, cam2world, mask, *rule = inputs
    ctx.mark_non_differentiable(output[2])
    ctx.save_for_backward(depth, intrinsics, cam2world, mask, output[2])
    ctx.grid, ctx.rule = features.shape, rule


def _backward(
    call: Any, ctx: Any, grad_xyz: Tensor | None, grad_features: Tensor | None, _: None, grad_footprint: Tensor | None
) -> tuple[Any, ...]:
    depth, intrinsics, cam2world, mask, valid = ctx.saved_tensors
    b, _, h, w = ctx.grid
    grads: list[Tensor | None] = [None] * 8
    if ctx.needs_input_grad[0] and not (grad_xyz is None and grad_footprint is None):
        grad_xyz = depth.new_zeros(b * h * w, 3) if grad_xyz is None else grad_xyz
        grad_footprint = depth.new_zeros(b * h * w) if grad_footprint is None else grad_footprint
        grads[0] = call(
            "unproject_backward_depth",
            *(grad_xyz, grad_footprint, valid, depth, intrinsics, cam2world, mask, h, w, *ctx.rule),
        )
    if ctx.needs_input_grad[1] and grad_features is not None:
        grads[1] = call("unproject_backward_features", grad_features, valid, b, h, w)
    return tuple(grads)


library.define(
    "unproject(Tensor depth, Tensor features, Tensor intrinsics, Tensor cam2world, Tensor? mask, int pooling, "
    "int min_valid, float max_masked) -> (Tensor, Tensor, Tensor, Tensor)",
    reference=reference.unproject,
    triton=f"{__package__}.unproject_triton",
    fake=_fake_unproject,
)
library.define(
    "unproject_backward_features(Tensor grad, Tensor valid, SymInt b, SymInt h, SymInt w) -> Tensor",
    reference=reference.unproject_backward_features,
    triton=f"{__package__}.unproject_triton",
    fake=lambda grad, valid, b, h, w: grad.new_empty(b, grad.shape[1], h, w),
)
library.define(
    "unproject_backward_depth(Tensor grad_xyz, Tensor grad_footprint, Tensor valid, Tensor depth, Tensor intrinsics, "
    "Tensor cam2world, Tensor? mask, SymInt h, SymInt w, int pooling, int min_valid, float max_masked) -> Tensor",
    reference=reference.unproject_backward_depth,
    triton=f"{__package__}.unproject_triton",
    fake=lambda grad_xyz, grad_footprint, valid, depth, *rest: depth.new_empty(depth.shape),
)
library.differentiate("unproject", setup_context=_setup_context, backward=_backward)
