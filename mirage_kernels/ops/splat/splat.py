# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Splatting of a point cloud with features into the grids of cameras, with a z-buffer."""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor

from ... import _memory, _transforms, backend, check
from ..._modes import SPLAT_MODES, SplatMode
from ..._results import Layers, Splat
from ...cameras import NEAR, Cameras, check_cameras
from .splat_bilinear_operators import splat_bilinear
from .splat_layers_operators import splat_layers
from .splat_operators import check_near, splat_nearest

MAX_LAYERS = 256


@overload
def splat(
    xyz: Tensor,
    features: Tensor,
    cameras: Cameras,
    *,
    valid: Tensor | None = ...,
    extent: float | Tensor | None = ...,
    radius: float = ...,
    mode: SplatMode = ...,
    band: float = ...,
    near: float = ...,
    k: None = ...,
) -> Splat: ...


@overload
def splat(
    xyz: Tensor,
    features: Tensor | None,
    cameras: Cameras,
    *,
    k: int,
    valid: Tensor | None = ...,
    extent: float | Tensor | None = ...,
    radius: float = ...,
    near: float = ...,
) -> Layers: ...


def splat(
    xyz: Tensor,
    features: Tensor | None,
    cameras: Cameras,
    *,
    valid: Tensor | None = None,
    extent: float | Tensor | None = None,
    radius: float = 0.0,
    mode: SplatMode = "nearest",
    band: float = 0.05,
    near: float = NEAR,
    k: int | None = None,
) -> Splat | Layers:
    """Render points into the grid of every camera. In each cell the nearest point wins; ties go to the lower index.

    In mode "nearest" a cell holds the features and the depth of exactly one point; points are never blended. The result
    is the same, bit for bit, on every backend, device and number of threads. Points are projected as
    :mod:`mirage_kernels.cameras` describes. Points behind a camera, outside its grid, or with a coordinate that is not
    finite are skipped.

    In mode "bilinear" a point contributes to the four cells whose centers surround it, as far as they are on the grid.
    With a = u - 0.5, s = a - floor(a), b = v - 0.5 and t = b - floor(b), the weights are (1 - s) (1 - t), s (1 - t),
    (1 - s) t and s t; weights of 0 are skipped. A cell blends the points with depth <= (1 + band) * depth of its
    nearest point: sum(weight * feature) / sum(weight), with both sums in float32 in the order of the points, rounded
    once. Cells with sum(weight) <= 1e-4 are holes. ``depth`` and ``index`` are those of the nearest point.

    With ``k``, the result is the k nearest of the points that cover each cell, as indices, depths and distances, and
    :func:`composite` blends their features. The first layer is what mode "nearest" returns, bit for bit.

    Gradients flow to ``features``, and to ``xyz`` through ``depth``; in mode "bilinear" also to ``xyz`` through the
    weights, with the set of blended points taken as constant. The gradient of ``features`` is summed in float32, in
    (view, cell) order, and rounded once. With ``k``, gradients flow to ``xyz`` through ``depth`` and ``distance2``.
    Cameras have no gradient.

    The function does not wait for the device (no synchronization).

    Args:
        xyz: (N, 3) float32, world units.
        features: (N, C) float32, bfloat16 or float16; None, or not used, with ``k``.
        cameras: V cameras over a grid (h, w), on the same device.
        valid: (N,) bool; points where it is False are skipped. Pass the ``valid`` of :func:`unproject`: a cell without
            depth is a point at the origin, which a camera may see.
        extent: world units, a number or (N,) float32. A point is rendered as a square of this half-size that faces the
            camera: it covers its own cell and all cells whose centers lie within the square. This closes the holes that
            appear when a surface is rendered from nearer than it was observed. A point whose extent is not positive
            covers only its own cell.
        radius: cells, 0 to 2^24. A point is rendered as a disc of this radius around its projection (u, v): it covers
            its own cell and all cells (i, j) with ((j + 0.5) - u)^2 + ((i + 0.5) - v)^2 <= radius^2. Not together with
            ``extent``.
        mode: "nearest" or "bilinear"; "bilinear" takes neither ``extent`` nor ``radius``.
        band: relative depth range of the points that mode "bilinear" blends, at least 0.
        near: world units, 1e-6 to 3e38. Points up to this depth are skipped. With an ``extent``, a point just in front
            of a camera covers the whole grid.
        k: 1 to 256: return the k nearest points of every cell. In mode "nearest" only.

    Returns:
        :class:`Splat`: features (V, C, h, w), depth (V, h, w), index (V, h, w); its ``mask`` is False in holes.
        With ``k``, :class:`Layers`: index, depth and distance2, (V, k, h, w).

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value, or is not allowed in this mode.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras, splat
        >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 1], [0, 0, 1]]), torch.eye(4), size=(2, 4))
        >>> xyz = torch.tensor([[0.1, 0.1, 2.0], [0.1, 0.1, 1.0], [0.1, 0.1, -1.0]])
        >>> view = splat(xyz, torch.tensor([[10.0], [20.0], [30.0]]), camera)
        >>> view.index[0].tolist()
        [[-1, -1, -1, -1], [-1, -1, 1, -1]]
        >>> view.features[0, 0, 1, 2].item(), view.depth[0, 1, 2].item()
        (20.0, 1.0)
    """
    no_disc = isinstance(radius, (int, float)) and radius == 0
    plain = no_disc and valid is None and extent is None and type(near) is float and near == NEAR and type(mode) is str
    if plain and k is None and mode == "nearest" and check.are_points(xyz, features) and isinstance(cameras, Cameras):
        intrinsics, (h, w) = cameras._intrinsics, cameras._size
        # Written out, as the call of the operation below, because a call of 64 points takes microseconds.
        differentiable = (xyz.requires_grad or features.requires_grad) and torch.is_grad_enabled()
        differentiable = differentiable or _transforms.is_active()
        if (intrinsics.is_cpu if xyz.is_cpu else intrinsics.device == xyz.device) and not differentiable:
            operation = backend.operation("splat_plain", xyz)
            try:
                # tuple.__new__, because the constructor of a named tuple takes as long as a check.
                return tuple.__new__(Splat, operation(xyz, features, intrinsics, cameras._world2cam, h, w))
            except (RuntimeError, MemoryError) as error:
                _memory.raise_explained(error, "splat", xyz=xyz, features=features, cameras=cameras)
    dims = _check_operands(xyz, features, cameras, valid, required=k is None)
    if not no_disc:
        radius = check.number("radius", radius, 0, 1 << 24)
    near = check_near(near)
    if check.choice("mode", mode, SPLAT_MODES) != "nearest":
        if k is not None:
            raise check.value_error("k", f"None in mode {mode!r}", k)
        assert features is not None
        return _splat_bilinear(xyz, features, cameras, valid, extent, radius, check.number("band", band, 0), near)
    size, extents = _check_extent(extent, radius, xyz, dims)
    if k is not None:
        k = check.integer("k", k, 1, MAX_LAYERS)
        return Layers(
            *splat_layers(xyz, cameras, k, valid=valid, extent=size, extents=extents, radius=radius, near=near)
        )
    assert features is not None
    recorded = (xyz.requires_grad or features.requires_grad) and torch.is_grad_enabled()
    return Splat(
        *splat_nearest(
            xyz,
            features,
            cameras,
            valid=valid,
            extent=size,
            extents=extents,
            radius=radius,
            near=near,
            differentiable=recorded or _transforms.is_active(),
        )
    )


def _check_operands(xyz: Any, features: Any, cameras: Any, valid: Any, *, required: bool) -> check.Dims:
    dims: check.Dims = {}
    check.tensor("xyz", xyz, ("N", 3), dims)
    like = ("xyz", xyz)
    if features is not None or required:
        check.tensor("features", features, ("N", "C"), dims, check.FEATURE_DTYPES, like)
    check_cameras(cameras, "xyz", xyz)
    if valid is not None:
        check.tensor("valid", valid, ("N",), dims, (torch.bool,), like)
    if dims["N"] >= 1 << 32:
        raise check.value_error("xyz", "fewer than 2^32 points", dims["N"])
    return dims


def _check_extent(extent: Any, radius: float, xyz: Tensor, dims: check.Dims) -> tuple[float, Tensor | None]:
    """Return the extent of all points, 0 if it is not given as a number, and the extent of each point (N,) or None."""
    size, extents = 0.0, None
    if isinstance(extent, Tensor):
        check.tensor("extent", extent, ("N",), dims, like=("xyz", xyz))
        extents = extent
    elif extent is not None:
        size = check.number("extent", extent, 0)
    if extent is not None and radius != 0:
        raise check.value_error("radius", "0 if extent is given", radius)
    return size, extents


def _splat_bilinear(
    xyz: Tensor,
    features: Tensor,
    cameras: Cameras,
    valid: Tensor | None,
    extent: float | Tensor | None,
    radius: float,
    band: float,
    near: float,
) -> Splat:
    if extent is not None:
        raise check.value_error("extent", "None in mode 'bilinear'", type(extent).__name__)
    if radius != 0:
        raise check.value_error("radius", "0 in mode 'bilinear'", radius)
    blended, depth, index, _ = splat_bilinear(xyz, features, cameras, valid=valid, band=band, near=near)
    return Splat(blended, depth, index)
