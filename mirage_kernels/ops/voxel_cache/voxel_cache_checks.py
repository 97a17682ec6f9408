# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the values of rows that come from a file, which may say anything."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import check
from . import voxel_cache_operators as operators


def check_values(tensors: dict[str, Tensor], dtype: torch.dtype, voxel_size: float | None) -> None:
    """Check that rows could be those of a cache: that inserts could have made them.

    Args:
        tensors: the row tensors, by name; their shapes and dtypes have been checked.
        dtype: dtype of the cache's features, as they are read.
        voxel_size: side of a voxel in world units, rounded to float32; None if it is not set yet.

    Raises:
        ValueError: a value is none of a cache. The message names the tensor and the first row.
    """
    keys, xyz, footprint = tensors["keys"], tensors["xyz"], tensors["footprint"]
    if voxel_size is None:
        if len(keys):
            expected = "no rows, because the voxel size is 'auto' and not set yet (from_state_dict restores it)"
            raise check.value_error("keys", expected, f"{len(keys)} rows")
        return
    _check_all("xyz", "finite numbers", xyz, xyz.isfinite().all(1))
    found, in_range = operators.voxels_of(xyz, voxel_size)
    _check_all("keys", f"the voxels of xyz of size {voxel_size:g}", keys, in_range & (keys == found))
    # 0 is accepted: caches of earlier versions have such rows.
    _check_all("footprint", "finite numbers of at least 0", footprint, footprint.isfinite() & (footprint >= 0))
    features, largest = tensors["features"], torch.finfo(dtype).max
    if "scale" in tensors:
        scale = tensors["scale"]
        _check_all(
            "scale", f"0 to {largest / 127:g}", scale, (scale >= 0) & (scale * 127 <= largest) & scale.isfinite()
        )
    elif "count" in tensors:
        count = tensors["count"]
        _check_all("count", "at least 1", count, count >= 1)
        features = (features / count[:, None]).to(dtype)
    if features.dtype.is_floating_point:
        _check_all("features", "finite numbers", features, features.isfinite().all(1))


def _check_all(name: str, expected: str, values: Tensor, good: Tensor) -> None:
    """Raise an error that shows the first row that is not good."""
    if not bool(good.all()):
        row = int((~good).nonzero()[0])
        raise check.value_error(name, expected, f"{str(values[row].tolist())[:60]} at row {row}")


def check_voxel_size(name: str, value: Any) -> float:
    """Check a voxel size and return it rounded to float32."""
    size = float(torch.tensor(check.number(name, value), dtype=torch.float32, device="cpu").item())
    if not 1e-18 < size < 1e18:
        raise check.value_error(name, "between 1e-18 and 1e18", value)
    return size


def largest_magnitude(values: Tensor) -> float:
    """Return the largest magnitude of values, NaN if one is NaN. It waits for the device."""
    if not values.numel():
        return 0.0
    low, high = values.aminmax()
    return max(-low.item(), high.item())
