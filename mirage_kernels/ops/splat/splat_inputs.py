# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of ``splat``: checked, and brought into the form that the operations take."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import _inputs, check
from ...cameras import Cameras, check_cameras
from .splat_operators import check_near

_MAX_RADIUS = 1 << 24  # cells


class SplatInputs(NamedTuple):
    """Checked arguments. N counts the points of all clouds, which lie one after another.

    Attributes:
        xyz: (N, 3) float32.
        features: (N, C).
        cameras: V cameras.
        valid: (N,) bool; or (V, N), one row for each view; or None.
        extent: the extent of all points, 0 if there is none.
        extents: the extent of each point (N,) float32, or None.
        radius: cells.
        near: points up to this depth are skipped.
        far: points from this depth on are skipped; inf if there is no limit.
        background: () or (C,) in the dtype of ``features``: the features of a hole; or None.
    """

    xyz: Tensor
    features: Tensor
    cameras: Cameras
    valid: Tensor | None
    extent: float
    extents: Tensor | None
    radius: float
    near: float
    far: float
    background: Tensor | None


def check_inputs(
    xyz: Any,
    features: Any,
    cameras: Any,
    *,
    valid: Any,
    extent: Any,
    radius: Any,
    near: Any,
    far: Any,
    background: Any,
) -> SplatInputs:
    """Check the arguments of :func:`mirage_kernels.splat` and convert them."""
    dims: check.Dims = {}
    xyz = _inputs.geometry("xyz", xyz, ("N", 3), dims)
    like = ("xyz", xyz)
    if features is None:
        features = xyz.new_empty(dims["N"], 0)
    else:
        check.tensor("features", features, ("N", "C"), dims, check.FEATURE_DTYPES, like)
    check_cameras(cameras, "xyz", xyz)
    if valid is not None:
        valid = _check_valid(valid, len(cameras), dims, like)
    if dims["N"] >= 1 << 32:
        raise check.value_error("xyz", "fewer than 2^32 points", dims["N"])
    radius = _check_radius(radius)
    near = check_near(near)
    size, extents = _check_extent(extent, radius, dims, like)
    return SplatInputs(
        *(xyz, features, cameras, valid, size, extents, radius, near),
        far=math.inf if far is None else _check_far(far, near),
        background=None if background is None else _check_background(background, features, like),
    )


def _check_valid(valid: Any, views: int, dims: check.Dims, like: _inputs.Like) -> Tensor:
    if isinstance(valid, Tensor) and valid.dim() == 2:
        return _inputs.mask("valid", valid, ("V", "N"), dims | {"V": views}, like)
    return _inputs.mask("valid", valid, ("N",), dims, like)


def _check_radius(radius: Any) -> float:
    if isinstance(radius, Tensor):
        raise TypeError("radius: expected a number for all points, got a tensor (extent takes one value per point)")
    return check.number("radius", radius, 0, _MAX_RADIUS)


def _check_extent(extent: Any, radius: float, dims: check.Dims, like: _inputs.Like) -> tuple[float, Tensor | None]:
    """Return the extent of all points, 0 if it is not given as a number, and the extent of each point (N,) or None."""
    size, extents = 0.0, None
    if isinstance(extent, Tensor):
        extents = _inputs.geometry("extent", extent, ("N",), dims, like)
    elif extent is not None:
        size = check.number("extent", extent, 0)
    if extent is not None and radius != 0:
        raise check.value_error("radius", "0 if extent is given", radius)
    return size, extents


def _check_far(far: Any, near: float) -> float:
    if isinstance(far, float) and far == math.inf:
        return far
    checked = check.number("far", far)
    if not checked > near:
        raise check.value_error("far", f"more than near ({near:g})", far)
    return checked


def _check_background(background: Any, features: Tensor, like: _inputs.Like) -> Tensor:
    if isinstance(background, Tensor):
        dims: check.Dims = {"C": features.shape[1]}
        check.tensor("background", background, ("C",), dims, (features.dtype,), like)
        return background
    largest = torch.finfo(features.dtype).max
    return features.new_full((), check.number("background", background, -largest, largest))
