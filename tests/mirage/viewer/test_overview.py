# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The still image of a memory, and where it is seen from."""

from __future__ import annotations

import pytest
import torch
from walls import CAMERA, CODEC, wall_memory

from mirage.memory import LatentSpatialMemory
from mirage.viewer import draw_overview, make_point_cloud
from mirage.viewer.overview import frustum_corners
from mirage.viewer.vantage import find_vantage, up_direction
from mirage_kernels import Cameras


def share_of(image: torch.Tensor, color: tuple[float, float, float]) -> float:
    return float(((image - torch.tensor(color)[:, None, None]).abs().amax(0) < 0.1).float().mean())


@pytest.mark.parametrize("view", ["angle", "above"])
def test_the_image_shows_points_and_path(view: str) -> None:
    memory = wall_memory()
    image = draw_overview(memory, make_point_cloud(memory, CODEC, detail=2), (120, 160), view=view)
    assert image.shape == (3, 120, 160)
    if view == "angle":  # the wall is seen from its edge in the other one
        assert share_of(image, (1.0, 0, 0)) > 0.02
        assert share_of(image, (0, 1.0, 0)) > 0.005
    assert share_of(image, (1.0, 1.0, 1.0)) > 0.5
    path = (image[0] > 0.7) & (image[1] > 0.1) & (image[1] < 0.6) & (image[2] < 0.5)
    assert path.sum() > 5


def test_the_whole_memory_is_in_view() -> None:
    memory = wall_memory()
    for aspect in (0.5, 2.0):
        camera = find_vantage(memory, "angle", aspect).camera((100, round(100 * aspect)))
        _, _, inside = camera.project(torch.cat([memory.cache.xyz, memory.history.cameras.centers]))  # type: ignore[union-attr]
        assert inside.all()


def test_the_view_from_above_begins_below_the_ceiling() -> None:
    memory = LatentSpatialMemory(CODEC.channels, codec=CODEC.name)
    turned = torch.tensor([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    latents, depth = torch.ones(48, 1, 4, 6), torch.full((1, 32, 48), 2.0)
    memory.write(latents, CAMERA, depth)  # level; up is -y
    memory.write(latents, Cameras(CAMERA.intrinsics, turned, CAMERA.size), depth)  # straight up: a ceiling
    vantage = find_vantage(memory, "above")
    depths = (vantage.eye - memory.cache.xyz) @ torch.nn.functional.normalize(vantage.eye - vantage.target, dim=0)
    up = -memory.cache.xyz[:, 1]
    assert (depths[up > 1.5] < vantage.near).all()
    assert (depths[up.abs() < 0.2] > vantage.near).all()


def test_a_memory_without_frames_can_be_drawn() -> None:
    memory = LatentSpatialMemory(CODEC.channels, max_frames=0)
    assert draw_overview(memory, make_point_cloud(memory, CODEC), (48, 64)).min() == 1
    memory.write(torch.ones(48, 1, 4, 6), CAMERA, torch.full((1, 32, 48), 2.0))
    assert draw_overview(memory, make_point_cloud(memory, color="frame"), (48, 64)).min() < 1
    assert up_direction(None).tolist() == [0, -1, 0]


def test_frusta_end_at_the_corners_of_the_image() -> None:
    corners = frustum_corners(CAMERA.translate((1, 2, 3)), 2.0)
    uv, depth, _ = CAMERA.translate((1, 2, 3)).project(corners[0])
    assert (uv[0] - torch.tensor([[0.0, 0], [48, 0], [48, 32], [0, 32]])).abs().max() < 1e-4
    assert (depth - 2).abs().max() < 1e-6


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="view: expected 'angle' or 'above', got 'below'"):
        find_vantage(wall_memory(), "below")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="aspect: expected"):
        find_vantage(wall_memory(), aspect=0)
