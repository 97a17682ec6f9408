# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the rollout needs of a codec and of a video model: any object with these members will do."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Codec(Protocol):
    """What the rollout asks of a codec. Latent k stands for frame ``k * temporal_stride`` and its camera.

    Attributes:
        name: tells latents of one kind from those of another.
        channels: of a latent cell.
        spatial_stride: pixels a cell is wide and high.
        temporal_stride: frames from one latent to the next.
    """

    name: str
    channels: int
    spatial_stride: int
    temporal_stride: int

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, F, H, W), 0 to 1, F = 1 + stride (T - 1), to latents (B, C, T, h, w)."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, T, h, w) to frames (B, 3, 1 + stride (T - 1), H, W), 0 to 1."""
        ...


class ChunkModel(Protocol):
    """What the rollout asks of a generator.

    Attributes:
        patch: the sides of a grid of latents are multiples of it.
    """

    patch: int

    def __call__(
        self,
        view: Tensor,
        mask: Tensor,
        *,
        first: Tensor,
        preceding: Tensor,
        preceding_view: Tensor,
        preceding_mask: Tensor,
        references: Tensor,
        prompt: str,
        rng: torch.Generator,
    ) -> Tensor:
        """Make T latents.

        Args:
            view: (C, T, h, w), what the memory shows from the chunk's cameras; zeros in holes.
            mask: (T, h, w) bool, False in holes.
            first: (C, h, w), the chunk's first latent, which is given.
            preceding: (C, P, h, w), up to two latents that came before it.
            preceding_view, preceding_mask: (C, P, h, w) and (P, h, w), what the memory showed when those were made.
            references: (C, R, h, w), up to four past latents that saw the same places, best first.
            prompt: what the video is of.
            rng: source of randomness.

        Returns:
            (C, T, h, w), the first of which is ``first``.
        """
        ...
