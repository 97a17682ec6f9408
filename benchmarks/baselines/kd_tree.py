# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Storing no place twice with scipy's k-d tree: a new point is skipped when a stored one is nearer than the voxel size.

Points cannot be added to the tree, so that it is built again for every chunk; new points are not compared with each
other. In its best fair form: memory for all points is allocated at the start, so that writing copies nothing twice.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.spatial import cKDTree  # type: ignore[import-untyped]
from torch import Tensor


def build(xyz: Tensor) -> Any:
    """The tree of stored points (N, 3), split at the middle of boxes, which is faster to build than at medians."""
    return cKDTree(xyz.numpy(), balanced_tree=False, compact_nodes=False)


def nearest(tree: Any, xyz: Tensor, size: float, threads: int) -> Tensor:
    """The nearest stored point within ``size`` of each new point (M, 3): rows (M,) int64, -1 where there is none."""
    _, row = tree.query(xyz.numpy(), distance_upper_bound=size, workers=threads)
    return torch.from_numpy(row).masked_fill_(torch.from_numpy(row) == tree.n, -1)


class KdTreeCloud:
    """Points in the order of writing.

    Args:
        capacity: maximum number of points.
        channels: C of the features, float32.
        size: in world units; a new point is added if no stored one is nearer.
        threads: for queries; one thread builds the tree.

    Attributes:
        count: number of points; a lower value drops the last ones.
    """

    def __init__(self, capacity: int, channels: int, size: float, threads: int) -> None:
        self.xyz = torch.zeros(capacity, 3)
        self.features = torch.zeros(capacity, channels)
        self.size = size
        self.threads = threads
        self.count = 0

    def insert(self, xyz: Tensor, features: Tensor) -> int:
        """Add the points (M, 3) with features (M, C) that are far from all stored ones.

        Returns:
            The number of added points.

        Raises:
            ValueError: the capacity is exceeded.
        """
        is_new = nearest(build(self.xyz[: self.count]), xyz, self.size, self.threads) < 0
        added = int(is_new.sum())
        new = slice(self.count, self.count + added)
        if new.stop > len(self.xyz):
            raise ValueError(f"xyz: expected at most {len(self.xyz) - self.count} new points, got {added}")
        self.xyz[new], self.features[new] = xyz[is_new], features[is_new]
        self.count = new.stop
        return added
