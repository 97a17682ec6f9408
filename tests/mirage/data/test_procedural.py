# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Procedural scenes: every pixel lies where its depth says, and the same seed draws the same clip."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mirage.data import ray_casting
from mirage.data.procedural import ProceduralScene, make_clip
from mirage.data.ray_casting import Boxes, Rays, cast
from mirage_kernels import Cameras, unproject

SIZE = (32, 48)


def random_boxes(count: int, seed: int) -> Boxes:
    g = torch.Generator().manual_seed(seed)
    center = torch.randn(count, 3, generator=g) * 2 + torch.tensor([0.0, 0, 6])
    yaw = torch.where(torch.rand(count, generator=g) < 0.5, 0.0, 3 * torch.rand(count, generator=g))
    none = torch.zeros(count, dtype=torch.int64)
    return Boxes(
        center, 0.2 + torch.rand(count, 3, generator=g), yaw, none, torch.ones(count), torch.ones(count, 3), none
    )


def looking(yaw: float = 0.3) -> Cameras:
    k = torch.tensor([[40.0, 0, 24], [0, 40, 16], [0, 0, 1]])
    pose = torch.eye(4)
    pose[0, 0], pose[0, 2], pose[2, 0], pose[2, 2] = math.cos(yaw), math.sin(yaw), -math.sin(yaw), math.cos(yaw)
    pose[:3, 3] = torch.tensor([0.4, -0.2, 0.1])
    return Cameras(k, pose, SIZE)


def distance_of(origin: np.ndarray, ray: np.ndarray, center: np.ndarray, half: np.ndarray, yaw: float) -> float:
    """Return the distance to the nearest face that a ray hits from outside; faces are tested one by one in float64."""
    c, s = math.cos(yaw), math.sin(yaw)
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    o, d = turn @ (origin - center), turn @ ray
    if (np.abs(o) <= half).all():
        return math.inf
    best = math.inf
    for axis in range(3):
        for side in (-1, 1):
            if d[axis] == 0:
                continue
            t = (side * half[axis] - o[axis]) / d[axis]
            at = np.abs(o + t * d)
            if t > 0 and all(at[b] <= half[b] for b in range(3) if b != axis):
                best = min(best, t)
    return best


@pytest.mark.parametrize("seed", range(3))
def test_casting_finds_the_nearest_face(seed: int) -> None:
    boxes, camera = random_boxes(12, seed), looking()
    hits = cast(Rays.of(camera), boxes)
    pose, k = camera.cam2world[0].double().numpy(), camera.intrinsics[0].double().numpy()
    for i, j in [(3, 5), (16, 24), (31, 47), *np.random.default_rng(seed).integers(0, (32, 48), (60, 2)).tolist()]:
        ray = pose[:3, :3] @ np.array([(j + 0.5 - k[0, 2]) / k[0, 0], (i + 0.5 - k[1, 2]) / k[1, 1], 1.0])
        distances = [
            distance_of(pose[:3, 3], ray, *(part[b].double().numpy() for part in boxes[:2]), float(boxes.yaw[b]))
            for b in range(12)
        ]
        nearest = min(distances)
        assert hits.depth[i, j].item() == pytest.approx(nearest, rel=1e-4)
        assert (hits.box[i, j].item() == -1) == math.isinf(nearest)
        if hits.box[i, j] >= 0:
            assert distances[int(hits.box[i, j])] == pytest.approx(nearest, rel=1e-4)


def test_windows_leave_out_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, rays = random_boxes(30, 7), Rays.of(looking(0.9))
    quick = cast(rays, boxes)
    monkeypatch.setattr(ray_casting, "_windows", lambda *_: [[0, SIZE[0], 0, SIZE[1]]] * 30)
    assert all(map(torch.equal, cast(rays, boxes), quick))


@pytest.mark.parametrize("seed", [0, 5, 11])
def test_a_seed_draws_the_same_clip(seed: int) -> None:
    clip, again = (make_clip(seed, frames=3, size=SIZE) for _ in range(2))
    assert torch.equal(clip.frames, again.frames)
    assert torch.equal(clip.depth, again.depth)
    assert torch.equal(clip.cameras.cam2world, again.cameras.cam2world)
    assert not torch.equal(clip.frames, make_clip(seed + 1, frames=3, size=SIZE).frames)
    assert torch.equal(clip.sky, clip.depth == 0)
    assert clip.depth[~clip.sky].min() > 0.1  # no camera in or at a wall
    assert clip.frames.float().std() > 5


@pytest.mark.parametrize("seed", [1, 4])
def test_points_lie_on_boxes(seed: int) -> None:
    scene = ProceduralScene(seed, frames=4)
    clip = scene.clip(size=SIZE)
    for t in range(4):
        points = unproject(clip.depth[t : t + 1], None, clip.cameras[t], grid=SIZE)
        boxes = scene._at(t)
        local = points.xyz[points.valid][:, None] - boxes.center
        cos, sin = boxes.yaw.cos(), boxes.yaw.sin()
        local = torch.stack(
            [cos * local[..., 0] - sin * local[..., 2], local[..., 1], sin * local[..., 0] + cos * local[..., 2]], -1
        )
        beyond = (local.abs() - boxes.half).amax(-1)  # 0 on a face, negative inside
        assert beyond.abs().amin(1).max() < 2e-3
        assert beyond.min() > -2e-3  # none lies in a box


def test_ways_to_come_back() -> None:
    scene = ProceduralScene(7, frames=9)
    back = scene.cameras(9, SIZE, "back").cam2world
    assert torch.equal(back[:, :3, 3], back.flip(0)[:, :3, 3])
    turn = scene.cameras(9, SIZE, "turn").cam2world
    assert torch.equal(turn[0, :3, 3], turn[8, :3, 3])
    torch.testing.assert_close(turn[0, :3, 2].norm(), torch.tensor(1.0))
    on = scene.cameras(9, SIZE, "on").cam2world
    assert (on[1:, :3, 3] - on[:-1, :3, 3]).norm(dim=1).max() < 0.5


def test_what_moves_is_marked() -> None:
    seeds = [seed for seed in range(40) if ProceduralScene(seed, frames=8)._movers][:6]
    assert len(seeds) == 6
    marked = [make_clip(seed, frames=8, size=SIZE, revisit="turn").moving for seed in seeds]
    assert sum(bool(moving.any()) for moving in marked) >= 2
    assert all(moving.float().mean() < 0.5 for moving in marked)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="seed: expected 0 to"):
        ProceduralScene(-1)
    with pytest.raises(TypeError, match="frames: expected an integer"):
        ProceduralScene(1, frames=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="revisit: expected 'back', 'on' or 'turn', got 'loop'"):
        make_clip(1, frames=2, size=SIZE, revisit="loop")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size"):
        make_clip(1, frames=2, size=(0, 4))


def test_night_changes_colors_only() -> None:
    day, night = (ProceduralScene(5, frames=3, look=look).clip(size=SIZE) for look in ("day", "night"))
    assert torch.equal(day.depth, night.depth)
    assert torch.equal(day.moving, night.moving)
    assert torch.equal(day.cameras.cam2world, night.cameras.cam2world)
    light, dark = day.frames.float().mean((0, 2, 3)), night.frames.float().mean((0, 2, 3))
    assert (dark < 0.8 * light).all()
    assert dark[2] / light[2] > dark[0] / light[0]  # it turns blue
    with pytest.raises(ValueError, match="look: expected 'day' or 'night', got 'dusk'"):
        ProceduralScene(1, look="dusk")  # type: ignore[arg-type]
