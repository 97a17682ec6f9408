# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Not storing a place twice, with scipy's k-d tree: a new point is left out where a remembered one lies within a
voxel's size of it.

The tree cannot be added to, so it is built anew for every chunk; and new points are not compared with each other. In
its best fair form: room for all points is made beforehand, so that writing copies nothing twice.
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


class KdTreeCloud:
    """Points in the order they came.

    Args:
        capacity: points there is room for.
        channels: C of the features, float32.
        size: world units; a new point is added if no remembered one is nearer.
        threads: that look for neighbours; the tree is built by one.

    Attributes:
        count: points so far. To set it back forgets the last ones.
    """

    def __init__(self, capacity: int, channels: int, size: float, threads: int) -> None:
        self.xyz = torch.zeros(capacity, 3)
        self.features = torch.zeros(capacity, channels)
        self.size = size
        self.threads = threads
        self.count = 0

    def insert(self, xyz: Tensor, features: Tensor) -> int:
        """Add those of points (M, 3) with features (M, C) that are far from all there were before; how many."""
        fresh = nearest(build(self.xyz[: self.count]), xyz, self.size, self.threads) < 0
        added = int(fresh.sum())
        new = slice(self.count, self.count + added)
        if new.stop > len(self.xyz):
            raise ValueError(f"xyz: expected at most {len(self.xyz) - self.count} new points, got {added}")
        self.xyz[new], self.features[new] = xyz[fresh], features[fresh]
        self.count = new.stop
        return added
