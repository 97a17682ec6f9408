# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A guess of depth that needs no weights, for images of which nothing is known."""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_kernels import Cameras

from .estimator import DepthEstimate, check_frames, make_estimate

CAMERA_HEIGHT = 1.5  # m above the ground
WALL_DISTANCE = 5.0  # m; with 8 m, the shear of portraits and near objects, which have no ground, is plain to see
SHARPNESS = 4.0  # of the bend between ground and wall; larger is sharper


def guess_depth(frames: Tensor, cameras: Cameras) -> DepthEstimate:
    """Guess the depth of frames: level ground below the horizon, and a wall far behind it.

    The horizon is the row of the principal point, as in the image of a camera that is held level. The colors of the
    pixels are not used. This function is the only place that decides about images without depth and without a network.

    Args:
        frames: (3, T, H, W), values 0 to 1.
        cameras: T cameras.

    Returns:
        Depth in meters, for a camera 1.5 m above the ground and a wall at 5 m. It is valid everywhere, between that of
        the ground at the lower edge and that of the wall, and smooth where they meet.

    Raises:
        ValueError: the frames have another shape, or the number of cameras is not T.

    Example:
        >>> camera = Cameras(torch.tensor([[100.0, 0, 64], [0, 100, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> depth = guess_depth(torch.zeros(3, 1, 96, 128), camera).depth[0]
        >>> [round(depth[row, 0].item(), 1) for row in (0, 48, 64, 80, 95)]
        [5.0, 5.0, 4.9, 4.0, 3.0]
    """
    _, (h, w) = check_frames(frames, cameras)
    k = cameras.rescale((h, w)).intrinsics.to(frames.device)
    rows = torch.arange(h, device=frames.device, dtype=torch.float32) + 0.5
    below = (rows - k[:, 1, 2:3]).clamp(min=0) / k[:, 1, 1:2]  # (T, H), tangent of the angle below the horizon
    ground, wall = below / CAMERA_HEIGHT, 1 / WALL_DISTANCE  # inverse depths; the larger one is seen
    inverse = ((ground / wall).pow(SHARPNESS) + 1).pow(1 / SHARPNESS) * wall
    return make_estimate((1 / inverse)[:, :, None].expand(-1, -1, w).contiguous(), metric=True)
