# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Single views of procedural scenes, to all sides and up and down: what a depth network of photographs needs."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..data.procedural import ProceduralScene
from .clip_types import TrainingClip

__all__ = ["ProceduralViews"]

DOWN, DOWN_SPREAD, DOWN_RANGE = 10.0, 15.0, (-25.0, 50.0)  # degrees: people look down on what they photograph
ROLL_SPREAD = 4.0  # degrees


class ProceduralViews:
    """Views of procedural scenes, all around and tilted at random; see :mod:`mirage.data.procedural`.

    Clips of the scenes are walks, in which neighboring frames look alike and the camera looks ahead.

    Args:
        seeds: of the scenes.
        views: of each scene.
        size: (H, W).
    """

    def __init__(self, seeds: Sequence[int], views: int, size: tuple[int, int]) -> None:
        self._seeds = {f"procedural-{seed:08d}": seed for seed in seeds}
        self.names, self.origin = list(self._seeds), "procedural views"
        self._views, self._size = views, size

    def read(self, name: str) -> TrainingClip:
        """Draw the views of a scene."""
        seed = self._seeds[name]
        scene, rng = ProceduralScene(seed, frames=self._views + 1), random.Random(f"{seed}/views")
        around = scene.cameras(self._views + 1, self._size, "turn")[: self._views]  # the last one is the first
        cameras = tilt(around, rng)
        drawn = [scene.draw(cameras[n], n) for n in range(self._views)]
        images, depth, moving = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        return TrainingClip(images, depth, cameras, moving | (depth == 0), scene.caption)


def tilt(cameras: Cameras, rng: random.Random) -> Cameras:
    """Turn each camera down, or up, and to its side, by an angle that is drawn."""
    turns = []
    for _ in range(len(cameras)):
        down = min(max(rng.gauss(DOWN, DOWN_SPREAD), DOWN_RANGE[0]), DOWN_RANGE[1])
        turns.append(_turn(math.radians(down), math.radians(rng.gauss(0, ROLL_SPREAD))))
    poses = cameras.cam2world @ torch.stack(turns).to(cameras.cam2world)
    return Cameras(cameras.intrinsics, poses, cameras.size)


def _turn(down: float, roll: float) -> Tensor:
    """(4, 4) float64, to be multiplied from the right: about the camera's x axis, and then about its z axis."""
    cd, sd, cr, sr = math.cos(down), math.sin(down), math.cos(roll), math.sin(roll)
    about_x = [[1, 0, 0, 0], [0, cd, sd, 0], [0, -sd, cd, 0], [0, 0, 0, 1]]
    about_z = [[cr, -sr, 0, 0], [sr, cr, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    x, z = (torch.tensor(rows, dtype=torch.float64, device="cpu") for rows in (about_x, about_z))
    return x @ z
