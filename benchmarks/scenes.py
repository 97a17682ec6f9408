# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks work on: the real recording where MIRAGE_DATA names it, and a made-up room for everyone.

Both are 73 frames of depth with cameras. A chunk of video is lifted from some of them; larger clouds are drawn from all
frames at depth resolution, in recorded order.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from benchmarks.sizes import CHANNELS as CHANNELS
from benchmarks.sizes import GRID as GRID
from benchmarks.sizes import Video
from mirage_kernels import Cameras, VoxelCache, unproject

FRAMES = 73
T = TypeVar("T")
SIZE = (360, 540)


class Cloud(NamedTuple):
    """Points with features, and the cameras that read them."""

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


def sizes(every: Iterable[T], one: T) -> list[tuple[str, T]]:
    """Scenes with sizes to be measured: every size on the recording, and one of them in the room, for comparison; every
    size in the room where there is no recording."""
    *others, last = scenes()
    return [*((scene, one) for scene in others), *((last, size) for size in every)]


@cache
def frames(scene: str) -> tuple[Tensor, Cameras]:
    """Depth (73, 360, 540) and cameras."""
    if scene == "hololens":
        from mirage.recordings.hololens import read_rgbd

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
        depth[frame] = ((half * direction.sign() - cameras.centers[frame]) / direction).amin(-1)
    return depth, cameras


def used(latents: int) -> list[int]:
    """The frames that stand for the latents of a chunk."""
    if latents == 9:
        return list(range(5, 59, 6))
    return torch.linspace(0, FRAMES - 1, latents).long().tolist()


def path(scene: str) -> Cameras:
    """Nine cameras along the recording, over the latent grid."""
    _, cameras = frames(scene)
    return cameras[used(9)].rescale(GRID)


@cache
def chunk(scene: str, video: Video) -> tuple[Tensor, Tensor, Cameras]:
    """Depth (T, H, W) of a chunk's latents, the latents (T, C, h, w), and their cameras over (H, W)."""
    depth, cameras = frames(scene)
    some = used(video.latents)
    full = torch.nn.functional.interpolate(depth[some, None], video.size, mode="nearest")[:, 0]
    generator = torch.Generator().manual_seed(0)
    return (
        full,
        torch.randn(video.latents, CHANNELS, *video.grid, generator=generator),
        cameras[some].rescale(video.size),
    )


@cache
def cloud(scene: str, of: Video | int) -> Cloud:
    """The latents of a chunk with the views of all of them, or so many points with nine views."""
    if isinstance(of, Video):
        depth, latents, cameras = chunk(scene, of)
        p = unproject(depth, latents, cameras)
        return Cloud(p.xyz, p.features, p.valid, p.footprint, cameras.rescale(of.grid))
    depth, cameras = frames(scene)
    generator = torch.Generator().manual_seed(0)
    p = unproject(depth, torch.zeros(FRAMES, 1, *SIZE), cameras)
    known = p.valid.nonzero().squeeze(1)
    pick = known[torch.randperm(len(known), generator=generator)[:of].sort().values]
    features = torch.randn(of, CHANNELS, generator=generator)
    return Cloud(p.xyz[pick], features, torch.ones(of, dtype=torch.bool), p.footprint[pick], path(scene))


def known(scene: str, of: Video | int) -> tuple[Tensor, Tensor, Tensor]:
    """Places (N, 3), features (N, C) and footprints (N,) of a cloud's valid points."""
    c = cloud(scene, of)
    return c.xyz[c.valid], c.features[c.valid], c.footprint[c.valid]


@cache
def voxels(scene: str, size: float) -> tuple[Tensor, Tensor]:
    """Places and footprints of what all frames at depth resolution fill."""
    depth, cameras = frames(scene)
    full = VoxelCache(size, 0)
    for t in range(FRAMES):
        p = unproject(depth[t : t + 1], torch.zeros(1, 0, *SIZE), cameras[t])
        full.insert(p.xyz, p.features, p.footprint, valid=p.valid)
    return full.xyz, full.footprint
