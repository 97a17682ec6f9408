# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of photographs: a camera moves in front of a wall that shows one of them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras

from ..data.procedural_textures import load_photograph
from .clip_types import TrainingClip

__all__ = ["PhotoClips"]

# Not astronaut, coffee and motorcycle, which are left for tests of what is trained.
PHOTOGRAPHS = ("brick", "camera", "chelsea", "clock", "coins", "grass", "gravel", "hubble_deep_field",
               "immunohistochemistry", "retina", "rocket")  # fmt: skip
DISTANCE = (2.5, 6.0)  # meters from the wall
VIEW = (0.4, 0.7)  # fraction of the photograph's width that the first frame shows


class PhotoClips:
    """Clips of photographs of scikit-image, one for each seed, with exact depth and poses.

    The wall goes on beyond the photograph as its mirror image.

    Args:
        seeds: of the photograph and the path.
        frames: of each clip.
        size: (H, W) of the frames.
        caption: of all clips.
    """

    origin = "photographs"

    def __init__(self, seeds: Sequence[int], frames: int, size: tuple[int, int], caption: str = "") -> None:
        self._seeds = {f"photo-{seed:08d}": seed for seed in seeds}
        self.names = list(self._seeds)
        self._frames, self._size, self._caption = frames, size, caption or "a photograph"
        self.described = [self.origin, frames, list(size), caption]

    def read(self, name: str) -> TrainingClip:
        """Draw a clip.

        Raises:
            DataError: scikit-image is not installed.
        """
        rng = random.Random(f"photo {self._seeds[name]}")
        photo = load_photograph(rng.choice(PHOTOGRAPHS))
        if rng.random() < 0.5:
            photo = photo.flip(-1)
        height, width = self._size
        focal = width / 2 / math.tan(math.radians(rng.uniform(50, 75)) / 2)
        distance = rng.uniform(*DISTANCE)
        # meters of a pixel of the photograph
        unit = distance * width / focal / (rng.uniform(*VIEW) * photo.shape[2])
        cameras = Cameras(
            torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float64, device="cpu")
            .expand(self._frames, 3, 3),
            _path(rng, self._frames, distance),
            self._size,
        )  # fmt: skip
        drawn = [_draw(photo, cameras[t], distance, unit) for t in range(self._frames)]
        frames, depth = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        return TrainingClip(frames, depth, cameras, None, self._caption)


def _path(rng: random.Random, frames: int, distance: float) -> Tensor:
    """(F, 4, 4) float64 cam2world of a path that wanders around the start and comes back to it."""
    along = torch.linspace(0, 2 * math.pi, frames, dtype=torch.float64, device="cpu")

    def wander(amplitude: float) -> Tensor:
        turns, phase = rng.choice((1, 2)), rng.uniform(0, 2 * math.pi)
        return amplitude * rng.uniform(0.3, 1) * ((turns * along + phase).sin() - math.sin(phase))

    x, y, z = (wander(share * distance) for share in (0.35, 0.12, 0.25))
    yaw, pitch = wander(0.35), wander(0.1)
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    cy, sy, cp, sp = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin()
    rows = [[cy, sy * sp, sy * cp, x], [zero, cp, -sp, y], [-sy, cy * sp, cy * cp, z], [zero, zero, zero, one]]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def _draw(photo: Tensor, camera: Cameras, distance: float, unit: float) -> tuple[Tensor, Tensor]:
    """The image (3, H, W) uint8 and the z-depth (H, W) of a wall at z = ``distance``."""
    height, width = camera.size
    k, pose = camera.intrinsics[0].double(), camera.cam2world[0].double()
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=torch.float64, device="cpu") + 0.5,
        torch.arange(width, dtype=torch.float64, device="cpu") + 0.5, indexing="ij",
    )  # fmt: skip
    rays = torch.stack([(columns - k[0, 2]) / k[0, 0], (rows - k[1, 2]) / k[1, 1], torch.ones_like(rows)], -1)
    rays = rays @ pose[:3, :3].T  # (H, W, 3) in the world, per unit of depth
    depth = (distance - pose[2, 3]) / rays[..., 2]
    wall = pose[:2, 3] + depth[..., None] * rays[..., :2]
    half = torch.tensor([photo.shape[2], photo.shape[1]], dtype=torch.float64, device="cpu") * unit / 2
    image = nnf.grid_sample(
        photo[None], (wall / half)[None].float(), mode="bicubic", padding_mode="reflection", align_corners=False
    )[0]
    return (image.clamp(0, 1) * 255).round().to(torch.uint8), depth.float()
