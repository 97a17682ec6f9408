# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a user might use instead of an operation: torch itself, torch-scatter, Open3D, scipy. Each does the work of our
case of the same name; ``make bench-libraries`` installs those that are not part of the environment."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

from benchmarks import cases, libraries, scenes
from benchmarks.baselines import kd_tree, open3d_map, open3d_project, torch_scatter_zbuffer, unique
from benchmarks.sizes import CHANNELS, CHUNK, POINTS, ROWS, Video
from benchmarks.timing import Case, time_case
from mirage_kernels import VoxelCache
from mirage_kernels.testing import same_bits

CLOUDS: tuple[Video | int, ...] = (CHUNK, *POINTS)
SIZE = 0.05  # meters, of the voxels that are built
NO_TABLE = "it builds no table, boxes or history, so that nothing can be added later"
NO_CACHE = "it only queries a tree and appends; voxels, table and boxes are not maintained"


def require(library: ModuleType | str) -> ModuleType:
    if isinstance(library, str):
        pytest.skip(library)
    return library


def check_read(ours: Case) -> Any:
    """Almost the same mask; rounding differs at the borders of cells."""

    def check(result: tuple[torch.Tensor, torch.Tensor]) -> None:
        assert (result[1] == ours.run().mask).float().mean() > 0.999

    return check


@pytest.mark.parametrize("name", ["torch-scatter", "Open3D"])
@pytest.mark.parametrize(("scene", "of"), scenes.sizes(CLOUDS, CLOUDS[-1]), ids=str)
def test_splat(benchmark: Any, scene: str, of: Video | int, name: str) -> None:
    ours = cases.splat_cloud(scene, of)
    xyz, features, _ = scenes.valid_points(scene, of)
    cameras = scenes.cloud(scene, of).cameras
    if name == "Open3D":
        open3d = require(libraries.open3d())
        views, points = open3d_project.views(open3d, cameras), open3d_project.numbered(open3d, xyz)
        case = ours._replace(run=lambda: open3d_project.read(points, features, views), check=check_read(ours))
    else:
        scatter = require(libraries.torch_scatter())
        case = ours._replace(
            run=lambda: torch_scatter_zbuffer.read(scatter, xyz, features, cameras), check=check_read(ours)
        )
    time_case(benchmark, case, name, "library")


@pytest.mark.parametrize("name", ["torch.unique", "torch-scatter", "Open3D"])
@pytest.mark.parametrize(("scene", "of"), scenes.sizes(CLOUDS, CLOUDS[-1]), ids=str)
def test_build(benchmark: Any, scene: str, of: Video | int, name: str) -> None:
    """One point of each voxel is kept: the closest one, or any one in Open3D's hash table."""
    ours = cases.build(scene, of)
    xyz, features, footprint = scenes.valid_points(scene, of)
    expected: VoxelCache = ours.run()

    def check(built: Any) -> None:
        if name == "Open3D":
            assert built[0].size() == len(expected)
        else:
            assert len(built.keys) == len(expected)
            # ours are in Morton order
            assert same_bits(built.footprint.sort().values, expected.footprint.sort().values)

    run = {
        "torch.unique": lambda: unique.build_best(xyz, features, footprint, SIZE),
        "torch-scatter": lambda: torch_scatter_zbuffer.build_best(
            require(libraries.torch_scatter()), xyz, features, footprint, SIZE
        ),
        "Open3D": lambda: open3d_map.build(require(libraries.open3d()), xyz, features, SIZE),
    }[name]
    time_case(benchmark, ours._replace(run=run, check=check), name, "library", note=NO_TABLE)


@pytest.mark.parametrize("name", ["torch.unique", "torch-scatter"])
@pytest.mark.parametrize(("scene", "of"), scenes.sizes(CLOUDS, CLOUDS[-1]), ids=str)
def test_build_mean(benchmark: Any, scene: str, of: Video | int, name: str) -> None:
    ours = cases.build(scene, of, "mean")
    xyz, features, _ = scenes.valid_points(scene, of)
    expected: VoxelCache = ours.run()

    def check(built: tuple[torch.Tensor, torch.Tensor]) -> None:
        assert len(built[0]) == len(expected)
        torch.testing.assert_close(built[1].sum(0), expected.features().sum(0), rtol=1e-3, atol=1.0)

    def run() -> tuple[torch.Tensor, torch.Tensor]:
        if name == "torch.unique":
            return unique.build(xyz, features, SIZE)
        return torch_scatter_zbuffer.build(require(libraries.torch_scatter()), xyz, features, SIZE)

    time_case(benchmark, ours._replace(run=run, check=check), name, "library", note=NO_TABLE)


@pytest.mark.parametrize(("scene", "rows"), scenes.sizes(ROWS[:3], ROWS[2]))
def test_insert_by_kd_tree(benchmark: Any, scene: str, rows: int) -> None:
    """A new point is left out when a stored one is nearer than the voxel size, which is not quite what voxels do."""
    ours, cache = cases.insert(scene, rows), cases.large_cache(scene, rows)
    xyz, features, _ = scenes.valid_points(scene, CHUNK)
    cloud = kd_tree.KdTreeCloud(len(cache) + len(xyz), CHANNELS, cases.VOXEL, torch.get_num_threads())
    cloud.xyz[: len(cache)], cloud.features[: len(cache)] = cache.xyz, cache.features()

    def run() -> int:
        cloud.count = len(cache)
        return cloud.insert(xyz, features)

    def check(added: int) -> None:
        far = kd_tree.nearest(kd_tree.build(cache.xyz), xyz, cases.VOXEL, 1) < 0
        assert added == int(far.sum())

    case = ours._replace(run=run, check=check, prepare=tuple)
    time_case(benchmark, case, "scipy's k-d tree", "library", note=NO_CACHE)
