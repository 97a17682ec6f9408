# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Memories with placement="release", beside the stand-in for the released code's point cloud."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mirage.errors import DataError
from mirage.memory import LatentSpatialMemory
from mirage.memory.snapshot import restore_snapshot, take_snapshot
from mirage_kernels import Cameras, load_tensors, save_tensors
from mirage_kernels.compat.latent_spatial_memory import LatentPointCloud

CHANNELS, SIZE, GRID = 5, (96, 160), (12, 20)


def scene() -> tuple[Tensor, Tensor, Cameras]:
    """Latents (C, 1, h, w), depth (1, H, W) with a step and a hole, and nine cameras, the first that of the depth."""
    g = torch.Generator().manual_seed(0)
    depth = 2 + torch.rand(1, *SIZE, generator=g)
    depth[:, :, 70:] += 2
    depth[:, 30:50, 20:40] = 0
    intrinsics = torch.tensor([[120.0, 0, 79.3], [0, 118, 48.9], [0, 0, 1]])
    poses = torch.eye(4).repeat(9, 1, 1)
    poses[:, 0, 3] = torch.linspace(0, 0.37, 9)
    poses[:, 2, 3] = torch.linspace(0, 0.21, 9)
    return torch.randn(CHANNELS, 1, *GRID, generator=g), depth, Cameras(intrinsics.repeat(9, 1, 1), poses, SIZE)


def written(placement: str, **options: Any) -> LatentSpatialMemory:
    latents, depth, cameras = scene()
    memory = LatentSpatialMemory(CHANNELS, extent_scale=0.0, placement=placement, **options)  # type: ignore[arg-type]
    memory.write(latents, cameras[:1], depth)
    return memory


@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (3.0, -2.0, 5.0)])
@pytest.mark.parametrize("placement", ["release", "exact"])
def test_a_memory_shows_what_the_point_cloud_shows(placement: Any, origin: tuple[float, float, float]) -> None:
    latents, depth, cameras = scene()
    k = cameras.intrinsics[0]
    cloud = LatentPointCloud.from_geometry(depth[0], k, torch.eye(4), latents, device="cpu", placement=placement)
    expected, mask = cloud.project_views(cameras.cam2world)
    memory = written(placement)
    if any(origin):
        memory = LatentSpatialMemory(CHANNELS, extent_scale=0.0, placement=placement, origin=origin)
        memory.write(latents, cameras[:1].translate(origin), depth)
    view = memory.read(cameras.translate(origin).rescale(GRID))
    assert mask[1:].sum() > 500
    differs = (view.latents.movedim(0, 1) != expected).any(1) | (view.mask != mask)
    assert differs.float().mean() <= (0.002 if any(origin) else 0), "rounding at the borders of cells, at most"


def test_the_placements_differ() -> None:
    cells = scene()[2].rescale(GRID)
    views = [written(placement).read(cells).latents for placement in ("release", "exact")]
    assert (views[0] != views[1]).float().mean() > 0.02


def test_finer_views_are_half_a_latent_cell_off_too() -> None:
    """Reading with the writing camera, at three times the resolution, shows every cell at its center."""
    latents, _, cameras = scene()
    fine = (3 * GRID[0], 3 * GRID[1])
    memory = LatentSpatialMemory(CHANNELS, extent_scale=0.0, placement="release")
    memory.write(latents, cameras[:1], torch.full((1, *SIZE), 2.0))
    view = memory.read(cameras[:1].rescale(fine))
    assert view.mask.sum() == GRID[0] * GRID[1]
    assert torch.equal(view.latents[:, :, 1::3, 1::3], latents)


def test_a_second_frame_is_compared_where_it_is_placed() -> None:
    """The same frame again adds nothing, and without depth only what its hole hides."""
    memory, (latents, depth, cameras) = written("release"), scene()
    assert memory.write(latents, cameras[:1], depth) == [0]
    holes = int((~memory.read(cameras[:1].rescale(GRID)).mask).sum())
    assert holes > 0
    assert memory.write(latents, cameras[:1]) == [holes]


def test_what_a_depth_map_shows_is_carved() -> None:
    memory, (_, depth, cameras) = written("release"), scene()
    rows = len(memory)
    assert memory.carve(depth[0], cameras[:1], GRID) <= rows // 50, "depth across the step is the mean of both sides"
    assert memory.carve(torch.full(SIZE, 20.0), cameras[:1], GRID) > 0.8 * rows


@pytest.mark.parametrize("way", ["file", "pickle", "snapshot"])
def test_the_placement_is_kept(way: str, tmp_path: Path) -> None:
    memory = written("release")
    if way == "file":
        memory.save(tmp_path / "memory.safetensors")
        again = LatentSpatialMemory.load(tmp_path / "memory.safetensors")
    elif way == "pickle":
        again = pickle.loads(pickle.dumps(memory))
    else:
        again = restore_snapshot(take_snapshot(memory))
    cells = scene()[2].rescale(GRID)
    assert again.history.placement == "release"
    assert torch.equal(again.read(cells).latents, memory.read(cells).latents)


def test_files_from_before_placements_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "memory.safetensors"
    written("exact").save(path)
    tensors, settings = load_tensors(path, kind="memory", version=2)
    del settings["placement"]
    save_tensors(path, tensors, kind="memory", version=2, settings=settings)
    assert LatentSpatialMemory.load(path).history.placement == "exact"
    save_tensors(path, tensors, kind="memory", version=2, settings=settings | {"placement": "elsewhere"})
    with pytest.raises(DataError, match="placement: expected"):
        LatentSpatialMemory.load(path)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match=r"placement: expected .*release.*exact.*, got 'centre'"):
        LatentSpatialMemory(4, placement="centre")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"max_frames: expected at least 1 with placement="):
        LatentSpatialMemory(4, placement="release", max_frames=0)
    with pytest.raises(AttributeError, match="placement of a History cannot change"):
        LatentSpatialMemory(4).history.placement = "release"
