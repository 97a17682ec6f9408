# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A run of ``mirage generate``: what is known before its first chunk."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from mirage_kernels import Cameras

from ..data.scenes import Scene
from ..memory import LatentSpatialMemory
from ..rollout import Codec


class Run(NamedTuple):
    """What a video is made from.

    Attributes:
        scene: the start of the video, at the size of the frames.
        cameras: one camera per frame.
        memory: the memory that the video is generated with.
        codec: decodes the memory's latents.
        settings: entries for ``metrics.json``.
        fps: frames per second.
        options: the options of the command line, as JSON can hold them.
    """

    scene: Scene
    cameras: Cameras
    memory: LatentSpatialMemory
    codec: Codec
    settings: dict[str, Any]
    fps: int
    options: dict[str, Any]

    @property
    def latents(self) -> int:
        """Number of latents of the whole video."""
        return (len(self.cameras) - 1) // self.codec.temporal_stride + 1


def same_camera(a: Cameras, b: Cameras) -> bool:
    """Whether poses and intrinsics are equal bit for bit."""
    return torch.equal(a.cam2world, b.cam2world) and torch.equal(a.intrinsics, b.intrinsics)
