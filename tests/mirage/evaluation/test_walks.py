# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Walks that leave and return: revisits, warping, and the measures."""

from __future__ import annotations

import math

import pytest
import torch

from mirage.cameras import out_and_back, pan, straight, truck
from mirage.evaluation.chunk_models import ComparedModel
from mirage.evaluation.colored_memory import ColoredCodec
from mirage.evaluation.metrics import psnr
from mirage.evaluation.walks import (
    Revisit,
    Walk,
    WalkStart,
    drift_in_cells,
    find_revisits,
    flicker,
    known_share,
    repeat_path,
    revisit_scores,
    take_walk,
    warp,
)
from mirage.models.embedded import DctCodec, FillModel
from mirage_kernels import Cameras

SIZE = (64, 96)


def camera() -> Cameras:
    return Cameras(torch.tensor([[90.0, 0, 48], [0, 90, 32], [0, 0, 1]]), torch.eye(4), SIZE)


def smooth(height: int, width: int) -> torch.Tensor:
    small = torch.rand(1, 3, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, (height, width), mode="bicubic")[0].clamp(0, 1)


def fill(chunk: int = 5, stride: int = 1) -> ComparedModel:
    return ComparedModel("fill", DctCodec(8, stride), FillModel(), {}, {}, chunk)


@pytest.mark.parametrize("stride", [1, 4])
def test_a_walk_has_all_its_frames_and_depths(stride: int) -> None:
    cameras = pan(camera(), out_and_back(17), 30.0)
    calls: list[int] = []
    start = WalkStart("wall", smooth(*SIZE), torch.full(SIZE, 3.0), cameras)
    walk = take_walk(fill(3, stride), start, on_chunk=lambda: calls.append(1))
    assert walk.frames.shape == (17, 3, *SIZE)
    assert walk.depth.shape == (16 // stride + 1, 8, 12)
    assert len(calls) == len(walk.seconds) == len(walk.points) == 8 // stride
    assert walk.depth[0].isfinite().all()
    assert known_share(walk) > 0.5
    revisits = find_revisits(cameras, 4)
    scores = revisit_scores(walk, revisits)
    assert scores["revisit_psnr"] > 25
    assert scores["depth_difference"] < 0.01
    assert scores["same_surface"] > 0.99
    assert 0 < flicker(walk) < 0.1


@pytest.mark.parametrize("stride", [1, 4])
def test_colored_points_show_what_was_seen(stride: int) -> None:
    """For a smooth wall, colored points and latents give similar images; the points take more memory."""
    cameras = pan(camera(), out_and_back(17), 30.0)
    image, codec = smooth(*SIZE), ColoredCodec(DctCodec(8, stride))
    start = WalkStart("wall", image, torch.full(SIZE, 3.0), cameras)
    colored = take_walk(ComparedModel("colored", codec, FillModel(), {}, {}, 3), start)
    latent = take_walk(fill(3, stride), start)
    assert colored.points[0] > SIZE[0] * SIZE[1] > latent.points[0]
    assert colored.nbytes == 15 * colored.points[-1]
    assert colored.points[-1] < 2 * SIZE[0] * SIZE[1], "pixels that are shown already are not written again"
    for walk in (colored, latent):
        assert psnr(walk.image(16), image) > 25
    seen = latent.depth[4 // stride].isfinite() & colored.depth[4 // stride].isfinite()
    assert seen.float().mean() > 0.5
    torch.testing.assert_close(colored.depth[4 // stride][seen], latent.depth[4 // stride][seen], rtol=0.02, atol=0)


def test_revisits_are_those_of_the_same_camera() -> None:
    path = pan(camera(), out_and_back(9), 30.0)
    assert find_revisits(path, 2) == [Revisit(frame, 8 - frame) for frame in range(5, 9)]
    assert find_revisits(path, 7) == [Revisit(8, 0)]
    assert find_revisits(pan(camera(), straight(9), 30.0), 1) == []
    aside = truck(camera(), straight(3), 0.03)
    assert find_revisits(aside, 1) == []
    assert len(find_revisits(aside, 1, distance=0.02)) == 2
    twice = repeat_path(path, 2)
    assert len(twice) == 17
    assert find_revisits(twice, 8)[-1] == Revisit(16, 0)
    with pytest.raises(ValueError, match="expected a path that ends where it began"):
        repeat_path(pan(camera(), straight(9), 30.0), 2)


def test_warping_moves_what_the_camera_sees() -> None:
    """A wall at 3 m: a camera 0.2 m to the right sees it 6 pixels to the left."""
    image, aside = smooth(*SIZE), truck(camera(), straight(2), 0.2)[1:]
    moved, known = warp(image, camera(), torch.full((8, 12), 3.0), aside)
    torch.testing.assert_close(moved[:, :, :90], image[:, :, 6:], atol=1e-4, rtol=0)
    assert known[:, :90].all()
    assert not known[:, 91:].any()
    depth = torch.full((8, 12), 3.0)
    depth[0, 0], depth[7, 11] = torch.inf, 0
    same, known = warp(image, camera(), depth, camera())
    torch.testing.assert_close(same, image, atol=1e-4, rtol=0)
    assert (~known).sum() == 2 * 64


def still(frames: torch.Tensor, depth: float = 3.0) -> Walk:
    cameras = Cameras(camera().intrinsics.expand(len(frames), 3, 3), torch.eye(4).expand(len(frames), 4, 4), SIZE)
    depths = torch.full((len(frames), 8, 12), depth)
    return Walk((frames * 255).round().to(torch.uint8), cameras, depths, 1, [], [], 0)


def test_flicker_is_the_change_between_frames() -> None:
    image = 0.2 + 0.5 * smooth(*SIZE)
    assert flicker(still(torch.stack([image] * 3))) < 1e-4
    brighter = still(torch.stack([image, image + 0.1, image]))
    assert flicker(brighter) == pytest.approx(0.1, abs=5e-3)
    assert math.isnan(flicker(still(torch.stack([image] * 3), torch.inf)))


def test_revisits_without_known_cells_have_no_depth() -> None:
    walk = still(torch.stack([smooth(*SIZE)] * 3), torch.inf)
    scores = revisit_scores(walk, [Revisit(2, 0)])
    assert scores["revisit_psnr"] == 100
    assert math.isnan(scores["depth_difference"])


def test_drift_is_in_cells() -> None:
    image = smooth(*SIZE)
    assert drift_in_cells(image, image, 8) == 0
    assert drift_in_cells(image.roll(12, -1), image, 8) == pytest.approx(1.5, abs=0.02)
