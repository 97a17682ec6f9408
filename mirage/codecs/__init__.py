# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Codecs turn frames into latents and back."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from .dct import DctCodec

__all__ = ["Codec", "DctCodec"]


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
