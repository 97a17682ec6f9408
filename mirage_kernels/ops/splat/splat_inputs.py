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
LABEL_DTYPES = (torch.int64, torch.int32, torch.uint8, torch.bool)  # of features that are copied, never blended


class SplatInputs(NamedTuple):
    """Checked arguments.

    Attributes:
        xyz: (N, 3) float32, the points of all clouds, one cloud after another.
        features: (N, C).
        cameras: V cameras; cameras b V / clouds to (b + 1) V / clouds - 1 see cloud b.
        valid: (N,) bool; or (V, N / clouds), a mask for each view; or None.
        extent: the extent of all points, 0 if there is none.
        extents: the extent of each point (N,) float32, or None.
        radius: cells.
        near: points up to this depth are skipped.
        far: points from this depth on are skipped; inf if there is no limit.
        background: () or (C,) in the dtype of ``features``: the features of a hole; or None.
        clouds: their number.
        offsets: (clouds + 1,) int64, where the rows of each cloud begin; or None: all have N / clouds rows.
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
    clouds: int
    offsets: Tensor | None

    @property
    def is_one_cloud(self) -> bool:
        """Whether all views see the same points."""
        return self.clouds == 1 and self.offsets is None and (self.valid is None or self.valid.dim() == 1)


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
    offsets: Any,
    blend: bool,
) -> SplatInputs:
    """Check the arguments of :func:`mirage_kernels.splat` and convert them.

    Args:
        blend: whether features are blended, and not only copied.
    """
    dims: check.Dims = {}
    batched = isinstance(xyz, Tensor) and offsets is None and not xyz.is_nested and xyz.dim() == 3
    rows: tuple[str, ...] = ("B", "N") if batched else ("N",)
    xyz = _inputs.geometry("xyz", xyz, (*rows, 3), dims)
    like = ("xyz", xyz)
    features = _check_features(features, rows, dims, like, blend)
    check_cameras(cameras, "xyz", xyz)
    clouds = _count_clouds(offsets, len(cameras), dims, like)
    if valid is not None:
        valid = _check_valid(valid, len(cameras), rows, dims, like, ragged=offsets is not None)
    if xyz.numel() >= 3 << 32:
        raise check.value_error("xyz", "fewer than 2^32 points", xyz.numel() // 3)
    radius = _check_radius(radius)
    near = check_near(near)
    size, extents = _check_extent(extent, radius, rows, dims, like)
    background = None if background is None else _check_background(background, features, like)
    if batched:
        xyz, features = xyz.reshape(-1, 3), features.flatten(0, 1)
        extents = extents if extents is None else extents.flatten()
    return SplatInputs(
        *(xyz, features, cameras, valid, size, extents, radius, near),
        far=math.inf if far is None else _check_far(far, near),
        background=background,
        clouds=clouds,
        offsets=offsets,
    )


def _check_features(features: Any, rows: tuple[str, ...], dims: check.Dims, like: _inputs.Like, blend: bool) -> Tensor:
    if features is None:
        return like[1].new_empty(*like[1].shape[:-1], 0)
    if blend and isinstance(features, Tensor) and features.dtype in LABEL_DTYPES:
        expected = f"{check.one_of([check.dtype_name(d) for d in check.FEATURE_DTYPES])} in mode 'bilinear'"
        raise TypeError(f"features: expected {expected}, got {check.dtype_name(features.dtype)}")
    dtypes = check.FEATURE_DTYPES if blend else (*check.FEATURE_DTYPES, *LABEL_DTYPES)
    check.tensor("features", features, (*rows, "C"), dims, dtypes, like)
    checked: Tensor = features
    return checked


def _count_clouds(offsets: Any, views: int, dims: check.Dims, like: _inputs.Like) -> int:
    """Check that the views divide among the clouds, and return the number of clouds."""
    clouds = dims.get("B", 1)
    if offsets is not None:
        sizes: check.Dims = {}
        check.tensor("offsets", offsets, ("B + 1",), sizes, (torch.int64,), like)
        clouds = sizes["B + 1"] - 1
        if clouds < 0:
            raise check.value_error("offsets", "(B + 1,)", (0,))
    if views % clouds if clouds else views:
        raise check.value_error("cameras", f"a multiple of B={clouds} cameras", views)
    return clouds


def _check_valid(
    valid: Any, views: int, rows: tuple[str, ...], dims: check.Dims, like: _inputs.Like, ragged: bool
) -> Tensor:
    """Return (N,) for the points of all clouds, or (V, N) for the points of one cloud in each view."""
    axes = valid.dim() if isinstance(valid, Tensor) and not valid.is_nested else 0
    of_clouds = len(rows) == 2 and axes == 2 and valid.shape[0] == dims["B"]
    if axes != 2 or of_clouds or ragged:
        return _inputs.mask("valid", valid, rows, dims, like).flatten()
    return _inputs.mask("valid", valid, ("V", "N"), dims | {"V": views}, like)


def _check_radius(radius: Any) -> float:
    if isinstance(radius, Tensor):
        raise TypeError("radius: expected a number for all points, got a tensor (extent takes one value per point)")
    return check.number("radius", radius, 0, _MAX_RADIUS)


def _check_extent(
    extent: Any, radius: float, rows: tuple[str, ...], dims: check.Dims, like: _inputs.Like
) -> tuple[float, Tensor | None]:
    """Return the extent of all points, 0 if it is not given as a number, and the extent of each point or None."""
    size, extents = 0.0, None
    if isinstance(extent, Tensor):
        extents = _inputs.geometry("extent", extent, rows, dims, like)
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
    dtype = features.dtype
    if isinstance(background, Tensor):
        check.tensor("background", background, ("C",), {"C": features.shape[-1]}, (dtype,), like)
        return background
    if dtype.is_floating_point:
        largest = torch.finfo(dtype).max
        return features.new_full((), check.number("background", background, -largest, largest))
    if dtype is torch.bool:
        return features.new_full((), bool(check.integer("background", int(background), 0, 1)))
    limits = torch.iinfo(dtype)
    return features.new_full((), check.integer("background", background, limits.min, limits.max))
