# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks work on: the real recording where MIRAGE_DATA names it, and a made-up room for everyone.

Both are 73 frames of depth with cameras. A cloud of 31,680 points is nine latent frames of 44x80 cells; larger ones are
drawn from all frames at depth resolution, in recorded order.
"""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras, unproject

GRID = (44, 80)
CHANNELS = 48
FRAMES = 73
SIZE = (360, 540)


class Cloud(NamedTuple):
    """Points with features, and the nine cameras that read them."""

    xyz: Tensor
    features: Tensor
    valid: Tensor
    footprint: Tensor
    cameras: Cameras


def recordings() -> Path:
    """The folder of real recordings."""
    root = os.environ.get("MIRAGE_DATA")
    if not root:
        raise SystemExit("MIRAGE_DATA is not set: it names the folder of real recordings")
    return Path(root)


def scenes() -> list[str]:
    return ["room", *(["hololens"] if os.environ.get("MIRAGE_DATA") else [])]


@cache
def frames(scene: str) -> tuple[Tensor, Cameras]:
    """Depth (73, 360, 540) and cameras."""
    if scene == "hololens":
        from mirage.data.rgbd import read_rgbd

        recording = read_rgbd(recordings() / "hololens_dev")
        return recording.depth, recording.cameras
    return _room()


def _room() -> tuple[Tensor, Cameras]:
    """A walk through an empty room of 6 x 3 x 8 m, turning by 240 degrees on the way."""
    along = torch.linspace(0, 1, FRAMES, dtype=torch.float64)
    eye = torch.stack([-1.5 + 3 * along, torch.full_like(along, -0.2), -2 + 3 * along], 1)
    angle = math.radians(240) * along
    ahead = torch.stack([angle.sin(), torch.full_like(angle, 0.1), angle.cos()], 1)
    intrinsics = torch.tensor([[495.0, 0, 270], [0, 495.0, 180], [0, 0, 1]])
    cameras = Cameras.look_at(eye, eye + ahead, intrinsics, SIZE)
    v, u = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    rays = torch.stack([(u - 270) / 495, (v - 180) / 495, torch.ones_like(u)], -1)
    half = torch.tensor([3.0, 1.5, 4.0])
    depth = torch.empty(FRAMES, *SIZE)
    for frame in range(FRAMES):
        direction = rays @ cameras.cam2world[frame, :3, :3].T
        # the wall that a ray from inside meets first
        depth[frame] = ((half * direction.sign() - cameras.centres[frame]) / direction).amin(-1)
    return depth, cameras


def path(scene: str) -> Cameras:
    """Nine cameras along the recording, over the latent grid."""
    _, cameras = frames(scene)
    return cameras[list(range(5, 59, 6))].rescale(GRID)


@cache
def cloud(scene: str, points: int, dtype: torch.dtype = torch.float32) -> Cloud:
    depth, cameras = frames(scene)
    generator = torch.Generator().manual_seed(0)
    if points == 9 * GRID[0] * GRID[1]:
        used = list(range(5, 59, 6))
        latents = torch.zeros(9, 1, *GRID)
        p = unproject(depth[used], latents, cameras[used])
        xyz, valid, footprint = p.xyz, p.valid, p.footprint
    else:
        p = unproject(depth, torch.zeros(FRAMES, 1, *SIZE), cameras)
        known = p.valid.nonzero().squeeze(1)
        pick = known[torch.randperm(len(known), generator=generator)[:points].sort().values]
        xyz, valid, footprint = p.xyz[pick], torch.ones(points, dtype=torch.bool), p.footprint[pick]
    features = torch.randn(points, CHANNELS, generator=generator).to(dtype)
    return Cloud(xyz, features, valid, footprint, path(scene))
