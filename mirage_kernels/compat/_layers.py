# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The K nearest points of every cell, for the stand-ins of PyTorch3D's point rasterizer."""

from __future__ import annotations

import inspect
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras, splat

_OWN_CELL = math.sqrt(0.5) + 1e-3  # a disc of this radius reaches the center of the cell it is in


class Layers(NamedTuple):
    """The K nearest points whose discs cover the center of a cell, nearest first.

    Attributes:
        index: (V, K, h, w) int64, -1 where there is none.
        distance2: (V, K, h, w) float32, squared distance of the point to the center of the cell, in cells.
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    distance2: Tensor


def nearest_layers(xyz: Tensor, cameras: Cameras, radius: float, k: int) -> Layers:
    """Find the K nearest points of every cell.

    Args:
        xyz: (N, 3) float32.
        cameras: V cameras.
        radius: of the discs, in cells.
        k: number of points.

    Raises:
        NotImplementedError: ``k`` is more than 1, and this version of ``splat`` finds the nearest point only.
    """
    if radius >= _OWN_CELL:
        return _layers(xyz, cameras, radius, k, None)
    # splat draws a point in its own cell in any case; here it must reach the center.
    h, w = cameras.size
    views = []
    for v in range(len(cameras)):
        uv, _, _ = cameras[v].project(xyz)
        center = uv[0].floor() + 0.5
        reaches = (uv[0] - center).square().sum(1) < radius**2
        views.append(_layers(xyz, cameras[v], radius, k, reaches))
    if not views:
        return Layers(torch.empty(0, k, h, w, dtype=torch.int64), torch.empty(0, k, h, w))
    return Layers(*(torch.cat(parts) for parts in zip(*views, strict=True)))


def _layers(xyz: Tensor, cameras: Cameras, radius: float, k: int, valid: Tensor | None) -> Layers:
    empty = xyz.new_empty(len(xyz), 0)
    if k > 1:
        if "k" not in inspect.signature(splat).parameters:
            raise NotImplementedError(f"points_per_pixel: expected 1, as this version has no splat(k=), got {k}")
        layers: Any = splat(xyz, empty, cameras, valid=valid, radius=radius, k=k)  # type: ignore[call-arg]
        return Layers(layers.index, layers.distance2)
    index = splat(xyz, empty, cameras, valid=valid, radius=radius).index[:, None]
    return Layers(index, _distance2(xyz, cameras, index))


def _distance2(xyz: Tensor, cameras: Cameras, index: Tensor) -> Tensor:
    """Squared distances of points (V, K, h, w) to the centers of their cells."""
    h, w = cameras.size
    if not len(xyz):
        return torch.zeros(index.shape, device=xyz.device)
    x, y, z = xyz[index.clamp(min=0)].unbind(-1)
    m, k = cameras.world2cam[:, :, :, None, None, None], cameras.intrinsics[..., None, None, None]
    inverse = 1 / (((m[:, 2, 0] * x + m[:, 2, 1] * y) + m[:, 2, 2] * z) + m[:, 2, 3])
    u = (((m[:, 0, 0] * x + m[:, 0, 1] * y) + m[:, 0, 2] * z) + m[:, 0, 3]) * inverse * k[:, 0, 0] + k[:, 0, 2]
    v = (((m[:, 1, 0] * x + m[:, 1, 1] * y) + m[:, 1, 2] * z) + m[:, 1, 3]) * inverse * k[:, 1, 1] + k[:, 1, 2]
    column = torch.arange(w, device=xyz.device) + 0.5
    row = torch.arange(h, device=xyz.device)[:, None] + 0.5
    return torch.where(index >= 0, (u - column).square() + (v - row).square(), 0.0)


def composite_alpha(features: Tensor, index: Tensor, alpha: Tensor) -> Tensor:
    """Blend layers from the nearest to the farthest.

    Args:
        features: (N, C).
        index: (V, K, h, w), -1 where there is no point.
        alpha: (V, K, h, w), opacities.

    Returns:
        (V, h, w, C): the sum of feature x alpha x the product of 1 - alpha of the nearer layers.
    """
    v, k, h, w = index.shape
    blended = features.new_zeros(v, h, w, features.shape[1])
    if not len(features):
        return blended
    alpha = torch.where(index >= 0, alpha, 0.0)
    through = torch.ones_like(alpha[:, 0])
    for layer in range(k):
        weight = through * alpha[:, layer]
        blended = torch.addcmul(blended, features[index[:, layer].clamp(min=0)], weight[..., None])
        through = through - weight
    return blended
