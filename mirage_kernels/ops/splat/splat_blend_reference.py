# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``splat_offsets`` and ``splat_blend`` in pure PyTorch; all backends return the same bits.

N points, V views, C channels, grid (h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf

from ..._projection import project

MIN_WEIGHT = 1e-4  # a cell whose weights sum to no more keeps its own features


def splat_offsets(xyz: Tensor, index: Tensor, intrinsics: Tensor, world2cam: Tensor) -> Tensor:
    """Project the point of every cell, and subtract the center of the cell; 0 in holes."""
    views, h, w = index.shape
    is_point = (index >= 0) & (index < xyz.shape[0])
    if xyz.shape[0] == 0:
        return xyz.new_zeros(views, 2, h, w)
    points = xyz[torch.where(is_point, index, 0).reshape(views, h * w)]
    u, v, _, _ = project(points, world2cam, intrinsics)
    column = torch.arange(w, dtype=torch.int64, device=xyz.device).to(xyz.dtype) + 0.5
    row = torch.arange(h, dtype=torch.int64, device=xyz.device).to(xyz.dtype) + 0.5
    offsets = torch.stack([u.reshape(views, h, w) - column, v.reshape(views, h, w) - row[:, None]], 1)
    return torch.where(is_point[:, None], offsets, 0)


def splat_blend(features: Tensor, offsets: Tensor, depth: Tensor, band: float) -> Tensor:
    """Add up the neighbors in the order of their cells, in float32, and round once."""
    h, w = depth.shape[1:]
    around = [nnf.pad(maps, (1, 1, 1, 1), value=torch.nan) for maps in (offsets[:, 0], offsets[:, 1], depth)]
    values = nnf.pad(features.float(), (1, 1, 1, 1))
    own = features.float()
    total, sums = torch.zeros_like(depth), torch.zeros_like(own)
    for n in range(9):
        window = (..., slice(n // 3, n // 3 + h), slice(n % 3, n % 3 + w))
        x, y, z = (maps[window] for maps in around)
        counts = (x.abs() <= 0.5) & (y.abs() <= 0.5) & depth.isfinite() & z.isfinite()
        counts &= (z - depth).abs() <= torch.full_like(depth, band) * depth
        x, y = ((n % 3 - 1) + x).abs(), ((n // 3 - 1) + y).abs()
        weight = torch.where(counts & (x < 1) & (y < 1), (1 - x) * (1 - y), 0)
        total = total + weight
        sums = sums + torch.where(weight[:, None] > 0, weight[:, None] * values[window], 0)
    is_covered = total > torch.full_like(total, MIN_WEIGHT)
    inverse = torch.where(is_covered, torch.ones_like(total) / total, 0)
    return torch.where(is_covered[:, None], sums * inverse[:, None], own).to(features.dtype)
