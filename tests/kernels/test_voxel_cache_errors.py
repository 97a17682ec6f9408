# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Every wrong argument to a voxel cache gets one error that names it, and changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from cache_steps import snapshot
from every_backend import assert_refused

from mirage_kernels import VoxelCache, testing
from mirage_kernels.testing import same_bits

XYZ, FEATURES = torch.arange(21.0).reshape(7, 3), torch.zeros(7, 5)
DEPTH, VIEWS = torch.ones(3, 6, 9), testing.plain_cameras(3, (6, 9))
ROWS = torch.tensor([0, 6, -1])
MANY = 1 << 31


def make(**options: Any) -> VoxelCache:
    return VoxelCache(**({"voxel_size": 0.1, "channels": 5} | options))


def filled() -> VoxelCache:
    cache = make()
    cache.insert(XYZ, FEATURES)
    return cache


CACHE = filled()


def insert(cache: VoxelCache = CACHE, **wrong: Any) -> None:
    given = {"xyz": XYZ, "features": FEATURES} | wrong
    cache.insert(given.pop("xyz"), given.pop("features"), **given)


def first_insert(**wrong: Any) -> None:
    insert(make(voxel_size="auto"), **wrong)


def features(cache: VoxelCache = CACHE, **wrong: Any) -> None:
    cache.features(**({"index": ROWS} | wrong))


def feature_maps(cache: VoxelCache = CACHE, **wrong: Any) -> None:
    cache.feature_maps(**({"index": ROWS[None, None]} | wrong))


def read(cache: VoxelCache = CACHE, **wrong: Any) -> None:
    cache.splat(**({"cameras": VIEWS} | wrong))


def carve(cache: VoxelCache = CACHE, **wrong: Any) -> None:
    cache.carve(**({"depth": DEPTH, "cameras": VIEWS} | wrong))


def evict(cache: VoxelCache = CACHE, **wrong: Any) -> None:
    cache.evict(**({"max_rows": 3} | wrong))


def touch(cache: VoxelCache = CACHE, **wrong: Any) -> None:
    cache.touch(**({"index": ROWS, "stamp": 1} | wrong))


def load_state(cache: VoxelCache = CACHE, **wrong: Any) -> None:
    """Load a state; ``without`` names a tensor to omit."""
    given = CACHE.state_dict() | wrong
    given.pop(given.pop("without", ""), None)
    cache.load_state_dict(given)


def load_state_of(cache: VoxelCache = CACHE, **wrong: Any) -> None:
    cache.load_state_dict(**wrong)


def from_state(**wrong: Any) -> None:
    VoxelCache.from_state_dict(**({"settings": CACHE.settings, "tensors": CACHE.state_dict()} | wrong))


def move(**wrong: Any) -> None:
    CACHE.to(**wrong)


def bools(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.bool)


CASES = [
    (make, {"voxel_size": 0.0}, ValueError, "voxel_size: expected between 1e-18 and 1e18, got 0.0"),
    (make, {"voxel_size": -0.1}, ValueError, "voxel_size: expected between 1e-18 and 1e18, got -0.1"),
    (make, {"voxel_size": 1e19}, ValueError, "voxel_size: expected between 1e-18 and 1e18, got 1e+19"),
    (make, {"voxel_size": math.nan}, ValueError, "voxel_size: expected a finite number, got nan"),
    (make, {"voxel_size": "small"}, TypeError, "voxel_size: expected a number, got str"),
    (make, {"voxel_size": None}, TypeError, "voxel_size: expected a number, got NoneType"),
    (make, {"channels": -1}, ValueError, "channels: expected 0 to 16777216, got -1"),
    (make, {"channels": 5.0}, TypeError, "channels: expected an integer, got float"),
    (make, {"channels": True}, TypeError, "channels: expected an integer, got bool"),
    (make, {"dtype": torch.float64}, ValueError, "dtype: expected float32, bfloat16 or float16, got float64"),
    (make, {"dtype": "float32"}, TypeError, "dtype: expected a torch.dtype, got str"),
    (make, {"device": "nowhere"}, ValueError, "device: expected a torch.device or its name, got 'nowhere'"),
    (make, {"device": 0}, TypeError, "device: expected a torch.device or its name, got int"),
    (make, {"fusion": "sum"}, ValueError, "fusion: expected 'best', 'latest' or 'mean', got 'sum'"),
    (make, {"fusion": None}, ValueError, "fusion: expected 'best', 'latest' or 'mean', got None"),
    (make, {"storage": "int4"}, ValueError, "storage: expected 'int8', got 'int4'"),
    (make, {"storage": torch.int8}, ValueError, "storage: expected 'int8', got torch.int8"),
    (make, {"storage": "int8", "fusion": "mean"}, ValueError, "storage: expected None with fusion 'mean', got 'int8'"),
    (make, {"max_rows": 0}, ValueError, "max_rows: expected 1 to 2147483647, got 0"),
    (make, {"max_rows": MANY}, ValueError, "max_rows: expected 1 to 2147483647, got 2147483648"),
    (make, {"max_rows": 9.0}, TypeError, "max_rows: expected an integer, got float"),
    (make, {"max_bytes": 0}, ValueError, "max_bytes: expected at least 1, got 0"),
    (make, {"max_bytes": 100}, ValueError, "max_bytes: expected at least 400 bytes, the size of a row, got 100"),
    (make, {"max_bytes": "1 GB"}, TypeError, "max_bytes: expected an integer, got str"),
    (make, {"eviction": "farthest"}, ValueError, "eviction: expected 'oldest' or 'untouched', got 'farthest'"),
    (make, {"extent_scale": -0.1}, ValueError, "extent_scale: expected at least 0, got -0.1"),
    (make, {"extent_scale": math.inf}, ValueError, "extent_scale: expected a finite number, got inf"),
    (make, {"extent_scale": None}, TypeError, "extent_scale: expected a number, got NoneType"),
    (make, {"auto_scale": 0.0}, ValueError, "auto_scale: expected at least 1e-06, got 0.0"),
    (make, {"auto_scale": "half"}, TypeError, "auto_scale: expected a number, got str"),
    (insert, {"xyz": [1, 2, 3]}, TypeError, "xyz: expected a tensor, got list"),
    (insert, {"xyz": XYZ.T}, ValueError, "xyz: expected (N, 3), got (3, 7)"),
    (insert, {"xyz": XYZ.half()}, TypeError, "xyz: expected float32 or float64, got float16"),
    (insert, {"xyz": XYZ.to("meta")}, ValueError, "xyz: expected a tensor on cpu like the cache, got meta"),
    (insert, {"xyz": XYZ[:1].expand(MANY, 3), "features": FEATURES[:1].expand(MANY, 5)}, ValueError,
     "xyz: expected fewer than 2^31 points, got 2147483648"),
    (insert, {"features": None}, TypeError, "features: expected a tensor, got NoneType"),
    (insert, {"features": FEATURES[:6]}, ValueError, "features: expected (N=7, C=5), got (6, 5)"),
    (insert, {"features": FEATURES[:, :4]}, ValueError, "features: expected (N=7, C=5), got (7, 4)"),
    (insert, {"features": FEATURES.bfloat16()}, TypeError, "features: expected float32, got bfloat16"),
    (insert, {"features": FEATURES.to("meta")}, ValueError,
     "features: expected a tensor on cpu like the cache, got meta"),
    (insert, {"footprint": 0.1}, TypeError, "footprint: expected a tensor, got float"),
    (insert, {"footprint": XYZ}, ValueError, "footprint: expected (N=7,), got (7, 3)"),
    (insert, {"footprint": torch.ones(7).half()}, TypeError, "footprint: expected float32 or float64, got float16"),
    (insert, {"footprint": torch.ones(7, device="meta")}, ValueError,
     "footprint: expected a tensor on cpu like the cache, got meta"),
    (insert, {"valid": [True] * 7}, TypeError, "valid: expected a tensor, got list"),
    (insert, {"valid": bools(6)}, ValueError, "valid: expected (N=7,), got (6,)"),
    (insert, {"valid": torch.ones(7).int()}, TypeError, "valid: expected bool, uint8, float32, float64"),
    (insert, {"valid": bools(7).to("meta")}, ValueError, "valid: expected a tensor on cpu like the cache, got meta"),
    (insert, {"stamp": 1.5}, TypeError, "stamp: expected an integer, got float"),
    (insert, {"stamp": 1 << 63}, ValueError, "stamp: expected -9223372036854775808 to 9223372036854775807, got"),
    (first_insert, {}, ValueError,
     "footprint: expected (N,) on the first insert, because voxel_size is 'auto', got None"),
    (first_insert, {"footprint": torch.full((7,), 1e30)}, ValueError,
     "footprint: expected between 1e-18 and 1e18, got"),
    (features, {"index": [0]}, TypeError, "index: expected a tensor, got list"),
    (features, {"index": ROWS[None]}, ValueError, "index: expected (N,), got (1, 3)"),
    (features, {"index": ROWS.int()}, TypeError, "index: expected int64, got int32"),
    (features, {"index": ROWS.to("meta")}, ValueError, "index: expected a tensor on cpu like the cache, got meta"),
    (feature_maps, {"index": ROWS}, ValueError, "index: expected (V, h, w), got (3,)"),
    (feature_maps, {"index": ROWS[None, None].int()}, TypeError, "index: expected int64, got int32"),
    (read, {"cameras": DEPTH}, TypeError, "cameras: expected Cameras, got Tensor"),
    (read, {"cameras": VIEWS.to("meta")}, ValueError, "cameras: expected cameras on cpu like the cache, got meta"),
    (read, {"valid": True}, TypeError, "valid: expected a tensor, got bool"),
    (read, {"valid": bools(6)}, ValueError, "valid: expected (rows=7,), got (6,)"),
    (read, {"valid": torch.ones(7).int()}, TypeError, "valid: expected bool, uint8, float32, float64"),
    (read, {"valid": bools(7).to("meta")}, ValueError, "valid: expected a tensor on cpu like the cache, got meta"),
    (read, {"extent_scale": -1}, ValueError, "extent_scale: expected at least 0, got -1"),
    (read, {"extent_scale": math.nan}, ValueError, "extent_scale: expected at least 0, got nan"),
    (read, {"extent_scale": "wide"}, TypeError, "extent_scale: expected a number, got str"),
    (read, {"near": 0.0}, ValueError, "near: expected at least 1e-06, got 0.0"),
    (read, {"near": math.nan}, ValueError, "near: expected at least 1e-06, got nan"),
    (read, {"near": "door"}, TypeError, "near: expected a number, got str"),
    (carve, {"depth": None}, TypeError, "depth: expected a tensor, got NoneType"),
    (carve, {"depth": DEPTH[0]}, ValueError, "depth: expected (V, H, W), got (6, 9)"),
    (carve, {"depth": DEPTH.half()}, TypeError, "depth: expected float32 or float64, got float16"),
    (carve, {"depth": DEPTH.to("meta")}, ValueError, "depth: expected a tensor on cpu like the cache, got meta"),
    (carve, {"cameras": None}, TypeError, "cameras: expected Cameras, got NoneType"),
    (carve, {"cameras": VIEWS[:2]}, ValueError,
     "cameras: expected V=3 cameras, got 2"),
    (carve, {"cameras": VIEWS.rescale((3, 4))}, ValueError,
     "cameras: expected cameras of depth's size (H=6, W=9), got (3, 4)"),
    (carve, {"cameras": VIEWS.to("meta")}, ValueError, "cameras: expected cameras on cpu like the cache, got meta"),
    (carve, {"tolerance": -0.1}, ValueError, "tolerance: expected at least 0, got -0.1"),
    (carve, {"tolerance": math.inf}, ValueError, "tolerance: expected a finite number, got inf"),
    (carve, {"tolerance": None}, TypeError, "tolerance: expected a number, got NoneType"),
    (evict, {"max_rows": None}, ValueError, "max_rows: expected either max_rows or max_bytes, got neither"),
    (evict, {"max_rows": 0, "max_bytes": 9999}, ValueError,
     "max_rows: expected either max_rows or max_bytes, got both"),
    (evict, {"max_rows": -1}, ValueError, "max_rows: expected at least 0, got -1"),
    (evict, {"max_rows": 2.0}, TypeError, "max_rows: expected an integer, got float"),
    (evict, {"max_rows": None, "max_bytes": 9}, ValueError, "max_bytes: expected at least 256, got 9"),
    (evict, {"max_rows": None, "max_bytes": 1e6}, TypeError, "max_bytes: expected an integer, got float"),
    (evict, {"eviction": "newest"}, ValueError, "eviction: expected 'oldest', 'untouched' or 'farthest', got 'newest'"),
    (evict, {"eviction": "farthest"}, TypeError, "position: expected a tensor, got NoneType"),
    (evict, {"eviction": "farthest", "position": XYZ}, ValueError, "position: expected (3,), got (7, 3)"),
    (evict, {"eviction": "farthest", "position": ROWS}, TypeError, "position: expected float32, got int64"),
    (evict, {"eviction": "farthest", "position": torch.full((3,), torch.nan)}, ValueError,
     "position: expected finite coordinates, got [nan, nan, nan]"),
    (evict, {"eviction": "farthest", "position": XYZ[0].to("meta")}, ValueError,
     "position: expected a tensor on cpu like the cache, got meta"),
    (evict, {"position": XYZ[0]}, ValueError, "position: expected None with eviction 'oldest', got Tensor"),
    (touch, {"index": 3}, TypeError, "index: expected a tensor, got int"),
    (touch, {"index": ROWS.int()}, TypeError, "index: expected int64, got int32"),
    (touch, {"index": ROWS.to("meta")}, ValueError, "index: expected a tensor on cpu like the cache, got meta"),
    (touch, {"index": ROWS + 1}, ValueError, "index: expected rows below 7, got 7 at position"),
    (touch, {"stamp": None}, TypeError, "stamp: expected an integer, got NoneType"),
    (touch, {"stamp": -(1 << 63) - 1}, ValueError, "stamp: expected -9223372036854775808 to 9223372036854775807, got"),
    (load_state_of, {"tensors": [XYZ]}, TypeError, "tensors: expected a dict of tensors, got list"),
    (load_state, {"scale": torch.ones(7)}, ValueError,
     "tensors: expected keys, xyz, footprint, features, stamp, got also scale"),
    (load_state, {"without": "stamp"}, ValueError,
     "tensors: expected an entry 'stamp', got only keys, xyz, footprint, features"),
    (load_state, {"without": "keys"}, ValueError,
     "tensors: expected an entry 'keys', got only xyz, footprint, features, stamp"),
    (load_state, {"keys": 7}, TypeError, "keys: expected a tensor, got int"),
    (load_state, {"keys": CACHE.state.keys.int()}, TypeError, "keys: expected int64, got int32"),
    (load_state, {"keys": torch.tensor([5, 6, 7, 6, 8, 6, 5])}, ValueError,
     "keys: expected unique packed voxels, got 3 duplicates (first: row 3)"),
    (load_state, {"keys": 3 - torch.arange(7)}, ValueError,
     "keys: expected packed voxels, which are not negative, got -1 at row 4"),
    (load_state, {"xyz": XYZ + 1}, ValueError,
     "keys: expected the voxels of xyz of size 0.1, got "),
    (load_state, {"xyz": XYZ[:6]}, ValueError, "xyz: expected (rows=7, 3), got (6, 3)"),
    (load_state, {"features": FEATURES[:, :4]}, ValueError, "features: expected (rows=7, 5), got (7, 4)"),
    (load_state, {"features": FEATURES.half()}, TypeError, "features: expected float32, got float16"),
    (load_state, {"footprint": torch.ones(7, device="meta")}, ValueError,
     "footprint: expected a tensor on cpu like the cache, got meta"),
    (from_state, {"settings": None}, TypeError, "settings: expected a dict, got NoneType"),
    (from_state, {"settings": {}}, ValueError, "dtype: expected 'float32', 'bfloat16' or 'float16', got None"),
    (from_state, {"settings": CACHE.settings | {"channels": 4}}, ValueError,
     "features: expected (rows=7, 4), got (7, 5)"),
    (from_state, {"settings": CACHE.settings | {"max_rows": 6}}, ValueError,
     "keys: expected at most 6 rows, the budget of the cache, got 7"),
    (from_state, {"tensors": None}, TypeError, "tensors: expected a dict of tensors, got NoneType"),
    (from_state, {"tensors": {"keys": 7}}, TypeError, "keys: expected a tensor, got int"),
    (from_state, {"device": "nowhere"}, ValueError, "device: expected a torch.device or its name, got 'nowhere'"),
    (move, {"device": None}, TypeError, "device: expected a torch.device or its name, got NoneType"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "wrong", "kind", "message"), CASES, ids=[f"{c[0].__name__}-{c[3][:40]}" for c in CASES]
)
def test_wrong_argument(call: Any, wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    before, nbytes = snapshot(CACHE), CACHE.nbytes
    assert_refused(call, wrong, kind, message)
    assert all(same_bits(a, b) for a, b in zip(before.values(), snapshot(CACHE).values(), strict=True))
    assert CACHE.nbytes == nbytes


def test_calls_without_a_wrong_argument_succeed() -> None:
    make()
    from_state()
    first_insert(footprint=torch.ones(7))
    for call in (insert, features, read, carve, touch, load_state, evict):
        call(cache=CACHE.clone())  # type: ignore[operator]


def test_index_out_of_range_is_an_error() -> None:
    """Unused capacity is uninitialized memory, so the kernels check every index."""
    cache = filled()
    cache.insert(XYZ + 100, FEATURES)
    cache.evict(max_rows=3)
    with pytest.raises((RuntimeError, IndexError)):
        cache.features(torch.tensor([3]))
