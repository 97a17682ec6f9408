# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The scale between depth and poses of another unit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mirage.data.procedural import make_clip
from mirage.depth import fit_pose_scale
from mirage.errors import DataError
from mirage.recordings import read_rgbd


@pytest.mark.parametrize("seed", [0, 1, 3, 4, 6])
@pytest.mark.parametrize("unit", [0.1, 1.0, 9.0])
def test_the_scale_of_procedural_scenes(seed: int, unit: float) -> None:
    clip = make_clip(seed, frames=33, size=(96, 144), revisit="on")
    frames, depth, cameras = clip.frames[::4].float() / 255, clip.depth[::4], clip.cameras[::4]
    assert fit_pose_scale(frames, depth / unit, cameras) == pytest.approx(unit, rel=0.04)


def test_depth_that_is_noisy() -> None:
    clip = make_clip(1, frames=33, size=(96, 144), revisit="on")
    frames, cameras = clip.frames[::4].float() / 255, clip.cameras[::4]
    noise = torch.randn(9, 1, 1, generator=torch.Generator().manual_seed(0)) * 0.05
    assert fit_pose_scale(frames, clip.depth[::4] * noise.exp() / 3, cameras) == pytest.approx(3, rel=0.2)


def test_the_scale_of_a_recording(data: Path) -> None:
    frames = read_rgbd(data / "hololens_dev")
    for part in (slice(0, 20), slice(20, 45)):
        found = fit_pose_scale(frames.images[part], frames.depth[part] / 3, frames.cameras[part])
        assert found == pytest.approx(3, rel=0.03)


def test_cameras_that_only_turn_have_no_scale() -> None:
    clip = make_clip(2, frames=9, size=(32, 48), revisit="turn")
    assert fit_pose_scale(clip.frames.float() / 255, clip.depth, clip.cameras) == 1.0


def test_frames_without_depth() -> None:
    clip = make_clip(1, frames=9, size=(32, 48), revisit="on")
    with pytest.raises(DataError, match="depth: expected overlapping frames and valid depth"):
        fit_pose_scale(clip.frames.float() / 255, 0 * clip.depth, clip.cameras)
