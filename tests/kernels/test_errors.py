# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Every wrong argument raises one error, before any work, that names it, what was expected and what was received."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from every_backend import assert_refused

from mirage_kernels import Cameras, Layers, composite, group_voxels, overlap, splat, testing, unproject, visible

K = torch.tensor([[50.0, 0, 40], [0, 45.0, 22], [0, 0, 1]])
POSE = torch.eye(4)
XYZ, FEATURES = torch.zeros(7, 3), torch.zeros(7, 5)
CLOUDS, OFFSETS = torch.zeros(3, 7, 3), torch.tensor([0, 2, 2, 7])
DEPTH, MAPS = torch.ones(2, 12, 20), torch.zeros(2, 5, 3, 4)
SETS, GROUPS = torch.zeros(3, 2, dtype=torch.int64), torch.zeros(7, dtype=torch.int64)
VIEWS, CAMERAS = testing.plain_cameras(3, (6, 9)), testing.plain_cameras(2, (12, 20))


def changed(matrix: torch.Tensor, row: int, column: int, value: float) -> torch.Tensor:
    matrix = matrix.clone()
    matrix[..., row, column] = value
    return matrix


LAYERS = Layers(torch.zeros(1, 2, 3, 4, dtype=torch.int64), torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 4))


def call_composite(**wrong: Any) -> None:
    given = {"features": FEATURES, "layers": LAYERS, "weights": torch.zeros(1, 2, 3, 4)} | wrong
    composite(given.pop("features"), given.pop("layers"), given.pop("weights"), **given)


class OnMeta:
    """Cameras on another device than the points."""

    def __new__(cls) -> Cameras:
        return VIEWS.to("meta")


def call_splat(**wrong: Any) -> None:
    given = {"xyz": XYZ, "features": FEATURES, "cameras": VIEWS} | wrong
    splat(given.pop("xyz"), given.pop("features"), given.pop("cameras"), **given)


def call_unproject(**wrong: Any) -> None:
    given = {"depth": DEPTH, "features": MAPS, "cameras": CAMERAS} | wrong
    unproject(given.pop("depth"), given.pop("features"), given.pop("cameras"), **given)


def call_visible(**wrong: Any) -> None:
    given = {"xyz": XYZ, "cameras": VIEWS} | wrong
    visible(given.pop("xyz"), given.pop("cameras"), **given)


def call_overlap(**wrong: Any) -> None:
    overlap(**({"a": SETS, "b": SETS} | wrong))


def call_group_voxels(**wrong: Any) -> None:
    group_voxels(**({"xyz": XYZ, "voxel_size": 0.1} | wrong))


def call_cameras(**wrong: Any) -> None:
    Cameras(**({"intrinsics": K, "cam2world": POSE, "size": (44, 80)} | wrong))


def call_world2cam(**wrong: Any) -> None:
    Cameras.from_world2cam(**({"intrinsics": K, "world2cam": POSE, "size": (44, 80)} | wrong))


def call_look_at(**wrong: Any) -> None:
    Cameras.look_at(**({"eye": torch.zeros(2, 3), "target": torch.ones(3), "intrinsics": K, "size": (4, 5)} | wrong))


def call_interpolate(**wrong: Any) -> None:
    VIEWS.interpolate(**wrong)


def call_rescale(**wrong: Any) -> None:
    VIEWS.rescale(**wrong)


CASES = [
    # splat
    (call_splat, {"xyz": [1, 2, 3]}, TypeError, "xyz: expected a tensor, got list"),
    (call_splat, {"xyz": torch.zeros(7, 4)}, ValueError, "xyz: expected (N, 3), got (7, 4)"),
    (call_splat, {"xyz": torch.zeros(7)}, ValueError, "xyz: expected (N, 3), got (7,)"),
    (call_splat, {"xyz": XYZ.half()}, TypeError, "xyz: expected float32 or float64, got float16"),
    (call_splat, {"xyz": XYZ[None, None]}, ValueError, "xyz: expected (N, 3), got (1, 1, 7, 3)"),
    (call_splat, {"features": "red"}, TypeError, "features: expected a tensor, got str"),
    (call_splat, {"features": torch.zeros(8, 5)}, ValueError, "features: expected (N=7, C), got (8, 5)"),
    (call_splat, {"features": torch.zeros(7, 5, 1)}, ValueError, "features: expected (N=7, C), got (7, 5, 1)"),
    (call_splat, {"features": FEATURES.double()}, TypeError,
     "features: expected float32, bfloat16, float16, int64, int32, uint8 or bool, got float64"),
    (call_splat, {"features": FEATURES.double(), "mode": "bilinear"}, TypeError,
     "features: expected float32, bfloat16 or float16, got float64"),
    (call_splat, {"features": FEATURES.long(), "mode": "bilinear"}, TypeError,
     "features: expected float32, bfloat16 or float16 in mode 'bilinear', got int64"),
    (call_splat, {"features": FEATURES.to("meta")}, ValueError,
     "features: expected a tensor on cpu like xyz, got meta"),
    (call_splat, {"cameras": POSE}, TypeError, "cameras: expected Cameras, got Tensor"),
    (call_splat, {"cameras": OnMeta()}, ValueError, "cameras: expected cameras on cpu like xyz, got meta"),
    (call_splat, {"valid": torch.zeros(7).long()}, TypeError,
     "valid: expected bool, uint8, float32, float64, bfloat16 or float16, got int64"),
    (call_splat, {"valid": torch.zeros(6, dtype=torch.bool)}, ValueError, "valid: expected (N=7,), got (6,)"),
    (call_splat, {"valid": torch.zeros(2, 7)}, ValueError, "valid: expected (V=3, N=7), got (2, 7)"),
    (call_splat, {"extent": -1.0}, ValueError, "extent: expected at least 0, got -1.0"),
    (call_splat, {"extent": math.nan}, ValueError, "extent: expected at least 0, got nan"),
    (call_splat, {"extent": math.inf}, ValueError, "extent: expected a finite number, got inf"),
    (call_splat, {"extent": "big"}, TypeError, "extent: expected a number, got str"),
    (call_splat, {"extent": torch.zeros(3)}, ValueError, "extent: expected (N=7,), got (3,)"),
    (call_splat, {"extent": torch.zeros(7).half()}, TypeError, "extent: expected float32 or float64, got float16"),
    (call_splat, {"extent": torch.zeros(7, device="meta")}, ValueError,
     "extent: expected a tensor on cpu like xyz, got meta"),
    (call_splat, {"radius": -0.5}, ValueError, "radius: expected at least 0, got -0.5"),
    (call_splat, {"radius": math.inf}, ValueError, "radius: expected at most 1.67772e+07, got inf"),
    (call_splat, {"radius": math.nan}, ValueError, "radius: expected at least 0, got nan"),
    (call_splat, {"radius": "large"}, TypeError, "radius: expected a number, got str"),
    (call_splat, {"radius": None}, TypeError, "radius: expected a number, got NoneType"),
    (call_splat, {"radius": torch.arange(10.0)}, ValueError, "radius: expected (N=7,), got (10,)"),
    (call_splat, {"radius": torch.arange(7)}, TypeError, "radius: expected float32 or float64, got int64"),
    (call_splat, {"radius": 0.5, "extent": 0.1}, ValueError, "radius: expected 0 if extent is given, got 0.5"),
    (call_splat, {"radius": torch.ones(7), "extent": 0.1}, ValueError,
     "radius: expected 0 if extent is given, got a tensor"),
    (call_splat, {"mode": "bilinear", "radius": torch.ones(7)}, ValueError,
     "radius: expected 0 in mode 'bilinear', got a tensor"),
    (call_splat, {"near": 0.0}, ValueError, "near: expected at least 1e-06, got 0.0"),
    (call_splat, {"near": -1}, ValueError, "near: expected at least 1e-06, got -1"),
    (call_splat, {"near": math.nan}, ValueError, "near: expected at least 1e-06, got nan"),
    (call_splat, {"near": math.inf}, ValueError, "near: expected at most 3e+38, got inf"),
    (call_splat, {"near": None}, TypeError, "near: expected a number, got NoneType"),
    (call_splat, {"near": torch.tensor(1e-6)}, TypeError, "near: expected a number, got Tensor"),
    (call_splat, {"near": 0.0, "mode": "bilinear"}, ValueError, "near: expected at least 1e-06, got 0.0"),
    (call_splat, {"far": 1e-7}, ValueError, "far: expected more than near (1e-06), got 1e-07"),
    (call_splat, {"far": 2, "near": 2.0}, ValueError, "far: expected more than near (2), got 2"),
    (call_splat, {"far": math.nan}, ValueError, "far: expected a finite number, got nan"),
    (call_splat, {"far": "sky"}, TypeError, "far: expected a number, got str"),
    (call_splat, {"background": torch.zeros(3)}, ValueError, "background: expected (C=5,), got (3,)"),
    (call_splat, {"background": torch.zeros(5).half()}, TypeError, "background: expected float32, got float16"),
    (call_splat, {"background": 256, "features": FEATURES.byte()}, ValueError,
     "background: expected 0 to 255, got 256"),
    (call_splat, {"background": 0.5, "features": FEATURES.long()}, TypeError,
     "background: expected an integer, got float"),
    (call_splat, {"background": 2, "features": FEATURES.bool()}, ValueError, "background: expected 0 to 1, got 2"),
    *((call_splat, {"background": value, "features": FEATURES.bool()}, TypeError,
       f"background: expected an integer, got {type(value).__name__}") for value in (0.5, math.nan, "x")),
    (call_splat, {"background": 1e5, "features": FEATURES.half()}, ValueError,
     "background: expected at most 65504, got 100000.0"),
    (call_splat, {"offsets": [0, 7]}, TypeError, "offsets: expected a tensor, got list"),
    (call_splat, {"offsets": OFFSETS.int()}, TypeError, "offsets: expected int64, got int32"),
    (call_splat, {"offsets": OFFSETS[:0]}, ValueError, "offsets: expected (B + 1,), got (0,)"),
    (call_splat, {"offsets": OFFSETS[:3]}, ValueError, "cameras: expected a multiple of B=2 cameras, got 3"),
    (call_splat, {"offsets": OFFSETS, "valid": torch.ones(3, 7)}, ValueError, "valid: expected (N=7,), got (3, 7)"),
    (call_splat, {"offsets": OFFSETS, "xyz": CLOUDS}, ValueError, "xyz: expected (N, 3), got (3, 7, 3)"),
    (call_splat, {"xyz": CLOUDS}, ValueError, "features: expected (B=3, N=7, C), got (7, 5)"),
    (call_splat, {"xyz": CLOUDS[:2], "features": torch.zeros(2, 7, 5)}, ValueError,
     "cameras: expected a multiple of B=2 cameras, got 3"),
    (call_splat, {"xyz": CLOUDS, "features": None, "valid": torch.ones(7)}, ValueError,
     "valid: expected (B=3, N=7), got (7,)"),
    (call_splat, {"xyz": CLOUDS, "features": None, "extent": torch.ones(7)}, ValueError,
     "extent: expected (B=3, N=7), got (7,)"),
    (call_splat, {"mode": "mean"}, ValueError, "mode: expected 'nearest' or 'bilinear', got 'mean'"),
    (call_splat, {"mode": "bilinear", "extent": torch.ones(7)}, ValueError,
     "extent: expected None in mode 'bilinear', got Tensor"),
    (call_splat, {"mode": "bilinear", "extent": 0.5}, ValueError,
     "extent: expected None in mode 'bilinear', got float"),
    (call_splat, {"mode": "bilinear", "radius": 0.5}, ValueError, "radius: expected 0 in mode 'bilinear', got 0.5"),
    (call_splat, {"mode": "bilinear", "band": -0.1}, ValueError, "band: expected at least 0, got -0.1"),
    (call_splat, {"mode": "bilinear", "k": 2}, ValueError, "k: expected None in mode 'bilinear', got 2"),
    (call_splat, {"k": 0}, ValueError, "k: expected 1 to 256, got 0"),
    (call_splat, {"k": 257}, ValueError, "k: expected 1 to 256, got 257"),
    (call_splat, {"k": 2.0}, TypeError, "k: expected an integer, got float"),
    (call_splat, {"k": True}, TypeError, "k: expected an integer, got bool"),
    (call_splat, {"k": 2, "features": torch.zeros(8, 5)}, ValueError, "features: expected (N=7, C), got (8, 5)"),
    # composite
    (call_composite, {"features": [1.0]}, TypeError, "features: expected a tensor, got list"),
    (call_composite, {"features": torch.zeros(7)}, ValueError, "features: expected (N, C), got (7,)"),
    (call_composite, {"features": torch.zeros(7, 5).double()}, TypeError,
     "features: expected float32, bfloat16 or float16, got float64"),
    (call_composite, {"layers": LAYERS.index}, TypeError,
     "layers: expected Layers, the result of splat with k, got Tensor"),
    (call_composite, {"layers": LAYERS._replace(index=torch.zeros(1, 2, 3))}, TypeError,
     "layers.index: expected int64, got float32"),
    (call_composite, {"layers": LAYERS._replace(index=LAYERS.index[0])}, ValueError,
     "layers.index: expected (V, k, h, w), got (2, 3, 4)"),
    (call_composite, {"layers": LAYERS._replace(index=LAYERS.index[:, :0])}, ValueError,
     "layers: expected at least 1 layer, got 0"),
    (call_composite, {"weights": torch.zeros(1, 3, 3, 4)}, ValueError,
     "weights: expected (V=1, k=2, h=3, w=4), got (1, 3, 3, 4)"),
    (call_composite, {"weights": torch.zeros(1, 2, 3, 4).half()}, TypeError,
     "weights: expected float32, got float16"),
    (call_composite, {"mode": "mean"}, ValueError,
     "mode: expected 'alpha', 'weighted' or 'normalized', got 'mean'"),
    (call_splat, {"mode": "bilinear", "band": None}, TypeError, "band: expected a number, got NoneType"),
    # unproject
    (call_unproject, {"depth": DEPTH[0, 0]}, ValueError, "depth: expected (B, H, W), got (20,)"),
    (call_unproject, {"depth": DEPTH[0]}, ValueError, "features: expected (B=1, C, h, w), got (2, 5, 3, 4)"),
    (call_unproject, {"depth": DEPTH[None]}, ValueError, "depth: expected (B, 1, H, W), got (1, 2, 12, 20)"),
    (call_unproject, {"depth": DEPTH.half()}, TypeError, "depth: expected float32 or float64, got float16"),
    (call_unproject, {"depth": "depth.png"}, TypeError, "depth: expected a tensor, got str"),
    (call_unproject, {"features": MAPS[:1]}, ValueError, "features: expected (B=2, C, h, w), got (1, 5, 3, 4)"),
    (call_unproject, {"features": MAPS[0]}, ValueError, "features: expected (B=2, C, h, w), got (5, 3, 4)"),
    (call_unproject, {"features": MAPS.double()}, TypeError,
     "features: expected float32, bfloat16 or float16, got float64"),
    (call_unproject, {"features": MAPS[..., :0]}, ValueError, "features' grid[1]: expected 1 to 16777216, got 0"),
    (call_unproject, {"features": MAPS[:, :, None].expand(-1, -1, 2, -1, -1)}, ValueError,
     "features: expected (B, C, T, h, w) with B T = 2, the number of depth maps, got (2, 5, 2, 3, 4)"),
    (call_unproject, {"grid": (3, 4)}, ValueError, "grid: expected None if features is given, got (3, 4)"),
    (call_unproject, {"features": None, "grid": 3}, ValueError, "grid: expected (h, w), got 3"),
    (call_unproject, {"depth_type": "disparity"}, ValueError, "depth_type: expected 'z' or 'ray', got 'disparity'"),
    (call_unproject, {"cameras": VIEWS}, ValueError, "cameras: expected B=2 cameras, got 3"),
    (call_unproject, {"cameras": VIEWS[:2]}, ValueError,
     "cameras: expected cameras of depth's size (H=12, W=20), got (6, 9)"),
    (call_unproject, {"cameras": None}, TypeError, "cameras: expected Cameras, got NoneType"),
    (call_unproject, {"cameras": CAMERAS.to("meta")}, ValueError,
     "cameras: expected cameras on cpu like depth, got meta"),
    (call_unproject, {"mask": DEPTH.int()}, TypeError, "mask: expected bool, uint8, float32, float64"),
    (call_unproject, {"mask": DEPTH[0]}, ValueError, "mask: expected (B=2, H, W), got (12, 20)"),
    (call_unproject, {"mask": DEPTH[:, 1:] > 0}, ValueError, "mask: expected (B=2, H=12, W=20), got (2, 11, 20)"),
    (call_unproject, {"pooling": "mean"}, ValueError,
     "pooling: expected 'median', 'nearest', 'min' or 'bilinear', got 'mean'"),
    (call_unproject, {"min_valid": 0}, ValueError, "min_valid: expected at least 1, got 0"),
    (call_unproject, {"min_valid": 1.5}, TypeError, "min_valid: expected an integer, got float"),
    (call_unproject, {"max_masked": 1.5}, ValueError, "max_masked: expected at most 1, got 1.5"),
    (call_unproject, {"max_masked": -0.1}, ValueError, "max_masked: expected at least 0, got -0.1"),
    (call_unproject, {"max_masked": None}, TypeError, "max_masked: expected a number, got NoneType"),
    # visible, overlap, group_voxels
    (call_visible, {"xyz": [1, 2, 3]}, TypeError, "xyz: expected a tensor, got list"),
    (call_visible, {"xyz": torch.zeros(7, 4)}, ValueError, "xyz: expected (N, 3), got (7, 4)"),
    (call_visible, {"xyz": XYZ.half()}, TypeError, "xyz: expected float32 or float64, got float16"),
    (call_visible, {"cameras": POSE}, TypeError, "cameras: expected Cameras, got Tensor"),
    (call_visible, {"cameras": OnMeta()}, ValueError, "cameras: expected cameras on cpu like xyz, got meta"),
    (call_visible, {"valid": torch.zeros(7).int()}, TypeError, "valid: expected bool, uint8, float32, float64"),
    (call_visible, {"valid": torch.zeros(6, dtype=torch.bool)}, ValueError, "valid: expected (N=7,), got (6,)"),
    (call_visible, {"groups": GROUPS.int(), "num_groups": 3}, TypeError, "groups: expected int64, got int32"),
    (call_visible, {"groups": GROUPS[1:], "num_groups": 3}, ValueError, "groups: expected (N=7,), got (6,)"),
    (call_visible, {"groups": GROUPS.to("meta"), "num_groups": 3}, ValueError,
     "groups: expected a tensor on cpu like xyz, got meta"),
    (call_visible, {"groups": GROUPS}, TypeError, "num_groups: expected an integer, got NoneType"),
    (call_visible, {"groups": GROUPS, "num_groups": 3.0}, TypeError, "num_groups: expected an integer, got float"),
    (call_visible, {"groups": GROUPS, "num_groups": -1}, ValueError, "num_groups: expected 0 to 4294967296, got -1"),
    (call_visible, {"num_groups": 7}, ValueError, "num_groups: expected None if groups is None, got 7"),
    (call_overlap, {"a": [[0]]}, TypeError, "a: expected a tensor, got list"),
    (call_overlap, {"a": SETS[0]}, ValueError, "a: expected (A, W), got (2,)"),
    (call_overlap, {"a": SETS.int()}, TypeError, "a: expected int64, got int32"),
    (call_overlap, {"b": SETS.bool()}, TypeError, "b: expected int64, got bool"),
    (call_overlap, {"b": SETS[:, :1]}, ValueError, "b: expected (B, W=2), got (3, 1)"),
    (call_overlap, {"b": SETS.to("meta")}, ValueError, "b: expected a tensor on cpu like a, got meta"),
    (call_group_voxels, {"xyz": XYZ.half()}, TypeError, "xyz: expected float32 or float64, got float16"),
    (call_group_voxels, {"xyz": XYZ.T}, ValueError, "xyz: expected (N, 3), got (3, 7)"),
    (call_group_voxels, {"voxel_size": 0.0}, ValueError, "voxel_size: expected at least 1.17549e-38, got 0.0"),
    (call_group_voxels, {"voxel_size": 1e39}, ValueError, "voxel_size: expected at most 3.40282e+38, got 1e+39"),
    (call_group_voxels, {"voxel_size": math.nan}, ValueError, "voxel_size: expected at least 1.17549e-38, got nan"),
    (call_group_voxels, {"voxel_size": "0.1"}, TypeError, "voxel_size: expected a number, got str"),
    (call_group_voxels, {"valid": torch.zeros(7).int()}, TypeError, "valid: expected bool, uint8, float32, float64"),
    (call_group_voxels, {"valid": torch.zeros(6, dtype=torch.bool)}, ValueError, "valid: expected (N=7,), got (6,)"),
    # Cameras
    (call_cameras, {"intrinsics": [K, "a"]}, TypeError,
     "intrinsics: expected a tensor, an array or nested lists of numbers, got list"),
    (call_cameras, {"intrinsics": K.half()}, TypeError, "intrinsics: expected float32 or float64, got float16"),
    (call_cameras, {"intrinsics": K.expand(2, 3, 3), "cam2world": POSE.expand(3, 4, 4)}, ValueError,
     "intrinsics: expected (V=3, 3, 3), got (2, 3, 3)"),
    (call_cameras, {"intrinsics": K[:2]}, ValueError,
     "intrinsics: expected (V, 3, 3), (V, 4, 4), (V, 4) of [fx, fy, cx, cy], or one of them without V, got (2, 3)"),
    (call_cameras, {"intrinsics": changed(torch.eye(4), 3, 3, 2.0)}, ValueError,
     "intrinsics[0]: expected a last row and column of 0, 0, 0, 1, got [[1.0"),
    (call_cameras, {"intrinsics": K.to("meta")}, ValueError,
     "intrinsics: expected a tensor on cpu like cam2world, got meta"),
    (call_cameras, {"intrinsics": changed(K, 0, 1, 0.5)}, ValueError,
     "intrinsics[0]: expected no skew (0 in row 0, column 1), got 0.5"),
    (call_cameras, {"intrinsics": changed(K, 0, 0, 0.0)}, ValueError,
     "intrinsics[0] fx: expected a focal length above 0, got 0"),
    (call_cameras, {"intrinsics": changed(K, 1, 1, -3.0)}, ValueError,
     "intrinsics[0] fy: expected a focal length above 0, got -3"),
    (call_cameras, {"intrinsics": changed(K, 0, 0, 1e-45)}, ValueError, "intrinsics[0] fx: expected a focal length"),
    (call_cameras, {"intrinsics": changed(K, 0, 2, math.nan)}, ValueError, "intrinsics[0]: expected finite float32"),
    (call_cameras, {"intrinsics": changed(K, 2, 2, 2.0)}, ValueError,
     "intrinsics[0]: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"),
    (call_cameras, {"intrinsics": changed(K, 1, 0, 1.0)}, ValueError,
     "intrinsics[0]: expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]"),
    (call_cameras, {"cam2world": POSE[:, :3]}, ValueError,
     "cam2world: expected (V, 4, 4) or (V, 3, 4), or one of them without V, got (4, 3)"),
    (call_cameras, {"cam2world": changed(POSE, 3, 3, 1.0001)}, ValueError,
     "cam2world[0]: expected a last row of [0, 0, 0, 1], got [0.0, 0.0, 0.0, 1.0001"),
    (call_cameras, {"cam2world": ["a"]}, TypeError,
     "cam2world: expected a tensor, an array or nested lists of numbers, got list"),
    (call_cameras, {"cam2world": POSE.int()}, TypeError, "cam2world: expected float32 or float64, got int32"),
    (call_cameras, {"cam2world": changed(POSE, 0, 0, 1.01)}, ValueError,
     "cam2world[0]: expected a rigid pose (max |R R^T - 1| <= 0.001), got 0.0201"),
    (call_cameras, {"cam2world": changed(POSE, 0, 0, -1.0)}, ValueError,
     "cam2world[0]: expected a rotation, got a mirrored pose (determinant -1)"),
    (call_cameras, {"cam2world": changed(POSE, 3, 0, 1.0)}, ValueError,
     "cam2world[0]: expected a last row of [0, 0, 0, 1], got [1.0, 0.0, 0.0, 1.0]"),
    (call_cameras, {"cam2world": changed(POSE, 0, 3, math.inf)}, ValueError, "cam2world[0]: expected finite float32"),
    (call_cameras, {"cam2world": changed(POSE, 1, 1, math.nan)}, ValueError, "cam2world[0]: expected finite float32"),
    (call_cameras, {"size": (0, 80)}, ValueError, "size[0]: expected 1 to 16777216, got 0"),
    (call_cameras, {"size": (44, 80.0)}, TypeError, "size[1]: expected an integer, got float"),
    (call_cameras, {"size": 44}, ValueError, "size: expected (h, w), got 44"),
    (call_cameras, {"size": (1 << 20, 1 << 20)}, ValueError, "size: expected fewer than 2^31 cells"),
    (call_world2cam, {"world2cam": torch.eye(3)}, ValueError, "world2cam: expected (V, 4, 4) or (V, 3, 4), or one"),
    (call_world2cam, {"world2cam": torch.eye(4)[:2]}, ValueError, "world2cam: expected (V, 4, 4) or (V, 3, 4), or one"),
    (call_world2cam, {"world2cam": None}, TypeError,
     "world2cam: expected a tensor, an array or nested lists of numbers, got NoneType"),
    (call_world2cam, {"world2cam": changed(POSE, 0, 0, 1.01)}, ValueError, "world2cam[0]: expected a rigid pose"),
    (call_world2cam, {"world2cam": 2 * POSE}, ValueError, "world2cam[0]: expected a last row of [0, 0, 0, 1]"),
    (call_look_at, {"eye": torch.zeros(2, 2)}, ValueError, "eye: expected (V, 3), got (2, 2)"),
    (call_look_at, {"target": torch.ones(3, 3)}, ValueError, "target: expected (V=2, 3), got (3, 3)"),
    (call_look_at, {"target": torch.zeros(3)}, ValueError,
     "target[0]: expected a point in a direction from eye that is neither zero nor parallel to up"),
    (call_look_at, {"target": torch.tensor([[0.0, 5, 1], [0.0, 5, 0]])}, ValueError,
     "target[1]: expected a point in a direction from eye"),
    (call_interpolate, {"times": torch.tensor([0.0, 2.5])}, ValueError, "times[1]: expected 0 to 2, got 2.5"),
    (call_interpolate, {"times": 1.0}, TypeError, "times: expected a tensor, got float"),
    (call_rescale, {"size": (3,)}, ValueError, "size: expected (h, w), got (3,)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "wrong", "kind", "message"), CASES, ids=[f"{c[0].__name__[5:]}-{c[3][:40]}" for c in CASES]
)
def test_wrong_argument(call: Any, wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    assert_refused(call, wrong, kind, message)


def test_calls_without_a_wrong_argument_succeed() -> None:
    call_splat()
    call_composite()
    call_unproject()
    call_visible()
    call_visible(groups=GROUPS, num_groups=1)
    call_overlap()
    call_group_voxels()
    call_cameras()
    call_world2cam()
    call_look_at()


def test_error_names_the_wrong_camera() -> None:
    poses = POSE.repeat(5, 1, 1)
    poses[3, 0, 1] = 0.5
    with pytest.raises(ValueError, match=r"cam2world\[3\]: expected a rigid pose"):
        Cameras(K.expand(5, 3, 3), poses, (4, 5))
