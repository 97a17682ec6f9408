# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading an append-only latent point cloud, as the released Mirage code describes it: for each view, project every
point, sort by depth, and scatter from far to near, so that the last write wins. Written here from that description, in
plain PyTorch.

The result depends on the order of a scatter with repeated indices, which PyTorch does not define.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_kernels import Cameras


def read_view(
    xyz: Tensor, features: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int
) -> tuple[Tensor, Tensor]:
    """One view of points (N, 3) with features (N, C): features (C, h, w) and mask (h, w)."""
    points = xyz @ world2cam[:, :3].T + world2cam[:, 3]
    depth = points[:, 2]
    u = points[:, 0] / depth * intrinsics[0, 0] + intrinsics[0, 2]
    v = points[:, 1] / depth * intrinsics[1, 1] + intrinsics[1, 2]
    inside = (depth > 1e-6) & (u >= 0) & (u < w) & (v >= 0) & (v < h)
    kept = inside.nonzero().squeeze(1)
    order = kept[depth[kept].argsort(descending=True)]
    cell = v[order].long() * w + u[order].long()
    out = features.new_zeros(h * w, features.shape[1])
    out[cell] = features[order]
    mask = torch.zeros(h * w, dtype=torch.bool, device=xyz.device)
    mask[cell] = True
    return out.T.reshape(-1, h, w), mask.reshape(h, w)


def read(xyz: Tensor, features: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Every view: features (V, C, h, w) and mask (V, h, w)."""
    views = [
        read_view(xyz, features, k, m, *cameras.size)
        for k, m in zip(cameras.intrinsics, cameras.world2cam, strict=True)
    ]
    return torch.stack([f for f, _ in views]), torch.stack([m for _, m in views])
