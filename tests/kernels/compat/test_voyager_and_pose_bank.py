# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import compat_oracles as oracles
import numpy as np
import pytest
import torch
from compat_scenes import Scene, clear_points, random_pose

from mirage_kernels.compat.pose_bank import fov_overlap, fov_overlap_similarity, frustum_overlap
from mirage_kernels.compat.voyager import render_from_cameras_videos

GRID = (12, 18)


@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("depth", ["farthest", "nearest"])
def test_voyager_renders_the_nearest_color_and_the_farthest_depth(scene: Scene, depth: Any, floats: bool) -> None:
    h, w = scene.size
    k = scene.intrinsics * np.array([[GRID[1] / w], [GRID[0] / h], [1]])
    points = clear_points(scene.points(), scene.world2cams(), k, np.rint)
    points[::11] = points[::11] * 1e5  # beyond the limit of the depth
    points = clear_points(points, scene.world2cams(), k, np.rint)
    colors = np.random.default_rng(0).uniform(0, 255, (len(points), 4))
    colors = colors if floats else colors.astype(np.uint8)
    ks = np.broadcast_to(k, (len(scene.poses), 3, 3))
    images, masks, depths = render_from_cameras_videos(points, colors, scene.world2cams(), ks, *GRID, depth=depth)
    for v, pose in enumerate(scene.world2cams()):
        index, near, farthest = oracles.z_buffer(points, pose, k, GRID, far=60000)
        hit = index >= 0
        assert masks[v].dtype == images[v].dtype == np.uint8
        assert masks[v].tolist() == (hit * 255).tolist()
        expected = np.where(hit[..., None], colors[index, :3].astype(np.uint8), 0)
        assert images[v].tolist() == expected.tolist()
        shown = near if depth == "nearest" else np.where(hit, farthest, np.inf)
        assert depths[v].dtype == np.float64
        np.testing.assert_allclose(depths[v], shown, rtol=2e-5)  # rotations of the recording are rounded to 1e-6
        assert (farthest[hit] > near[hit] + 0.01).any()


def test_voyager_names_wrong_arguments() -> None:
    points, pose, k = np.zeros((4, 3)), np.eye(4)[None], np.eye(3)
    with pytest.raises(ValueError, match=r"colors: expected \(N=4, 3 or more\), got \(4, 2\)"):
        render_from_cameras_videos(points, np.zeros((4, 2)), pose, k, 4, 4)
    with pytest.raises(ValueError, match=r"extrinsics: expected \(V, 4, 4\)"):
        render_from_cameras_videos(points, points, np.eye(3)[None], k, 4, 4)
    empty = render_from_cameras_videos(points[:0], points[:0], pose, k, 4, 4)
    assert not empty[1][0].any()


def poses(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([random_pose(rng, 1.2, 1.5) for _ in range(count)])


def bank(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([scene.poses, poses(3, 1)]), np.concatenate([scene.poses, poses(8, 2)])


def test_frustum_overlap(scene: Scene) -> None:
    queries, past = bank(scene)
    k, size, near, far = (9.0, 8.0, 6.0, 4.5), (9.0, 12.0), 0.5, 15.0
    found = frustum_overlap(queries, past, k, size, near=near, far=far)
    expected = [[oracles.frustum_overlap(q, p, k, size, (near, far)) for p in past] for q in queries]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert len(found.unique()) > 10
    frustum = SimpleNamespace(
        fx=k[0], fy=k[1], cx=k[2], cy=k[3], width=12, height=9, near=near, far=far, grid_uv=8, grid_depth=4
    )
    assert torch.equal(fov_overlap(queries, past, frustum), found)
    assert torch.equal(fov_overlap(queries[0], past, frustum), found[0])
    assert fov_overlap(queries[0], past[:0].reshape(0, 4, 4), frustum).shape == (0,)


@pytest.mark.parametrize(("fov_h", "fov_v"), [(60.0, 35.0), (200.0, 120.0)])
def test_overlap_of_fields_of_view(scene: Scene, fov_h: float, fov_v: float) -> None:
    queries, past = bank(scene)
    directions = np.random.default_rng(3).normal(size=(400, 3))
    points = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    points *= np.random.default_rng(4).uniform(0, 10, (400, 1))
    points = points.astype(np.float32).astype(np.float64)
    found = fov_overlap_similarity(
        np.linalg.inv(queries), np.linalg.inv(past), torch.tensor(points, dtype=torch.float32), fov_h, fov_v
    )
    expected = np.array(
        [
            [oracles.field_overlap(np.linalg.inv(q), np.linalg.inv(p), points, fov_h, fov_v) for p in past]
            for q in queries
        ]
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert len(np.unique(expected)) > 10


def test_pose_banks_name_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"cand_c2w: expected \(H, 4, 4\), got \(1, 3, 4\)"):
        frustum_overlap(np.eye(4)[None], np.eye(4)[None, :3], (1, 1, 1, 1), (2, 2), near=0.1, far=1)
    with pytest.raises(ValueError, match="fov_v_deg: expected at most 180, got 200"):
        fov_overlap_similarity(np.eye(4)[None], np.eye(4)[None], torch.rand(3, 3), 100, 200)
    empty = fov_overlap_similarity(np.eye(4)[None], np.eye(4)[None], torch.zeros(0, 3))
    assert empty.tolist() == [[0.0]]
