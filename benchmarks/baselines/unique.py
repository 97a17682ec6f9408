# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Voxel features in a few lines of plain PyTorch: unique keys, and the mean or the point with the smallest footprint of
each.

Both are the fastest forms found on a CPU. For the mean of sorted rows that is ``embedding_bag``; ``index_add_`` takes
1.5 times as long, ``segment_reduce`` several times as long.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


class Voxels(NamedTuple):
    """S voxels in the order of their keys: keys (S,), and of the point kept for each its number (S,), xyz (S, 3),
    features (S, C) and footprint (S,)."""

    keys: Tensor
    point: Tensor
    xyz: Tensor
    features: Tensor
    footprint: Tensor


def keys_of(xyz: Tensor, size: float) -> Tensor:
    """The voxel of every point (N, 3), packed into int64 (N,): the same arithmetic as the voxel cache's."""
    x, y, z = ((xyz * (1 / torch.tensor(size)).item()).floor().int() + (1 << 20)).unbind(1)
    return (x.long() << 21 | y) << 21 | z


def build(xyz: Tensor, features: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """Keys (S,) and mean features (S, C) of the voxels that points (N, 3) with features (N, C) fall into."""
    in_order, point = keys_of(xyz, size).sort(stable=True)
    keys, count = torch.unique_consecutive(in_order, return_counts=True)
    return keys, embedding_bag(point, features, count.cumsum(0) - count, mode="mean")


def smallest(footprint: Tensor, voxel: Tensor, voxels: int) -> Tensor:
    """The number (S,) of the point with the smallest footprint (N,) in each voxel; ties: the first one."""
    # a footprint is not negative, so its bits sort as an integer
    rank = footprint.view(torch.int32).long() << 32 | torch.arange(len(footprint))
    best = rank.new_full((voxels,), torch.iinfo(torch.int64).max)
    return best.scatter_reduce_(0, voxel, rank, "amin") & 0xFFFFFFFF


def build_best(xyz: Tensor, features: Tensor, footprint: Tensor, size: float) -> Voxels:
    """The point with the smallest footprint (N,) of each voxel, which the voxel cache keeps by default."""
    keys, voxel = torch.unique(keys_of(xyz, size), return_inverse=True)
    point = smallest(footprint, voxel, len(keys))
    return Voxels(keys, point, *(x.index_select(0, point) for x in (xyz, features, footprint)))
