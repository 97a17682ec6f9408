# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The real recording of the studies, ``hololens_dev`` in the folder MIRAGE_DATA, at the size of Wan2.2's video.

Every fourth frame at 704x1280: 61 frames, of which the studies write the first 45 and only read the other 16. Each
frame stands for one latent of 44x80 cells and 48 channels: the cosine codec's latent of that frame, in bfloat16 as
Wan2.2 has it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, unproject

from ..models.embedded import DctCodec
from ..recordings.hololens import RgbdFrames, read_rgbd
from .baselines.rgb_cloud import as_bytes

WRITTEN, READ, SIZE = 45, 16, (704, 1280)
GRID, CHANNELS = (44, 80), 48


class Recording(NamedTuple):
    """T frames with their latents.

    Attributes:
        frames: (T, 3, H, W) uint8.
        depth: (T, H, W), 0 = none.
        cameras: T cameras over (H, W).
        latents: (T, C, h, w) bfloat16.
        truth: (T, h, w), the true depth of every cell, inf = none.
    """

    frames: Tensor
    depth: Tensor
    cameras: Cameras
    latents: Tensor
    truth: Tensor

    def pick(self, index: list[int]) -> Recording:
        """The frames with these numbers."""
        return Recording(
            self.frames[index], self.depth[index], self.cameras[index], self.latents[index], self.truth[index]
        )


def data_folder() -> Path:
    """The folder of real recordings.

    Raises:
        SystemExit: MIRAGE_DATA is not set.
    """
    root = os.environ.get("MIRAGE_DATA")
    if not root:
        raise SystemExit("MIRAGE_DATA is not set: it names the folder of real recordings")
    return Path(root)


def read_hololens() -> RgbdFrames:
    """All 73 frames of the recording."""
    return read_rgbd(data_folder() / "hololens_dev")


def every_fourth(frames: int) -> list[int]:
    """The numbers of the frames that are evenly spaced: the recording has every 4th frame of a longer one, except for a
    dense part in the middle."""
    return [*range(10), *range(10, 27, 4), *range(27, frames)]


def describe(frames: Tensor, depth: Tensor, cameras: Cameras) -> Recording:
    """Add latents and the true depth of cells.

    Args:
        frames: (T, 3, H, W) uint8.
        depth: (T, H, W), 0 = none.
        cameras: T cameras over (H, W).
    """
    codec = DctCodec()
    latents = torch.cat([codec.encode(frame[None, :, None].float() / 255)[:, :, 0] for frame in frames]).bfloat16()
    points = unproject(depth, latents[:, :0], cameras)
    _, _, h, w = latents.shape
    z = points.footprint * cameras.rescale((h, w)).intrinsics[:, 0, 0].repeat_interleave(h * w)
    truth = torch.where(points.valid, z, torch.inf).reshape(-1, h, w)
    return Recording(frames, depth, cameras, latents, truth)


def record() -> Recording:
    """The evenly spaced frames at 704x1280."""
    recorded = read_hololens()
    index = every_fourth(len(recorded.depth))
    images = nnf.interpolate(recorded.images[index], SIZE, mode="bilinear")
    depth = nnf.interpolate(recorded.depth[index, None], SIZE, mode="nearest-exact")[:, 0]
    return describe(as_bytes(images), depth, recorded.cameras[index].rescale(SIZE))
