# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import compat_oracles as oracles
import numpy as np
import pytest
import torch
from compat_scenes import Scene, clear_points, random_scene

from mirage_kernels.compat import spatia
from mirage_kernels.compat.pytorch3d import rasterize_points

GRID = (12, 18)


def on_grid(scene: Scene) -> np.ndarray:
    h, w = scene.size
    return scene.intrinsics * np.array([[GRID[1] / w], [GRID[0] / h], [1]])


@pytest.mark.parametrize(("near", "far"), [(None, None), (1.5005, 2.5005)])
def test_frontmost_points(scene: Scene, near: float | None, far: float | None) -> None:
    k = on_grid(scene)
    points = clear_points(scene.points(), scene.world2cams(), k, np.trunc)
    points = np.concatenate([points, points[::5], points[::7]])  # of the same depth
    colored = torch.tensor(np.concatenate([points, points], 1), dtype=torch.float32)
    intrinsics = torch.tensor([k[0, 0], k[1, 1], k[0, 2], k[1, 2]])
    masks = spatia.frustum_frontmost_mask(colored, scene.world2cams(), intrinsics, GRID, near, far)
    for v, pose in enumerate(scene.world2cams()):
        expected = oracles.frontmost(points, pose, k, GRID, near or 0, math.inf if far is None else far)
        assert masks[v].tolist() == expected.tolist()
    assert masks.sum() > 50
    assert torch.equal(
        masks, spatia.frustum_frontmost_mask_triton(colored, scene.world2cams(), intrinsics, GRID, near, far)
    )


def test_points_left_of_the_image_count_in_its_first_column() -> None:
    points = torch.tensor([[-1.5, 0.0, 1.0], [-0.5, 0.5, 0.9], [0.5, 0.5, 1.0], [0.5, -0.4, 0.5], [-0.3, -0.3, 0.4]])
    found = spatia.frustum_frontmost_mask(
        points, torch.eye(4)[None, :3], torch.ones(1, 4) * torch.tensor([1, 1, 0, 0]), (2, 2)
    )
    pose, k = np.eye(4), np.diag([1.0, 1, 1])
    expected = oracles.frontmost(points.numpy().astype(float), pose, k, (2, 2), 0, math.inf)
    assert found[0].tolist() == expected.tolist() == [False, False, False, True, True]


def test_many_points_of_the_same_depth_are_all_frontmost() -> None:
    points = torch.tensor([[0.1, 0.1, 2.0]]).repeat(40, 1)
    points[::4, 2] = 3.0
    found = spatia.frustum_frontmost_mask(points, torch.eye(4)[None], torch.tensor([2.0, 2, 1, 1]), (2, 2))
    assert found[0].tolist() == (points[:, 2] == 2).tolist()
    empty = spatia.frustum_frontmost_mask(points[:0], torch.eye(4)[None], torch.tensor([2.0, 2, 1, 1]), (2, 2))
    assert empty.shape == (1, 0)


@pytest.mark.parametrize("depth", [1.0, 0.1, 0.3, 2.5])
def test_the_bounds_of_the_depth_are_included(depth: float) -> None:
    point, k = torch.tensor([[0.0, 0, depth]]), torch.tensor([2.0, 2, 1, 0])
    for near, far in ((depth, None), (None, depth), (depth, depth)):
        assert spatia.frustum_frontmost_mask(point, torch.eye(4)[None], k, (1, 3), near=near, far=far).all()
    for near, far in ((depth + 1e-3, None), (None, depth - 1e-3), (depth + 1e-3, depth - 1e-3)):
        assert not spatia.frustum_frontmost_mask(point, torch.eye(4)[None], k, (1, 3), near=near, far=far).any()


def ndc_points(seed: int, count: int = 60) -> np.ndarray:
    """Points in normalized device coordinates, some behind the camera or outside the image, of different depths."""
    rng = np.random.default_rng(seed)
    z = rng.permutation(np.linspace(-0.5, 4, count))
    return np.stack([*rng.uniform(-1.6, 1.6, (2, count)), z], 1).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("count", [1, 2, 5, 8, 16])
@pytest.mark.parametrize(("size", "radius"), [((6, 9), 0.3), ((9, 6), 0.11), ((7, 7), 0.05)])
def test_the_rasterizer_finds_the_nearest_points(size: tuple[int, int], radius: float, count: int) -> None:
    clouds = [ndc_points(1), ndc_points(2, 40)]
    tensors = [torch.tensor(c, dtype=torch.float32, requires_grad=True) for c in clouds]
    idx, zbuf, dists = rasterize_points(tensors, size, radius, count)
    first = 0
    for i, points in enumerate(clouds):
        index, depth, distance = oracles.rasterize(points, size, radius, count)
        assert idx[i].tolist() == np.where(index >= 0, index + first, -1).tolist()
        np.testing.assert_allclose(zbuf[i].detach().numpy(), depth, rtol=1e-6)
        np.testing.assert_allclose(dists[i].detach().numpy(), distance, atol=1e-6)
        first += len(points)
    (zbuf[idx >= 0].sum() + dists.clamp(min=0).sum()).backward()
    for i, points in enumerate(tensors):
        seen = idx[i][idx[i] >= 0].long() - sum(len(t) for t in tensors[:i])
        assert points.grad is not None
        assert torch.equal(points.grad[:, 2], torch.bincount(seen, minlength=len(points)).float())


@pytest.mark.parametrize("count", [1, 5])
def test_the_rasterizer_takes_a_radius_for_each_point(count: int) -> None:
    clouds, rng = [ndc_points(3), ndc_points(4, 40)], np.random.default_rng(0)
    radii = rng.uniform(-0.4, 0.5, (2, 60)).astype(np.float32).astype(np.float64)
    tensors = [torch.tensor(c, dtype=torch.float32) for c in clouds]
    idx, _, _ = rasterize_points(tensors, (6, 9), torch.tensor(radii, dtype=torch.float32), count)
    first = 0
    for i, points in enumerate(clouds):
        index, _, _ = oracles.rasterize(points, (6, 9), radii[i, : len(points)], count)
        assert idx[i].tolist() == np.where(index >= 0, index + first, -1).tolist()
        alone = rasterize_points([tensors[i]], (6, 9), radii[i, : len(points)].tolist(), count)[0]
        assert torch.equal(torch.where(alone >= 0, alone + first, -1), idx[i : i + 1])
        first += len(points)
    with pytest.raises(ValueError, match=r"^radius: expected \(N=2, P=60\), got \(2, 40\)$"):
        rasterize_points(tensors, (6, 9), radii[:, :40])


def test_the_rasterizer_on_the_recording(recorded: Scene) -> None:
    h, w = GRID
    k, pose, side = on_grid(recorded), recorded.world2cams()[0], min(GRID)
    camera = recorded.points()[::3] @ pose[:3, :3].T + pose[:3, 3]
    camera = camera[camera[:, 2] > 0.1]
    u, v = (camera[:, i] / camera[:, 2] * k[i, i] + k[i, 2] for i in (0, 1))
    ndc = np.stack([(w - 2 * u) / side, (h - 2 * v) / side, camera[:, 2]], 1).astype(np.float32)
    ndc = ndc[np.unique(ndc[:, 2], return_index=True)[1]].astype(np.float64)
    idx, _, _ = rasterize_points(torch.tensor(ndc[None], dtype=torch.float32), GRID, 0.12, 1)
    index, _, _ = oracles.rasterize(ndc, GRID, 0.12, 1)
    assert idx[0].tolist() == index.tolist()


def rendered(scene: Scene, points: np.ndarray, k: np.ndarray, radius: float, view: int) -> np.ndarray:
    """Spatia's rendering: its normalized device coordinates, five layers, alpha compositing."""
    (h, w), pose = GRID, scene.world2cams()[view]
    side = min(h, w)
    camera = points[:, :3] @ pose[:3, :3].T + pose[:3, 3]
    z = camera[:, 2]
    fx, fy, cx, cy = (k[i, j] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    x = -camera[:, 0] / z * fx * 2 / (side - 1) + (cx - (w - 1) / 2) * 2 / (side - 1)
    y = -camera[:, 1] / z * fy * 2 / (side - 1) + (cy - (h - 1) / 2) * 2 / (side - 1)
    index, _, distance = oracles.rasterize(np.stack([x, y, z], 1), GRID, radius, 5)
    return oracles.composite(points[:, 3:], index, 1 - distance / radius**2)


def test_renderings_have_the_mirrored_principal_point(scene: Scene) -> None:
    rng, k, radius = np.random.default_rng(0), on_grid(scene), 0.2
    points = scene.points()
    points = points[:: max(1, len(points) // 500)]
    points = np.concatenate([points, rng.random(points.shape)], 1).astype(np.float32).astype(np.float64)
    intrinsics = [k[0, 0], k[1, 1], k[0, 2], k[1, 2]]
    cloud = torch.tensor(points, dtype=torch.float32)
    images = spatia.render_multi_view_pointcloud(cloud, torch.tensor(scene.world2cams()), intrinsics, GRID, radius)
    mirrored = k.copy()
    mirrored[0, 2], mirrored[1, 2] = GRID[1] - 1 - k[0, 2], GRID[0] - 1 - k[1, 2]
    given = spatia.render_multi_view_pointcloud(
        cloud,
        scene.world2cams(),
        [k[0, 0], k[1, 1], mirrored[0, 2], mirrored[1, 2]],
        GRID,
        radius,
        principal_point="given",
    )
    for v in range(2):
        expected = rendered(scene, points, k, radius, v).clip(0, 1)
        different = np.abs(images[v].numpy() - expected).max(-1) > 1e-3
        assert different.mean() < 0.02  # of nearly the same depth, or at the border of a disc
        assert (np.abs(given[v].numpy() - expected).max(-1) > 1e-3).mean() < 0.02


def test_wrong_arguments_are_named() -> None:
    points, pose = torch.rand(4, 6), torch.eye(4)[None]
    with pytest.raises(ValueError, match=r"intrinsics: expected \(V=1, 3, 3\), .* got \(5,\)"):
        spatia.frustum_frontmost_mask(points, pose, torch.ones(5), (4, 4))
    with pytest.raises(ValueError, match="max_points_to_render: expected None or at least N=4, got 3"):
        spatia.render_multi_view_pointcloud(points, pose, [1, 1, 1, 1], (4, 4), max_points_to_render=3)
    with pytest.raises(ValueError, match="radius: expected a number above 0, got 0"):
        rasterize_points(points[None, :, :3], 4, radius=0)
    wrong: Any = 3
    with pytest.raises(TypeError, match="pointclouds: expected at least one cloud"):
        rasterize_points(wrong)


def test_a_small_disc_covers_only_what_it_reaches() -> None:
    scene = random_scene(2)
    k = on_grid(scene)
    intrinsics = [k[0, 0], k[1, 1], k[0, 2], k[1, 2]]
    points = torch.tensor(np.concatenate([scene.points(), np.ones_like(scene.points())], 1), dtype=torch.float32)
    small = spatia.render_multi_view_pointcloud(points, scene.world2cams(), intrinsics, GRID, 0.05)
    large = spatia.render_multi_view_pointcloud(points, scene.world2cams(), intrinsics, GRID, 0.2)
    assert 0 < (small > 0).sum() < (large > 0).sum()
