# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The result of a step of a rollout."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from mirage_kernels import Cameras

from ..memory import MemoryView
from .write_back import WriteResult


class Chunk(NamedTuple):
    """The frames and latents that one step of a rollout adds to the video.

    Attributes:
        start: number of the first frame.
        frames: (3, F, H, W), values 0 to 1; F = 0 if frames are not decoded.
        latents: (C, T, h, w).
        view: what the memory rendered before the chunk was generated, from the cameras of all its latents. Chunks after
            the first have T + 1 of them, because they begin with the last latent of the chunk before.
        cameras: F cameras over (H, W), one for each frame.
        write_back: for each of the T latents, what was written to the memory.
        seconds: duration of each part: ``"read"``, ``"retrieve"``, ``"generate"``, ``"decode"`` and ``"write"``.
    """

    start: int
    frames: Tensor
    latents: Tensor
    view: MemoryView
    cameras: Cameras
    write_back: list[WriteResult]
    seconds: dict[str, float]

    @property
    def written(self) -> list[int]:
        """Number of points that each latent added to the memory."""
        return [result.added for result in self.write_back]
