# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Splatting of a point cloud with features into the grids of cameras, with a z-buffer."""

from __future__ import annotations

import math
from typing import overload

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling

from ... import _hints, _memory, _transforms, backend, check
from ..._modes import SPLAT_MODES, SplatMode
from ..._results import Layers, Splat
from ...cameras import NEAR, Cameras
from .splat_bilinear_operators import splat_bilinear
from .splat_clouds_operators import splat_clouds
from .splat_inputs import SplatInputs, are_clouds, check_combination, check_inputs, is_one_cloud
from .splat_layers_operators import splat_layers
from .splat_operators import splat_nearest
from .splat_views import copy_labels, fill_holes, normalize, one_by_one, weigh

MAX_LAYERS = 256


@overload
def splat(
    xyz: Tensor,
    features: Tensor | None,
    cameras: Cameras,
    *,
    valid: Tensor | None = ...,
    extent: float | Tensor | None = ...,
    radius: float | Tensor = ...,
    mode: SplatMode = ...,
    band: float = ...,
    weights: Tensor | None = ...,
    near: float = ...,
    far: float | None = ...,
    background: float | Tensor | None = ...,
    offsets: Tensor | None = ...,
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
    radius: float | Tensor = ...,
    near: float = ...,
    far: float | None = ...,
    offsets: Tensor | None = ...,
) -> Layers: ...


def splat(
    xyz: Tensor,
    features: Tensor | None,
    cameras: Cameras,
    *,
    valid: Tensor | None = None,
    extent: float | Tensor | None = None,
    radius: float | Tensor = 0.0,
    mode: SplatMode = "nearest",
    band: float = 0.05,
    weights: Tensor | None = None,
    near: float = NEAR,
    far: float | None = None,
    background: float | Tensor | None = None,
    offsets: Tensor | None = None,
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

    Several clouds are rendered in one call if ``xyz`` is (B, N, 3), or (N, 3) with ``offsets``: V is a multiple of B,
    and cameras b V / B to (b + 1) V / B - 1 see cloud b. Results are those of one call per cloud, concatenated, bit for
    bit, gradients too; an index counts within its cloud. (Mode "bilinear" and ``k`` make these calls, and read
    ``offsets`` on the host.)

    Args:
        xyz: (N, 3) or (B, N, 3) float32, or float64 that is rounded to float32 once; world units. Decisions are made in
            float32, so that every backend makes the same; gradients flow back through the rounding.
        features: (N, C), with B clouds (B, N, C), float32, bfloat16 or float16; in mode "nearest" also int64, int32,
            uint8 or bool (labels, colors), copied bit for bit, without a gradient; or None, which renders depth and
            index, and maps of 0 channels.
        cameras: V cameras over a grid (h, w), on the same device.
        valid: (N,), with B clouds (B, N), or (V, N) with a mask for each view, bool; points where it is False are
            skipped. A mask may also be uint8 or floating point, where whatever is not 0 is True. Pass the ``valid`` of
            :func:`unproject`: a cell without depth is a point at the origin, which a camera may see.
        extent: world units, a number, or (N,), with B clouds (B, N), float32 or float64. A point is drawn as a square
            of this half-size that faces the camera: it covers its own cell and all cells whose centers lie within the
            square. This closes the holes that appear when a surface is rendered from nearer than it was observed. A
            point whose extent is not positive covers only its own cell.
        radius: cells, a number from 0 to 2^24, or (N,), with B clouds (B, N), float32 or float64. A point is drawn as a
            disc of this radius around its projection (u, v): it covers its own cell and all cells (i, j) with
            ((j + 0.5) - u)^2 + ((i + 0.5) - v)^2 <= radius^2. A point whose radius is not positive covers only its own
            cell, and one above 2^24 counts as 2^24. No gradient flows to it. Not together with ``extent``.
        mode: "nearest" or "bilinear"; "bilinear" takes neither ``extent`` nor ``radius``.
        band: relative depth range of the points that mode "bilinear" blends, at least 0.
        weights: (N,), with B clouds (B, N), float32 or float64, of the points in mode "bilinear", such as 1 / depth or
            softmax splatting's exp(importance): sum(weight * weights * feature) / sum(weight * weights). Large
            ``band`` blends all points of a cell. Gradients flow to them. Cells without a positive sum are holes.
        near: world units, 1e-6 to 3e38. Points up to this depth are skipped. With an ``extent``, a point just in front
            of a camera covers the whole grid.
        far: world units, more than ``near``. Points at this depth or beyond are skipped. None: no limit.
        background: the features of a hole, a number or (C,) in the dtype of ``features``, default 0. A hole stays a
            hole in ``mask``, ``depth`` and ``index``. Gradients flow to it.
        offsets: (B + 1,) int64, on the same device: the rows of ``xyz`` (N, 3) from ``offsets[b]`` to
            ``offsets[b + 1]`` - 1 are cloud b. They ascend; values beyond 0 to N are clamped.
        k: 1 to 256: return the k nearest points of every cell instead, in mode "nearest"; ``features`` are not used.

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
    plain = plain and far is None and background is None and offsets is None and k is None and weights is None
    name = None
    if plain and mode == "nearest" and features is not None and isinstance(cameras, Cameras):
        if check.are_points(xyz, features):
            name = "splat_plain"
        elif are_clouds(xyz, features, len(cameras)):
            name = "splat_clouds_plain"
    if name is not None and features is not None:
        intrinsics, (h, w) = cameras._intrinsics, cameras._size
        # Written out, as the call of the operation below, because a call of 64 points takes microseconds.
        differentiable = (xyz.requires_grad or features.requires_grad) and torch.is_grad_enabled()
        differentiable = differentiable or _transforms.is_active()
        if (intrinsics.is_cpu if xyz.is_cpu else intrinsics.device == xyz.device) and not differentiable:
            operation = backend.operation(name, xyz)
            try:
                # tuple.__new__, because the constructor of a named tuple takes as long as a check.
                view: Splat = tuple.__new__(Splat, operation(xyz, features, intrinsics, cameras._world2cam, h, w))
            except (RuntimeError, MemoryError) as error:
                _memory.raise_explained(error, "splat", xyz=xyz, features=features, cameras=cameras)
            if not is_dynamo_compiling() and _hints.is_pending:
                _hints.look(xyz, cameras, view.index)
            return view
    inputs = check_inputs(
        *(xyz, features, cameras),
        valid=valid,
        extent=extent,
        radius=radius,
        near=near,
        far=far,
        background=background,
        offsets=offsets,
        weights=weights,
        blend=isinstance(mode, str) and mode == "bilinear",
    )
    mode = check.choice("mode", mode, SPLAT_MODES)
    check_combination(mode, extent=extent, radius=radius, weights=weights, background=background, k=k)
    return _render(inputs, mode, k, check.number("band", band, 0))


def _render(inputs: SplatInputs, mode: SplatMode, k: int | None, band: float) -> Splat | Layers:
    if k is not None:
        layers = check.integer("k", k, 1, MAX_LAYERS)
        return one_by_one(inputs, lambda part: _splat_layers(part, layers))
    if mode == "bilinear":
        return fill_holes(one_by_one(inputs, lambda part: _splat_bilinear(part, band)), math.inf, inputs.background)
    view = fill_holes(copy_labels(inputs, _splat_nearest), inputs.far, inputs.background)
    if not is_dynamo_compiling() and _hints.is_pending:
        _hints.look(inputs.xyz, inputs.cameras, view.index)
    return view


def _splat_nearest(inputs: SplatInputs) -> Splat:
    recorded = (inputs.xyz.requires_grad or inputs.features.requires_grad) and torch.is_grad_enabled()
    differentiable = recorded or _transforms.is_active()
    points = (inputs.xyz, inputs.features, inputs.cameras)
    if is_one_cloud(inputs):
        view = splat_nearest(
            *points,
            valid=inputs.valid,
            extent=inputs.extent,
            extents=inputs.extents,
            radius=inputs.radius,
            near=inputs.near,
            differentiable=differentiable,
        )
    else:
        view = splat_clouds(
            *points,
            valid=inputs.valid,
            extent=inputs.extent,
            extents=inputs.extents,
            radius=inputs.radius,
            near=inputs.near,
            offsets=inputs.offsets,
            differentiable=differentiable,
        )
    return Splat(*view)


def _splat_layers(inputs: SplatInputs, k: int) -> Layers:
    depth, distance2, index = splat_layers(
        *(inputs.xyz, inputs.cameras, k),
        valid=inputs.valid,
        extent=inputs.extent,
        extents=inputs.extents,
        radius=inputs.radius,
        near=inputs.near,
    )
    return Layers(index, depth, distance2)


def _splat_bilinear(inputs: SplatInputs, band: float) -> Splat:
    features = inputs.features if inputs.weights is None else weigh(inputs.features, inputs.weights)
    maps, depth, index, _ = splat_bilinear(
        *(inputs.xyz, features, inputs.cameras), valid=inputs.valid, band=band, near=inputs.near
    )
    view = Splat(maps, depth, index)
    return view if inputs.weights is None else normalize(view, inputs.features.dtype)
