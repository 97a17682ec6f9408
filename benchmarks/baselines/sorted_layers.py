# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The k nearest points of every cell in plain PyTorch: for each view, sort the points by depth and then by cell, and
keep the first k of each cell; and their compositing by gathered features and a product of transmittances."""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_kernels import Cameras


def read_view(xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int, k: int) -> Tensor:
    """One view of points (N, 3): index (k, h, w), -1 where there is none."""
    points = xyz @ world2cam[:, :3].T + world2cam[:, 3]
    depth = points[:, 2]
    u = points[:, 0] / depth * intrinsics[0, 0] + intrinsics[0, 2]
    v = points[:, 1] / depth * intrinsics[1, 1] + intrinsics[1, 2]
    inside = (depth > 1e-6) & (u >= 0) & (u < w) & (v >= 0) & (v < h)
    kept = inside.nonzero().squeeze(1)
    order = kept[depth[kept].argsort(stable=True)]
    cell, by_cell = (v[order].long() * w + u[order].long()).sort(stable=True)
    rank = torch.arange(len(cell), device=xyz.device) - torch.searchsorted(cell, cell)
    index = torch.full((k, h * w), -1, device=xyz.device)
    first = rank < k
    index[rank[first], cell[first]] = order[by_cell[first]]
    return index.reshape(k, h, w)


def read(xyz: Tensor, cameras: Cameras, k: int) -> Tensor:
    """Every view: index (V, k, h, w)."""
    views = zip(cameras.intrinsics, cameras.world2cam, strict=True)
    return torch.stack([read_view(xyz, *view, *cameras.size, k) for view in views])


def composite(features: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Blend the features (N, C) of layers (V, k, h, w) by their opacities: (V, C, h, w)."""
    opacity = torch.where(index >= 0, weights, 0)
    through = torch.cat([torch.ones_like(opacity[:, :1]), (1 - opacity).cumprod(1)[:, :-1]], 1)
    return torch.einsum("vkhw,vkhwc->vchw", through * opacity, features[index.clamp(min=0)])
