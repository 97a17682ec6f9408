# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The baselines do the work that they are compared for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks import libraries
from benchmarks.baselines import kd_tree, open3d_map, open3d_project, torch_scatter_zbuffer, unique
from mirage.evaluation.baselines import argsort, python_sets
from mirage_kernels import Cameras, VoxelCache, group_voxels, overlap, splat, use_backend, visible
from mirage_kernels.testing import assert_same, random_cameras, random_points, same_bits

SIZE = 0.05
VIEWS, GRID = 3, (11, 20)


@pytest.fixture(autouse=True)
def ours() -> Any:
    with use_backend("reference"):
        yield


@pytest.fixture
def open3d() -> Any:
    return require(libraries.open3d())


@pytest.fixture
def torch_scatter() -> Any:
    return require(libraries.torch_scatter())


def require(library: Any) -> Any:
    if isinstance(library, str):
        pytest.skip(library)
    return library


def cloud(points: int = 3000) -> tuple[Tensor, Tensor, Tensor]:
    """Points with features and footprints, several in most cells and in many voxels; many footprints are equal."""
    g = torch.Generator().manual_seed(7)
    xyz = random_points(g, "room", points // 4).repeat(4, 1) + 0.012 * torch.randn(points, 3, generator=g)
    footprint = torch.randint(1, 4, (points,), generator=g) / 100
    return xyz, torch.randn(points, 5, generator=g), footprint


def seen_by() -> Cameras:
    return random_cameras(torch.Generator().manual_seed(1), VIEWS, GRID)


def cache(fusion: str) -> VoxelCache:
    xyz, features, footprint = cloud()
    result = VoxelCache(SIZE, features.shape[1], fusion=fusion)
    result.insert(xyz, features, footprint)
    assert len(xyz) / 4 < len(result) < len(xyz) * 3 / 4
    return result


def rows_by_key(of: VoxelCache) -> tuple[Tensor, Tensor]:
    """The keys of a cache in order, and their rows."""
    return of.state.keys[: len(of)].sort()


def two_walls() -> tuple[Tensor, Tensor, Cameras]:
    """A point in every cell at depths 1 and 2, the nearer one first in one half of the cells and last in the other; one
    behind the camera and one beside its image. One camera over 2x4 cells."""
    camera = Cameras(torch.tensor([[2.0, 0, 2], [0, 2, 1], [0, 0, 1]]), torch.eye(4), (2, 4))
    v, u = (x.flatten() for x in torch.meshgrid(torch.arange(2) - 0.5, torch.arange(4) - 1.5, indexing="ij"))
    rays = torch.stack([u / 2, v / 2, torch.ones(8)], 1)
    far_first = torch.where(torch.arange(8)[:, None] < 4, 2 * rays, rays)
    far_last = torch.where(torch.arange(8)[:, None] < 4, rays, 2 * rays)
    xyz = torch.cat([far_first, -rays[:1], torch.tensor([[9.0, 0, 1]]), far_last])
    return xyz, torch.arange(18.0)[:, None].repeat(1, 4), camera


NEAREST = torch.tensor([[10.0, 11, 12, 13], [4, 5, 6, 7]])


def check_read(read: Any) -> None:
    """``read(xyz, features, cameras)`` -> features (V, C, h, w) and mask: by hand, then against splat."""
    xyz, features, camera = two_walls()
    rendered, mask = read(xyz, features, camera)
    assert mask.all()
    assert torch.equal(rendered, NEAREST.expand(1, 4, 2, 4))
    rendered, mask = read(xyz[:2], features[:2], camera)
    assert mask.flatten().tolist() == [True, True] + 6 * [False]
    assert not rendered[~mask[:, None].expand_as(rendered)].any()

    xyz, features, _ = cloud()
    expected = splat(xyz, features, seen_by())
    assert 0.2 < expected.mask.float().mean() < 1
    rendered, mask = read(xyz, features, seen_by())
    assert torch.equal(mask, expected.mask)
    assert same_bits(rendered, expected.features)


def test_argsort_reads_the_nearest() -> None:
    """As far as a scatter that sorted its points can be trusted, which is so for few points in one thread."""
    torch.set_num_threads(1)
    check_read(argsort.read)


def test_open3d_reads_the_nearest(open3d: Any) -> None:
    def read(xyz: Tensor, features: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
        return open3d_project.read(
            open3d_project.numbered(open3d, xyz), features, open3d_project.views(open3d, cameras)
        )

    check_read(read)


def test_open3d_draws_three_channels_and_depth(open3d: Any) -> None:
    xyz, features, _ = cloud()
    colors = features[:, :3].contiguous()
    expected = splat(xyz, colors, seen_by())
    views = open3d_project.views(open3d, seen_by())
    points = open3d_project.cloud(open3d, xyz, colors)
    rendered, depth = open3d_project.read_colors(points, views)
    assert torch.equal(rendered.movedim(3, 1), expected.features)
    known = torch.where(expected.mask, expected.depth, 0)
    torch.testing.assert_close(depth, known, rtol=1e-6, atol=1e-6)
    assert torch.equal(open3d_project.read_depth(points, views), depth)


def test_open3d_is_not_given_more_points_than_a_color_can_number(open3d: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open3d_project, "MAX_POINTS", 2)
    with pytest.raises(ValueError, match="xyz: expected at most 2 points, got 3"):
        open3d_project.numbered(open3d, torch.zeros(3, 3))


def test_torch_scatter_reads_the_nearest(torch_scatter: Any) -> None:
    check_read(lambda *cloud: torch_scatter_zbuffer.read(torch_scatter, *cloud))


def check_mean(keys: Tensor, features: Tensor) -> None:
    expected = cache("mean")
    in_order, rows = rows_by_key(expected)
    assert torch.equal(keys, in_order)
    torch.testing.assert_close(features, expected.features()[rows])


def check_best(voxels: unique.Voxels) -> None:
    expected = cache("best")
    in_order, rows = rows_by_key(expected)
    point = voxels.point
    kept = unique.Voxels(in_order, point, expected.xyz[rows], expected.features()[rows], expected.footprint[rows])
    assert_same(voxels, kept)
    assert all(torch.equal(whole[point], part) for whole, part in zip(cloud(), voxels[2:], strict=True))


def test_unique_takes_the_mean() -> None:
    xyz, features, _ = cloud()
    check_mean(*unique.build(xyz, features, SIZE))


def test_unique_keeps_the_closest_look() -> None:
    check_best(unique.build_best(*cloud(), SIZE))


def test_torch_scatter_takes_the_mean(torch_scatter: Any) -> None:
    xyz, features, _ = cloud()
    check_mean(*torch_scatter_zbuffer.build(torch_scatter, xyz, features, SIZE))


def test_torch_scatter_keeps_the_closest_look(torch_scatter: Any) -> None:
    check_best(torch_scatter_zbuffer.build_best(torch_scatter, *cloud(), SIZE))


def test_open3d_keeps_one_point_of_each_voxel(open3d: Any) -> None:
    """Any of them: of its features, each voxel finds those of a point that lies in it."""
    xyz, features, _ = cloud()
    features[:, 0] = torch.arange(len(xyz))
    table, kept = open3d_map.build(open3d, xyz, features, SIZE)
    keys = unique.keys_of(xyz, SIZE)
    assert table.size() == len(keys.unique())
    cells = (xyz * 20).floor().int()
    row, found = (torch.from_numpy(x.numpy()) for x in table.find(open3d.core.Tensor.from_numpy(cells.numpy())))
    assert found.all()
    of_voxel = kept[row.long()]
    point = of_voxel[:, 0].long()
    assert torch.equal(keys[point], keys)
    assert torch.equal(of_voxel, features[point])


def test_kd_tree_finds_the_nearest_within_a_voxel() -> None:
    remembered = torch.tensor([[0.0, 0, 0], [0.08, 0, 0], [5, 5, 5]])
    new = torch.tensor([[0.03, 0, 0], [0.05, 0, 0], [5, 5, 5.06], [5, 5.04, 5], [9, 9, 9]])
    tree = kd_tree.build(remembered)
    assert kd_tree.nearest(tree, new, 0.05, 1).tolist() == [0, 1, -1, 2, -1]
    assert kd_tree.nearest(tree, new, 0.1, 2).tolist() == [0, 1, 2, 2, -1]


def test_kd_tree_agrees_with_every_distance() -> None:
    xyz, _, _ = cloud()
    remembered, new = xyz.chunk(2)
    distance, row = torch.cdist(new.double(), remembered.double(), compute_mode="donot_use_mm_for_euclid_dist").min(1)
    expected = torch.where(distance < 0.02, row, -1)
    assert 0.2 < (expected < 0).float().mean() < 0.8
    assert torch.equal(kd_tree.nearest(kd_tree.build(remembered), new, 0.02, 2), expected)


def test_kd_tree_adds_what_is_far_from_all_that_is_remembered() -> None:
    cloud = kd_tree.KdTreeCloud(4, 1, SIZE, 1)
    assert cloud.insert(torch.tensor([[0.0, 0, 0], [1, 0, 0]]), torch.tensor([[1.0], [2]])) == 2
    new = torch.tensor([[0.01, 0, 0], [2, 0, 0], [2, 0, 0], [1.04, 0, 0]])
    assert cloud.insert(new, torch.arange(3.0, 7)[:, None]) == 2
    assert cloud.count == 4
    assert cloud.xyz[:, 0].tolist() == [0, 1, 2, 2]
    assert cloud.features.flatten().tolist() == [1, 2, 4, 5]
    with pytest.raises(ValueError, match="xyz: expected at most 0 new points, got 1"):
        cloud.insert(torch.tensor([[3.0, 0, 0]]), torch.zeros(1, 1))


def test_python_sets_share_voxels_by_hand() -> None:
    a = torch.tensor([[0.05, 0.05, 0.05], [0.07, 0.05, 0.05], [0.15, 0.05, 0.05], [-0.05, 0.05, 0.05]])
    b = torch.tensor([[0.01, 0.01, 0.01], [0.35, 0.05, 0.05]])
    assert python_sets.retrieve(a, [a, b, a[:0]]) == [1.0, 0.25, 0.0]
    assert python_sets.retrieve(a[:0], [a[:0]]) == [0.0]


def test_python_sets_share_what_overlap_says() -> None:
    xyz, _, _ = cloud()
    cameras = seen_by()
    groups, num_groups = group_voxels(xyz, python_sets.VOXEL)
    bits = visible(xyz, cameras, groups=groups, num_groups=num_groups)
    inside = cameras.project(xyz)[2]
    shares = [python_sets.retrieve(xyz[target], [xyz[past] for past in inside]) for target in inside]
    assert torch.equal(torch.tensor(shares), overlap(bits, bits))
    assert 0 < min(map(min, shares)) < 0.9


def test_a_library_that_is_not_there_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "libraries"
    folder.mkdir()
    (folder / "torn_library.py").write_text("import ctypes\nctypes.CDLL('libnot-there.so')\n")
    (folder / "whole_library.py").write_text(
        "import warnings\nwarnings.warn('old', DeprecationWarning)\nfound = True\n"
    )
    assert "absent_library cannot be imported (No module named 'absent_library')" in libraries.load("absent_library")
    assert "torn_library cannot be imported (libnot-there.so" in libraries.load("torn_library")
    assert libraries.load("whole_library").found
    assert sys.path.count(str(folder)) == 1
    assert sys.path[-1] == str(folder)
