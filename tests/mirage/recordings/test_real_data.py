# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of real cameras; their folder is named by MIRAGE_DATA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mirage.cameras import read_intrinsics, read_poses
from mirage.io.files import read_depth, read_image
from mirage.memory import LatentSpatialMemory
from mirage.recordings.hololens import RgbdFrames, read_rgbd
from mirage_kernels import Cameras, splat, unproject

GRID = (44, 80)


@pytest.fixture(scope="module")
def hololens(data: Path) -> RgbdFrames:
    return read_rgbd(data / "hololens_dev")


@pytest.fixture(scope="module")
def number(data: Path) -> list[int]:
    """The number of every frame in the whole recording; consecutive from 40 to 56."""
    numbers: list[int] = json.loads((data / "hololens_dev" / "index.json").read_text())["frame_index"]
    return numbers


def no_latents(count: int, size: tuple[int, int] = GRID) -> torch.Tensor:
    return torch.zeros(count, 1, *size)


def test_the_recording_is_read_as_described(hololens: RgbdFrames) -> None:
    assert hololens.images.shape == (73, 3, 360, 540)
    assert 0.6 < (hololens.depth > 0).float().mean() < 0.65
    assert 0.43 < hololens.depth[hololens.depth > 0].min() < hololens.depth.max() < 7.44
    # K.txt says 269.50 with pixel centers on integers
    assert hololens.cameras.intrinsics[0, 0, 2].item() == pytest.approx(270.0029, abs=1e-3)


def test_neighbouring_depth_maps_agree(hololens: RgbdFrames, number: list[int]) -> None:
    """Median disagreement of 4.6 mm between neighbors: geometry, pose and pixel centers are right."""
    errors = []
    for a in [i for i, n in enumerate(number) if 40 <= n < 56]:
        points = unproject(hololens.depth[a : a + 1], no_latents(1, (360, 540)), hololens.cameras[a])
        view = splat(points.xyz, points.features, hololens.cameras[a + 1], valid=points.valid)
        both = view.mask[0] & (hololens.depth[a + 1] > 0)
        errors.append((view.depth[0] - hololens.depth[a + 1])[both].abs().median().item())
    assert sum(errors) / len(errors) < 0.005


def test_the_median_leaves_fewer_holes_than_bilinear_depth(hololens: RgbdFrames, number: list[int]) -> None:
    frames = [i for i, n in enumerate(number) if 40 <= n <= 56]
    holes = {}
    for pooling in ("median", "bilinear"):
        points = unproject(hololens.depth, no_latents(73), hololens.cameras, pooling=pooling)
        xyz, valid = points.xyz.reshape(73, -1, 3), points.valid.reshape(73, -1)
        shares = []
        for gap in (1, 2, 3):
            for a in frames[:-gap]:
                view = splat(
                    xyz[a], no_latents(1)[0].reshape(-1, 1), hololens.cameras[a + gap].rescale(GRID), valid=valid[a]
                )
                shares.append(1 - view.mask.float().mean().item())
        holes[pooling] = sum(shares) / len(shares)
    assert holes["median"] < 0.43
    assert holes["median"] < holes["bilinear"] - 0.1


def test_the_memory_keeps_what_it_saw(hololens: RgbdFrames, number: list[int]) -> None:
    """45 latents written in order: each of their views reads back, and nothing shows through a surface."""
    frames = [i for i, n in enumerate(number) if n % 4 == 0][:45]
    depth, cameras = hololens.depth[frames], hololens.cameras[frames]
    latents = torch.randn(48, 45, *GRID, generator=torch.Generator().manual_seed(0))
    memory = LatentSpatialMemory(48)
    written = memory.write(latents, cameras, depth)
    points = unproject(depth, latents.movedim(1, 0), cameras)
    valid = points.valid.reshape(45, *GRID)
    assert sum(written) == len(memory) < 0.45 * int(valid.sum())
    view = memory.read(cameras.rescale(GRID))
    own = cameras.rescale(GRID)
    z = torch.stack([own[k].project(points.xyz.reshape(45, -1, 3)[k])[1][0] for k in range(45)]).reshape(45, *GRID)
    both = view.mask & valid
    assert both.sum() / valid.sum() > 0.995
    assert ((view.depth > 1.05 * z) & both).sum() / both.sum() < 0.001
    assert sum(memory.write(latents, cameras, depth)) == 0


def lift(cells: torch.Tensor, z: torch.Tensor, k: torch.Tensor, pose: torch.Tensor) -> torch.Tensor:
    """World points (N, 3) float64 of positions (N, 2) at depths (N,)."""
    rays = torch.cat([(cells - k[:2, 2]) / k[:2, :2].diagonal(), torch.ones_like(z)[:, None]], 1)
    return (rays * z[:, None]) @ pose[:3, :3].T + pose[:3, 3]


def place(xyz: torch.Tensor, k: torch.Tensor, pose: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positions (N, 2) and depths (N,) of world points, float64."""
    x, y, z = ((xyz - pose[:3, 3]) @ pose[:3, :3]).unbind(1)
    return torch.stack([x / z, y / z], 1) * k[:2, :2].diagonal() + k[:2, 2], z


def test_revisits_place_points_where_they_are(hololens: RgbdFrames) -> None:
    """The stored points, seen again at least 20 frames later by a view that holds half of them: where they land in
    cells, against full-resolution intrinsics in float64. Beside it the convention of whole-number cell centers."""
    full, (h, w), (height, width) = hololens.cameras, GRID, hololens.cameras.size
    scale = torch.tensor([w / width, h / height], dtype=torch.float64)
    i, j = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    corner = torch.stack([j, i], -1).reshape(-1, 2).double()
    grid = full.rescale(GRID)
    ours, old, pairs = [], [], 0
    for a in range(0, 50, 2):
        p = unproject(hololens.depth[a : a + 1], no_latents(1), full[a])
        k, pose = full.intrinsics[a].double(), full.cam2world[a].double()
        z = p.footprint.double() * grid.intrinsics[a, 0, 0].double()
        exact = lift((corner + 0.5) / scale, z, k, pose)
        # whole numbers: the cell's corner stands for its center, and intrinsics whose centers are whole are scaled
        whole = k.clone()
        whole[:2, 2] -= 0.5
        whole[:2] *= scale[:, None]
        shifted = lift(corner, z, whole, pose)
        for b in range(a + 20, 73):
            uv, _, inside = grid[b].project(p.xyz)
            seen = inside[0] & p.valid
            if seen.sum() < 0.5 * p.valid.sum():
                continue
            pairs += 1
            pose_b = full.cam2world[b].double()
            truth = place(exact[seen], full.intrinsics[b].double(), pose_b)[0] * scale
            ours.append((uv[0, seen].double() - truth).norm(dim=1))
            old.append((place(shifted[seen], whole, pose_b)[0] + 0.5 - truth).norm(dim=1))
    assert pairs >= 20
    print(f"{pairs} revisits: {torch.cat(ours).mean():.1e} cells, whole numbers {torch.cat(old).mean():.2f}")
    assert torch.cat(ours).mean() < 0.001
    assert torch.cat(old).mean() > 0.1


@pytest.mark.parametrize("case", ["case_1", "case_2", "case_3"])
def test_camera_paths_of_spatia(data: Path, case: str) -> None:
    folder = data / "spatia_trajectories" / case
    image = read_image(folder / "img.jpg")
    assert image.shape == (3, 704, 1248)
    intrinsics = read_intrinsics(folder / "intrinsics.txt", (704, 1248))
    assert 0.4 * 1248 < intrinsics[0, 2] < 0.6 * 1248
    poses = read_poses(folder / "w2c.txt", world2cam=True)
    cameras = Cameras(intrinsics, poses, (704, 1248))
    assert len(cameras) > 40
    assert cameras.centers[0].norm() < 0.01, "the path starts at the image"


def test_noisy_poses_do_no_harm(data: Path) -> None:
    """Five Kinect frames whose poses are 5 to 19 cm off: a memory of them still shows each of its views."""
    folder = data / "slambook2_rgbd"
    depth = torch.stack([read_depth(folder / "depth" / f"{n}.pgm") for n in range(1, 6)])
    assert depth.shape == (5, 480, 640)
    rows = torch.tensor([[float(x) for x in line.split()] for line in (folder / "pose.txt").read_text().splitlines()])
    shift, (x, y, z, w) = rows[:, :3], rows[:, 3:].unbind(1)
    turn = torch.stack(
        [
            *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
            *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
            *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
        ],
        1,
    ).reshape(5, 3, 3)
    poses = torch.eye(4).repeat(5, 1, 1)
    poses[:, :3, :3], poses[:, :3, 3] = turn, shift
    intrinsics = torch.tensor([[518.0, 0, 325.5 + 0.5], [0, 519.0, 253.5 + 0.5], [0, 0, 1]])
    cameras = Cameras(intrinsics, poses, (480, 640))
    latents = torch.randn(48, 5, 30, 40)
    memory = LatentSpatialMemory(48)
    assert all(count > 0 for count in memory.write(latents, cameras, depth))
    valid = unproject(depth, latents.movedim(1, 0), cameras).valid.reshape(5, 30, 40)
    assert (memory.read(cameras.rescale((30, 40))).mask & valid).sum() / valid.sum() > 0.99
