# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The sizes that are measured, with their names in the tables. All have 48 channels."""

from __future__ import annotations

from typing import NamedTuple

CHANNELS = 48
STRIDE = 16  # pixels of a latent cell, as in Wan2.2's autoencoder
GRID = (44, 80)  # of 704x1280
POINTS = (316_800, 1_000_000)  # of clouds larger than a chunk of video
ROWS = (10_000, 100_000, 1_000_000, 10_000_000)  # of a cache


class Video(NamedTuple):
    """A chunk of video. Wan2.2 makes a latent of the first frame and one of every four after it."""

    height: int
    width: int
    frames: int

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return f"{self.height}x{self.width}, {self.frames} frames"

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def latents(self) -> int:
        return (self.frames + 3) // 4

    @property
    def grid(self) -> tuple[int, int]:
        return self.height // STRIDE, self.width // STRIDE

    @property
    def cells(self) -> int:
        return self.latents * self.grid[0] * self.grid[1]


VIDEOS = (Video(480, 832, 33), Video(480, 832, 81), Video(704, 1280, 33), Video(704, 1280, 81))
CHUNK = VIDEOS[2]
