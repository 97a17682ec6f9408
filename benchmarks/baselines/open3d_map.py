# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Voxel features in Open3D's hash table (int32 x 3 keys).

The table holds keys alone, and features lie beside it in the rows that it names: quicker than handing all features to
``HashMap.insert``, which is quicker than ``voxel_down_sample``. Which of a voxel's points it keeps is left to the order
in which threads happen to run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def build(open3d: Any, xyz: Tensor, features: Tensor, size: float) -> tuple[Any, Tensor]:
    """From N points with features (N, C), the table of voxels, and features (N, C), of which it names the rows in use:
    those of one point in each voxel."""
    core = open3d.core
    keys = (xyz * (1 / torch.tensor(size)).item()).floor().int()
    table = core.HashSet(len(xyz), core.int32, (3,))
    row, new = (torch.from_numpy(x.numpy()) for x in table.insert(core.Tensor.from_numpy(keys.numpy())))
    kept = torch.empty_like(features)
    kept[row[new].long()] = features[new]
    return table, kept
