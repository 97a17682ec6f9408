# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Views of procedural scenes for the depth network."""

from __future__ import annotations

import random

import torch

from mirage.training.procedural_views import DOWN_RANGE, ProceduralViews, tilt
from mirage_kernels import Cameras


def test_views_differ_and_repeat() -> None:
    source = ProceduralViews(range(3, 5), 4, (48, 72))
    assert source.names == ["procedural-00000003", "procedural-00000004"]
    clip = source.read(source.names[0])
    assert clip.frames.shape == (4, 3, 48, 72)
    assert clip.depth.shape == (4, 48, 72)
    ahead = clip.cameras.cam2world[:, :3, 2]
    assert (ahead @ ahead.T).fill_diagonal_(0).max() < 0.8, "a quarter of a turn apart, but for the tilt"
    assert clip.exclude is not None
    assert clip.exclude[clip.depth == 0].all(), "the sky"
    again = ProceduralViews(range(4), 4, (48, 72)).read(source.names[0])
    assert torch.equal(again.frames, clip.frames)
    assert torch.equal(again.cameras.cam2world, clip.cameras.cam2world)


def test_cameras_are_tilted_down_on_average() -> None:
    level = Cameras(torch.eye(3).expand(500, 3, 3), torch.eye(4).expand(500, 4, 4), (4, 6))
    tilted = tilt(level, random.Random(0))
    ahead, right = tilted.cam2world[:, :3, 2], tilted.cam2world[:, :3, 0]
    down = torch.rad2deg(torch.asin(ahead[:, 1]))  # the y axis points down
    assert 8 < down.mean() < 12
    assert DOWN_RANGE[0] - 0.1 <= down.min() < 0
    assert 40 < down.max() <= DOWN_RANGE[1] + 0.1
    assert torch.rad2deg(torch.asin(right[:, 1])).std() < 6
    rotation = tilted.cam2world[:, :3, :3].double()
    assert (rotation @ rotation.mT - torch.eye(3)).abs().max() < 1e-5
