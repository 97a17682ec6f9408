# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Not storing a place twice, with scipy's k-d tree: a new point is left out where a remembered one lies within a
voxel's size of it.

The tree cannot be added to, so it is built anew for every chunk; and new points are not compared with each other.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.spatial import cKDTree  # type: ignore[import-untyped]
from torch import Tensor


def build(xyz: Tensor) -> Any:
    """The tree of remembered points (N, 3).

    Split in the middle of boxes instead of at the median of points, which scipy is quicker to build.
    """
    return cKDTree(xyz.numpy(), balanced_tree=False, compact_nodes=False)


def nearest(tree: Any, xyz: Tensor, size: float, threads: int) -> Tensor:
    """Of each new point (M, 3) the nearest remembered one nearer than ``size``: rows (M,) int64, -1 where none is."""
    _, row = tree.query(xyz.numpy(), distance_upper_bound=size, workers=threads)
    return torch.from_numpy(row).masked_fill_(torch.from_numpy(row) == tree.n, -1)


def insert(
    xyz: Tensor, features: Tensor, new_xyz: Tensor, new_features: Tensor, size: float, threads: int
) -> tuple[Tensor, Tensor]:
    """Points (N + K, 3) and features (N + K, C): those remembered, then the K of M new ones that are far from them."""
    fresh = nearest(build(xyz), new_xyz, size, threads) < 0
    return torch.cat([xyz, new_xyz[fresh]]), torch.cat([features, new_features[fresh]])
