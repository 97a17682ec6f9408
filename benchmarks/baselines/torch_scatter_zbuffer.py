# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading and building with torch-scatter: ``scatter_min`` finds the nearest point of a cell, or the point with the
smallest footprint in a voxel, and the features are gathered once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarks.baselines.unique import Voxels, keys_of
from mirage_kernels import Cameras


def read_view(
    torch_scatter: Any, columns: Tensor, features: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int
) -> tuple[Tensor, Tensor]:
    """One view of points (3, N) with features (N, C): features (C, h, w) and mask (h, w)."""
    x, y, depth = torch.addmm(world2cam[:, 3:], world2cam[:, :3], columns)
    u = x / depth * intrinsics[0, 0] + intrinsics[0, 2]
    v = y / depth * intrinsics[1, 1] + intrinsics[1, 2]
    kept = ((depth > 1e-6) & (u >= 0) & (u < w) & (v >= 0) & (v < h)).nonzero().squeeze(1)
    cell = v.index_select(0, kept).long() * w + u.index_select(0, kept).long()
    _, nearest = torch_scatter.scatter_min(depth.index_select(0, kept), cell, dim_size=h * w)
    mask = nearest < len(kept)
    out = features.new_zeros(h * w, features.shape[1])
    out[mask] = features.index_select(0, kept[nearest[mask]])
    return out.T.reshape(-1, h, w), mask.reshape(h, w)


def read(torch_scatter: Any, xyz: Tensor, features: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Every view of points (N, 3): features (V, C, h, w) and mask (V, h, w).

    One after the other, which is faster on a CPU than all of them at once.
    """
    columns = xyz.T.contiguous()
    views = [
        read_view(torch_scatter, columns, features, k, m, *cameras.size)
        for k, m in zip(cameras.intrinsics, cameras.world2cam, strict=True)
    ]
    return torch.stack([f for f, _ in views]), torch.stack([m for _, m in views])


def build(torch_scatter: Any, xyz: Tensor, features: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """Keys (S,) and mean features (S, C) of the voxels that points (N, 3) with features (N, C) fall into."""
    keys, voxel = torch.unique(keys_of(xyz, size), return_inverse=True)
    return keys, torch_scatter.scatter_mean(features, voxel, dim=0, dim_size=len(keys))


def build_best(torch_scatter: Any, xyz: Tensor, features: Tensor, footprint: Tensor, size: float) -> Voxels:
    """The point with the smallest footprint (N,) of each voxel."""
    keys, voxel = torch.unique(keys_of(xyz, size), return_inverse=True)
    _, point = torch_scatter.scatter_min(footprint, voxel, dim_size=len(keys))
    return Voxels(keys, point, *(x.index_select(0, point) for x in (xyz, features, footprint)))
