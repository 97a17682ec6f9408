# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Which points of a new depth map a map of points lacks: data association."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _inputs, check
from ..._results import Splat
from ...cameras import Cameras, check_cameras
from .associate_operators import associate_points

_MOST = 1e18  # of tolerance and ratio: their products with depths of any scene are finite


def associate(
    xyz: Tensor,
    depth: Tensor,
    footprint: Tensor,
    rendered: Splat,
    footprints: Tensor,
    *,
    valid: Tensor | None = None,
    past: Tensor | None = None,
    past_cameras: Cameras | None = None,
    tolerance: float = 0.05,
    closer: float = 2.0,
) -> Tensor:
    """Compare the points of a new depth map with what a map of points renders from the same camera.

    Every point gets a number: 1 if it is new to the map, 2 if it is a closer look at a point that the map renders, 0
    if the map has it or it is not valid. With z the depth of the point, d the rendered depth in its cell, s =
    ``tolerance``, and all arithmetic in float32:

    * In a hole, a point is new.
    * Elsewhere it is new if d > z (1 + s): a surface in front of the one that is rendered.
    * It is a closer look if abs(d - z) <= s z, and the footprint of the rendered point is at least ``closer`` times
      its own.
    * A point that a past depth map has observed is no closer look, and new only if d > z (1 + s)^2. So points are not
      stored twice when the rendering of their surroundings changes between two frames. A past map observed a point at
      depth p in its view if the surface there is within s p of p, and p / fx <= (1 + s) times the point's footprint:
      it was about as near.

    The result is the same on every backend, device and number of threads. It has no gradient, and the function does
    not wait for the device.

    Args:
        xyz: (N, 3) float32, world units, as :func:`unproject` returns them, one point for each cell of the view.
        depth: (N,) float32 z-depth in the view, world units.
        footprint: (N,) float32 footprints, world units.
        rendered: the map's view, depth and index (1, h, w) with h w = N, as :func:`splat` or
            :meth:`VoxelCache.splat` returns it. An index that is not 0 to R - 1 is a hole.
        footprints: (R,) float32, footprints of the points of the map, world units.
        valid: (N,) bool; points where it is False get 0. It may also be uint8 or floating point, where whatever is not
            0 is True.
        past: (F, h, w) float32, z-depth of the surfaces that past cameras observed, world units; +inf where they
            observed none. None: no past maps.
        past_cameras: F cameras over (h, w); required with ``past``.
        tolerance: relative difference of depths of one surface, 0 to 1e18.
        closer: ratio of footprints, 0 to 1e18.

    Returns:
        (N,) uint8, 0, 1 or 2.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras, associate, splat
        >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 0.5], [0, 0, 1]]), torch.eye(4), size=(1, 4))
        >>> stored = torch.tensor([[0.1, 0.0, 4.0], [1.1, 0.0, 4.0], [-0.9, 0.0, 4.0]])
        >>> view = splat(stored, None, camera)
        >>> view.mask[0, 0].tolist()
        [False, True, True, True]
        >>> depth = torch.tensor([2.0, 4.0, 2.0, 4.0])
        >>> xyz = depth[:, None] * torch.tensor([[-0.375, 0, 1], [-0.125, 0, 1], [0.125, 0, 1], [0.375, 0, 1]])
        >>> associate(xyz, depth, depth / 8, view, torch.tensor([1.0, 1.0, 0.5])).tolist()
        [1, 0, 1, 2]
    """
    dims: check.Dims = {}
    check.tensor("xyz", xyz, ("N", 3), dims)
    like = ("xyz", xyz)
    check.tensor("depth", depth, ("N",), dims, like=like)
    check.tensor("footprint", footprint, ("N",), dims, like=like)
    view = _view(rendered, dims["N"], like)
    check.tensor("footprints", footprints, ("R",), dims, like=like)
    if valid is not None:
        valid = _inputs.mask("valid", valid, ("N",), dims, like)
    return associate_points(
        *(xyz, depth, footprint, view, footprints),
        valid=valid,
        past=_past(past, past_cameras, like),
        tolerance=check.number("tolerance", tolerance, 0, _MOST),
        closer=check.number("closer", closer, 0, _MOST),
    )


def _view(rendered: Splat, count: int, like: _inputs.Like) -> tuple[Tensor, Tensor]:
    if not isinstance(rendered, Splat):
        raise check.type_error("rendered", "a Splat", rendered)
    dims: check.Dims = {}
    check.tensor("rendered.depth", rendered.depth, (1, "h", "w"), dims, like=like)
    check.tensor("rendered.index", rendered.index, (1, "h", "w"), dims, (torch.int64,), like)
    if dims["h"] * dims["w"] != count:
        raise check.value_error("rendered.depth", f"(1, h, w) with h w = N={count}", tuple(rendered.depth.shape))
    return rendered.depth.reshape(-1), rendered.index.reshape(-1)


def _past(past: Tensor | None, cameras: Cameras | None, like: _inputs.Like) -> tuple[Tensor, Tensor, Tensor]:
    if past is None:
        if cameras is not None:
            raise check.value_error("past_cameras", "None if past is None", cameras)
        xyz = like[1]
        return xyz.new_empty(0, 1, 1), xyz.new_empty(0, 3, 3), xyz.new_empty(0, 3, 4)
    dims: check.Dims = {}
    check.tensor("past", past, ("F", "h", "w"), dims, like=like)
    if not isinstance(cameras, Cameras):
        raise check.type_error("past_cameras", "Cameras", cameras)
    check_cameras(cameras, *like)
    if (len(cameras), *cameras.size) != tuple(past.shape):
        expected = f"(F={len(cameras)}, h={cameras.size[0]}, w={cameras.size[1]}) like past_cameras"
        raise check.value_error("past", expected, tuple(past.shape))
    return past, cameras._intrinsics, cameras._world2cam
