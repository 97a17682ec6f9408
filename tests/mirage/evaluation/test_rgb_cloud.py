# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory of colored points that ours is compared with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mirage.evaluation.baselines.rgb_cloud import RgbCloud, as_bytes
from mirage_kernels import Cameras

SIZE = (16, 24)
CAMERA = Cameras(torch.tensor([[20.0, 0, 12], [0, 20.0, 8], [0, 0, 1]]), torch.eye(4), SIZE)


@pytest.fixture
def frames() -> Tensor:
    return torch.randint(256, (2, 3, *SIZE), generator=torch.Generator().manual_seed(0)).byte()


def test_the_nearest_point_shows(frames: Tensor) -> None:
    depth = torch.full((2, *SIZE), 2.0)
    depth[0, :4] = 0
    depth[0, 4] = torch.inf
    depth[1, :, :6] = 1.0
    cloud = RgbCloud(2 * 16 * 24)
    cloud.write(frames, depth, Cameras.cat([CAMERA, CAMERA]))
    expected, front = frames[0] / 255, frames[1] / 255
    expected[:, :5] = front[:, :5]
    expected[:, :, :6] = front[:, :, :6]
    seen = cloud.render(CAMERA)
    assert torch.equal(seen.images[0], expected), "of two at the same depth the first"
    nearest = torch.full(SIZE, 2.0)
    nearest[:, :6] = 1.0
    assert torch.equal(seen.depth[0], nearest)


def test_pixels_without_depth_take_no_room_and_show_black(frames: Tensor) -> None:
    depth = torch.full((1, *SIZE), 2.0)
    depth[0, :, 5:] = torch.nan
    cloud = RgbCloud(16 * 5)
    assert (len(cloud), cloud.nbytes) == (0, 0)
    assert not cloud.render(CAMERA).images.any()
    cloud.write(frames[:1], depth, CAMERA)
    assert (len(cloud), cloud.nbytes) == (80, 80 * 15)
    seen = cloud.render(Cameras.cat([CAMERA, CAMERA]))
    assert torch.equal(seen.images[1, :, :, :5], frames[0, :, :, :5] / 255)
    assert not seen.images[:, :, :, 5:].any()
    assert torch.equal(seen.depth.isfinite(), (depth > 0).expand(2, -1, -1))


def test_a_full_cloud_says_so(frames: Tensor) -> None:
    cloud = RgbCloud(16 * 24 + 3)
    depth = torch.ones(2, *SIZE)
    with pytest.raises(ValueError, match="frames: expected at most 3 pixels, got 384"):
        cloud.write(frames, depth, Cameras.cat([CAMERA, CAMERA]))
    assert len(cloud) == 384
    assert torch.equal(cloud.render(CAMERA).images[0], frames[0] / 255)


def test_bytes_are_the_nearest() -> None:
    assert as_bytes(torch.tensor([-1.0, 0.0, 0.499 / 255, 0.501 / 255, 1.0, 2.0])).tolist() == [0, 0, 0, 1, 255, 255]
