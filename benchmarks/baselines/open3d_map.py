# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Voxel features in Open3D's hash table (int32 x 3 keys).

The table holds only keys, and features are stored separately in the rows that it returns: faster than passing all
features to ``HashMap.insert``, which is faster than ``voxel_down_sample``. Which point of a voxel is kept depends on
the order of threads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def build(open3d: Any, xyz: Tensor, features: Tensor, size: float) -> tuple[Any, Tensor]:
    """Build the table of voxels of N points with features (N, C).

    Returns:
        The table, and features (N, C); the rows that the table names hold one point of each voxel.
    """
    core = open3d.core
    keys = (xyz * (1 / torch.tensor(size)).item()).floor().int()
    table = core.HashSet(len(xyz), core.int32, (3,))
    row, new = (torch.from_numpy(x.numpy()) for x in table.insert(core.Tensor.from_numpy(keys.numpy())))
    kept = torch.empty_like(features)
    kept[row[new].long()] = features[new]
    return table, kept
