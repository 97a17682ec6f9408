# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of ``splat``: checked, and brought into the form that the operations take."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ... import _inputs, check
from ..._modes import SplatMode
from ...cameras import Cameras, check_cameras
from .splat_operators import check_near

_MAX_RADIUS = 1 << 24  # cells
LABEL_DTYPES = (torch.int64, torch.int32, torch.uint8, torch.bool)  # of features that are copied, never blended


class SplatInputs(NamedTuple):
    """Checked arguments.

    Attributes:
        xyz: (N, 3) or, of several clouds, (B, N, 3), float32.
        features: (N, C) or (B, N, C).
        cameras: V cameras; cameras b V / B to (b + 1) V / B - 1 see cloud b.
        valid: bool, (N,) or (B, N); or (V, N), a mask for each view; or None.
        extent: the extent of all points, 0 if there is none.
        extents: the extent of each point, or the radius of its disc if ``radius`` is above 0, (N,) or (B, N) float32,
            or None.
        radius: the radius of all discs, or the limit of ``extents``, cells; 0 without discs.
        near: points up to this depth are skipped.
        far: points from this depth on are skipped; inf if there is no limit.
        background: () or (C,) in the dtype of ``features``: the features of a hole; or None.
        offsets: (B + 1,) int64, where the rows (N, 3) of each cloud begin; or None.
        weights: (N,) or (B, N) float32, of blended points, or None.
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
    offsets: Tensor | None
    weights: Tensor | None


def is_one_cloud(inputs: SplatInputs) -> bool:
    """Return whether all views see the same points (N, 3). (torch 2.10 compiles no property of a NamedTuple.)"""
    return inputs.xyz.dim() == 2 and inputs.offsets is None and (inputs.valid is None or inputs.valid.dim() == 1)


def are_clouds(xyz: Any, features: Any, views: int) -> bool:
    """Return whether two values are B clouds (B, N, 3) and (B, N, C) that need no conversion.

    This takes a fifth of the time of :func:`check_inputs`, which matters for calls with few points.
    """
    if not (isinstance(xyz, Tensor) and isinstance(features, Tensor)) or xyz.is_nested or features.is_nested:
        return False
    shape, features_shape = xyz.shape, features.shape
    return (
        len(shape) == len(features_shape) == 3
        and shape[2] == 3
        and shape[:2] == features_shape[:2]
        and shape[0] > 0
        and views % shape[0] == 0
        and shape[0] * shape[1] < 1 << 31
        and xyz.dtype is torch.float32
        and xyz.layout is features.layout is torch.strided
        and features.dtype in check.FEATURE_DTYPES
        and features.device == xyz.device
    )


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
    weights: Any,
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
    _check_clouds(offsets, len(cameras), dims, like)
    if valid is not None:
        valid = _check_valid(valid, len(cameras), rows, dims, like, ragged=offsets is not None)
    if xyz.numel() >= 3 << 32:
        raise check.value_error("xyz", "fewer than 2^32 points", xyz.numel() // 3)
    reach, radii = _check_radius(radius, rows, dims, like)
    near = check_near(near)
    size, extents = _check_extent(extent, rows, dims, like)
    if extent is not None and reach != 0:
        raise check.value_error("radius", "0 if extent is given", _describe(radius))
    background = None if background is None else _check_background(background, features, like)
    return SplatInputs(
        *(xyz, features, cameras, valid, size, extents if radii is None else radii, reach, near),
        far=check_far(far, near),
        background=background,
        offsets=offsets,
        weights=None if weights is None else _inputs.geometry("weights", weights, rows, dims, like),
    )


def check_combination(mode: SplatMode, *, extent: Any, radius: Any, weights: Any, background: Any, k: Any) -> None:
    """Raise ValueError for an argument that has no meaning in this mode, or with ``k``."""
    unused = {"extent": extent, "k": k} if mode == "bilinear" else {"weights": weights}
    for name, value in unused.items():
        if value is not None:
            raise check.value_error(name, f"None in mode {mode!r}", value if name == "k" else type(value).__name__)
    if mode == "bilinear" and (isinstance(radius, Tensor) or radius != 0):
        raise check.value_error("radius", "0 in mode 'bilinear'", _describe(radius))
    if k is not None and background is not None:
        raise check.value_error("background", "None with k", type(background).__name__)


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


def _check_clouds(offsets: Any, views: int, dims: check.Dims, like: _inputs.Like) -> None:
    """Check that the views divide among the clouds."""
    clouds = dims.get("B", 1)
    if offsets is not None:
        sizes: check.Dims = {}
        check.tensor("offsets", offsets, ("B + 1",), sizes, (torch.int64,), like)
        clouds = sizes["B + 1"] - 1
        if clouds < 0:
            raise check.value_error("offsets", "(B + 1,)", (0,))
    if views % clouds if clouds else views:
        raise check.value_error("cameras", f"a multiple of B={clouds} cameras", views)


def _check_valid(
    valid: Any, views: int, rows: tuple[str, ...], dims: check.Dims, like: _inputs.Like, ragged: bool
) -> Tensor:
    """Return a mask of all points, or one (V, N) of the points in each view."""
    axes = valid.dim() if isinstance(valid, Tensor) and not valid.is_nested else 0
    of_clouds = len(rows) == 2 and axes == 2 and valid.shape[0] == dims["B"]
    if axes != 2 or of_clouds or ragged:
        return _inputs.mask("valid", valid, rows, dims, like)
    return _inputs.mask("valid", valid, ("V", "N"), dims | {"V": views}, like)


def _describe(radius: Any) -> Any:
    return "a tensor" if isinstance(radius, Tensor) else radius


def _check_radius(
    radius: Any, rows: tuple[str, ...], dims: check.Dims, like: _inputs.Like
) -> tuple[float, Tensor | None]:
    """Return the radius of all discs, or the largest possible one, and the radius of each disc or None."""
    if isinstance(radius, Tensor):
        return float(_MAX_RADIUS), _inputs.geometry("radius", radius, rows, dims, like)
    if isinstance(radius, (list, tuple)):
        raise check.type_error("radius", "a number, or a tensor with one for each point", radius)
    return check.number("radius", radius, 0, _MAX_RADIUS), None


def _check_extent(
    extent: Any, rows: tuple[str, ...], dims: check.Dims, like: _inputs.Like
) -> tuple[float, Tensor | None]:
    """Return the extent of all points, 0 if it is not given as a number, and the extent of each point or None."""
    size, extents = 0.0, None
    if isinstance(extent, Tensor):
        extents = _inputs.geometry("extent", extent, rows, dims, like)
    elif extent is not None:
        size = check.number("extent", extent, 0)
    return size, extents


def check_far(far: Any, near: float) -> float:
    """Check the argument ``far`` and return it as a float, inf for None."""
    if far is None or (isinstance(far, float) and far == math.inf):
        return math.inf
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
        is_flag = isinstance(background, bool) or getattr(getattr(background, "dtype", None), "kind", "") == "b"
        value = check.flag("background", background) if is_flag else check.integer("background", background, 0, 1)
        return features.new_full((), bool(value))
    limits = torch.iinfo(dtype)
    return features.new_full((), check.integer("background", background, limits.min, limits.max))
