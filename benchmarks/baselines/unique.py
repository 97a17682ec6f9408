# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Voxel features in a few lines of plain PyTorch: unique keys, and the mean of what fell into each."""

from __future__ import annotations

import torch
from torch import Tensor


def build(xyz: Tensor, features: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """Keys (S,) and mean features (S, C) of the voxels that points (N, 3) with features (N, C) fall into."""
    cell = (xyz / size).floor().long() + (1 << 20)
    keys, inverse = torch.unique(cell[:, 0] << 42 | cell[:, 1] << 21 | cell[:, 2], return_inverse=True)
    sums = features.new_zeros(len(keys), features.shape[1]).index_add_(0, inverse, features)
    count = features.new_zeros(len(keys)).index_add_(0, inverse, features.new_ones(len(inverse)))
    return keys, sums / count[:, None]
