# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A real recording (MIRAGE_DATA, ``hololens_dev``) at the size of Wan2.2's video, as memories are written from it.

Every fourth frame of it at 704x1280: 61 frames, of which benchmarks write the first 45 and only read the other 16. A
frame stands for one latent of 44x80 cells and 48 channels, the cosine codec's own of that frame, in bfloat16 as Wan2.2
gives them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from benchmarks import scenes
from benchmarks.baselines.rgb_cloud import as_bytes
from mirage.models.embedded import DctCodec
from mirage.recordings.hololens import read_rgbd
from mirage_kernels import Cameras, unproject

WRITTEN, READ, SIZE = 45, 16, (704, 1280)


class Recording(NamedTuple):
    """T frames (T, 3, H, W) uint8 and depth (T, H, W) with cameras, their latents (T, C, h, w) bfloat16, and the true
    depth of every cell (T, h, w), inf = none."""

    frames: Tensor
    depth: Tensor
    cameras: Cameras
    latents: Tensor
    truth: Tensor

    def pick(self, at: list[int]) -> Recording:
        """Some of its frames."""
        return Recording(self.frames[at], self.depth[at], self.cameras[at], self.latents[at], self.truth[at])


def describe(frames: Tensor, depth: Tensor, cameras: Cameras) -> Recording:
    """Add what follows from frames (T, 3, H, W) uint8, depth (T, H, W) and cameras."""
    codec = DctCodec()
    latents = torch.cat([codec.encode(frame[None, :, None].float() / 255)[:, :, 0] for frame in frames]).bfloat16()
    p = unproject(depth, latents[:, :0], cameras)
    _, _, h, w = latents.shape
    z = p.footprint * cameras.rescale((h, w)).intrinsics[:, 0, 0].repeat_interleave(h * w)
    truth = torch.where(p.valid, z, torch.inf).reshape(-1, h, w)
    return Recording(frames, depth, cameras, latents, truth)


def record() -> Recording:
    recorded = read_rgbd(scenes.recordings() / "hololens_dev")
    # The recording has every 4th frame of a longer one, but for a dense stretch in the middle.
    every = [*range(10), *range(10, 27, 4), *range(27, len(recorded.depth))]
    images = nnf.interpolate(recorded.images[every], SIZE, mode="bilinear")
    depth = nnf.interpolate(recorded.depth[every, None], SIZE, mode="nearest-exact")[:, 0]
    return describe(as_bytes(images), depth, recorded.cameras[every].rescale(SIZE))
