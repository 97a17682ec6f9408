# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Where to look at a whole memory from."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from ..memory import LatentSpatialMemory

View = Literal["angle", "above"]
VIEWS: tuple[View, ...] = get_args(View)
RISE = math.radians(35)  # of the view at an angle, above the horizon
FOV = math.radians(50)  # vertical
MARGIN = 1.1  # of the distance
OUTLIERS = 0.01  # fraction of the points on either side of an axis that may lie outside of the image
HEADROOM = 0.1  # of the height of the scene: how far above the cameras the view from above begins


class Vantage(NamedTuple):
    """A view of a whole memory, relative to its ``history.origin``.

    Attributes:
        eye, target, up: (3,) float64 on the CPU; ``up`` has length 1.
        near: depth from which points are shown: the view from above leaves out what is above the cameras, such as a
            ceiling.
    """

    eye: Tensor
    target: Tensor
    up: Tensor
    near: float = 1e-6

    def camera(self, size: tuple[int, int]) -> Cameras:
        """The camera over an image of ``size`` (H, W)."""
        focal = size[0] / 2 / math.tan(FOV / 2)
        k = [[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]]
        intrinsics = torch.tensor(k, dtype=torch.float64, device="cpu")
        return Cameras.look_at(self.eye[None], self.target, intrinsics, size, up=self.up.tolist())


def up_direction(cameras: Cameras | None) -> Tensor:
    """The direction that points up in the images of cameras, on average.

    Args:
        cameras: any number; None for the default, -y.

    Returns:
        (3,) float64 on the CPU, of length 1.
    """
    up = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64, device="cpu")
    if cameras is None:
        return up
    mean = -cameras.cam2world[:, :3, 1].double().cpu().mean(0)
    return mean / mean.norm() if mean.norm() > 1e-3 else up


def find_vantage(memory: LatentSpatialMemory, view: View = "angle", aspect: float = 4 / 3) -> Vantage:
    """Find where all but a few points of a memory, and all its cameras, are in view.

    Args:
        memory: any memory.
        view: ``"angle"`` looks down from behind the first camera, ``"above"`` straight down with what the first camera
            sees at the top.
        aspect: width of the image in heights.

    Raises:
        ValueError: ``view`` is neither, or ``aspect`` is not positive.
    """
    check.choice("view", view, VIEWS)
    aspect = check.positive("aspect", aspect)
    history, xyz = memory.history, memory.cache.xyz.double().cpu()
    cameras = None if history.cameras is None else history.to_local(history.cameras).to("cpu")
    up = up_direction(cameras)
    ahead = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64, device="cpu")
    if cameras is not None:
        ahead = cameras.cam2world[0, :3, 2].double()
    ahead = _horizontal(ahead, up)
    centers = xyz[:0] if cameras is None else cameras.centers.double()
    inliers = xyz[:: max(len(xyz) >> 18, 1)]
    axes = torch.stack([torch.linalg.cross(ahead, up), up, ahead], 1)  # columns: right, up, ahead
    low, high = _box(inliers @ axes, centers @ axes)
    target = axes @ ((low + high) / 2)
    if view == "above":
        distance = _distance(inliers - target, centers - target, (-up, ahead), aspect)
        eye, height = target + distance * up, float(high[1] - low[1])
        top = float((centers @ up).max()) + HEADROOM * height if len(centers) else float(high[1])
        return Vantage(eye, target, ahead, max(float(eye @ up) - top, 1e-6))
    toward = math.cos(RISE) * ahead - math.sin(RISE) * up
    distance = _distance(inliers - target, centers - target, (toward, up), aspect)
    return Vantage(target - distance * toward, target, up)


def _box(inliers: Tensor, centers: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest and highest coordinates (3,) of all centers, and of the points without outliers."""
    ends = torch.tensor([OUTLIERS, 1 - OUTLIERS], dtype=torch.float64, device="cpu")
    spread = inliers.quantile(ends, 0) if len(inliers) else inliers.new_zeros(2, 3)
    spread = torch.cat([spread, centers])
    return spread.amin(0), spread.amax(0)


def _distance(inliers: Tensor, centers: Tensor, looking: tuple[Tensor, Tensor], aspect: float) -> float:
    """From how far the points around the origin are in view, without outliers.

    Args:
        inliers, centers: (N, 3) and (V, 3).
        looking: the direction of the view, and one that points up in it.
        aspect: width of the image in heights.
    """
    toward, up = looking
    right = torch.linalg.cross(toward, up)
    axes = torch.stack([right / right.norm(), torch.linalg.cross(right / right.norm(), toward), toward], 1)
    tangent = torch.tensor([math.tan(FOV / 2) * aspect, math.tan(FOV / 2)], dtype=torch.float64, device="cpu")
    needed = []
    for points, part in ((inliers, 1 - 2 * OUTLIERS), (centers, 1.0)):
        local = points @ axes
        distances = ((local[:, :2].abs() / tangent) - local[:, 2:]).amax(1)
        needed += [float(distances.quantile(part))] if len(points) else []
    return max(MARGIN * max(needed, default=1.0), 1e-3)


def _horizontal(direction: Tensor, up: Tensor) -> Tensor:
    """The horizontal part of a direction, with length 1; some horizontal direction for one that is vertical."""
    flat = direction - (direction @ up) * up
    if flat.norm() < 1e-3:
        flat = torch.eye(3, dtype=torch.float64, device="cpu")[up.abs().argmin()]
        flat = flat - (flat @ up) * up
    result: Tensor = flat / flat.norm()
    return result
