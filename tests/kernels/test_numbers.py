# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Every number that a public function takes may be NumPy's, and is refused by name if it is no such number."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mirage_kernels import Cameras, VoxelCache, check, group_voxels, pool_depth, splat, unproject, visible

K = torch.tensor([[60.0, 0, 40], [0, 60, 22], [0, 0, 1]])
VIEW = Cameras(K, torch.eye(4), (44, 80))
G = torch.Generator().manual_seed(0)
XYZ, FEATURES = torch.rand(100, 3, generator=G) + torch.tensor([0, 0, 1.0]), torch.randn(100, 4, generator=G)
DEPTH, MAPS, ROW = torch.full((1, 44, 80), 2.0), torch.randn(1, 4, 4, 8, generator=G), torch.zeros(1).long()


def cache(**options: Any) -> VoxelCache:
    filled = VoxelCache(0.1, 4, **options)
    filled.insert(XYZ, FEATURES, XYZ[:, 0].clone())
    return filled


def touched(stamp: Any) -> Any:
    filled = cache(eviction="untouched")
    filled.touch(ROW, stamp)
    return filled.state_dict()["touched"]


REALS: dict[str, Callable[[Any], Any]] = {
    "extent": lambda v: splat(XYZ, FEATURES, VIEW, extent=v),
    "radius": lambda v: splat(XYZ, FEATURES, VIEW, radius=v),
    "band": lambda v: splat(XYZ, FEATURES, VIEW, mode="bilinear", band=v),
    "max_masked": lambda v: (unproject(DEPTH, MAPS, VIEW, max_masked=v), pool_depth(DEPTH, (4, 8), max_masked=v)),
    "voxel_size": lambda v: (group_voxels(XYZ, v), VoxelCache(v, 4).voxel_size),
    "extent_scale": lambda v: (VoxelCache(0.1, 4, extent_scale=v).extent_scale, cache().splat(VIEW, extent_scale=v)),
    "auto_scale": lambda v: VoxelCache("auto", 4, auto_scale=v).auto_scale,
    "tolerance": lambda v: cache().carve(DEPTH, VIEW, tolerance=v),
    "left": lambda v: VIEW.crop(0, v, (3, 4)).intrinsics,
    "top": lambda v: VIEW.crop(v, 0, (3, 4)).intrinsics,
    "up[1]": lambda v: Cameras.look_at(torch.zeros(1, 3), torch.ones(3), K, (4, 5), up=(0, v, 0)).cam2world,
}
INTEGERS: dict[str, Callable[[Any], Any]] = {
    "min_valid": lambda v: unproject(DEPTH, MAPS, VIEW, min_valid=v),
    "num_groups": lambda v: visible(XYZ, VIEW, groups=torch.zeros(100).long(), num_groups=v),
    "channels": lambda v: VoxelCache(0.1, v).channels,
    "max_rows": lambda v: (VoxelCache(0.1, 4, max_rows=v).max_rows, cache().evict(max_rows=v)),
    "stamp": lambda v: (cache().insert(XYZ, FEATURES, stamp=v), touched(v)),
    "grid[0]": lambda v: pool_depth(DEPTH, (v, 5)),
    "size[1]": lambda v: (Cameras(K, torch.eye(4), (5, v)).size, VIEW.rescale((5, v)).intrinsics),
}
NOT_FINITE = (math.nan, math.inf, -math.inf, 1e39, -1e39, 10**400, np.float32("nan"), np.float64("inf"))
NO_NUMBERS = ("1", b"1", [1], (1,), 1j, np.array([0.5, 0.5]), np.bool_(True), object())


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, tuple):
        return all(same(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("name", REALS)
def test_real_numbers(name: str) -> None:
    expected = REALS[name](0.5)
    for kind in (np.float64, np.float32, np.float16, Fraction):
        assert same(REALS[name](kind(0.5)), expected), kind
    for wrong in NOT_FINITE:
        with pytest.raises(ValueError, match="^" + name.replace("[", r"\[") + ": expected "):
            REALS[name](wrong)
    for wrong in NO_NUMBERS:
        with pytest.raises(TypeError, match="^" + name.replace("[", r"\[") + ": expected "):
            REALS[name](wrong)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name: str) -> None:
    expected = INTEGERS[name](3)
    for kind in (np.int64, np.int32, np.int8, np.uint8):
        assert same(INTEGERS[name](kind(3)), expected), kind
    assert same(INTEGERS[name](torch.tensor(3)), expected)  # what has __index__ is an integer
    for wrong in (-(1 << 63) - 1, 1 << 63, 10**30, np.uint64(1 << 63)):
        with pytest.raises(ValueError, match="^" + name.replace("[", r"\[") + ": expected "):
            INTEGERS[name](wrong)
    for wrong in (*NO_NUMBERS, 3.0, math.nan, True, np.float32(3), torch.tensor(3.0), torch.tensor(True)):
        with pytest.raises(TypeError, match="^" + name.replace("[", r"\[") + ": expected "):
            INTEGERS[name](wrong)


def test_choices_of_another_type() -> None:
    for wrong in (None, 1, np.array(["nearest"]), torch.zeros(2), ["nearest"]):
        with pytest.raises(ValueError, match=r"^mode: expected 'nearest' or 'bilinear', got "):
            check.choice("mode", wrong, ("nearest", "bilinear"))


def test_numbers_above_zero() -> None:
    assert check.positive("step", np.float32(0.5)) == 0.5
    for wrong in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^step: expected a number above 0, got "):
            check.positive("step", wrong)
