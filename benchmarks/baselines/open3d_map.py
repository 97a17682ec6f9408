# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Voxel features in Open3D's hash map (``open3d.core.HashMap``, int32 x 3 keys)."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def build(open3d: Any, xyz: Tensor, features: Tensor, size: float) -> Any:
    """A map from voxel to the features of the first point that came; N points, C float32 channels."""
    core = open3d.core
    keys = core.Tensor.from_numpy((xyz / size).floor().int().numpy())
    values = core.Tensor.from_numpy(features.numpy())
    table = core.HashMap(len(xyz), core.int32, (3,), core.float32, (features.shape[1],))
    table.insert(keys, values)
    return table
