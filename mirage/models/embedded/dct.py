# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A codec with nothing to download: the block cosine transform, on the grid and with the channels of Wan2.2's."""

from __future__ import annotations

import math

import torch
from torch import Tensor

COEFFICIENTS = 16


def dct_matrix(size: int) -> Tensor:
    """The orthonormal DCT-II of ``size`` samples, (frequency, sample), float32 (Ahmed, Natarajan and Rao 1974)."""
    frequency = torch.arange(size, dtype=torch.float64)[:, None]
    sample = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * frequency * (sample + 0.5) / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def lowest_frequencies(size: int, count: int) -> list[tuple[int, int]]:
    """The ``count`` lowest of a block's size x size frequencies (i, j), by i + j and then by i."""
    return sorted(((i, j) for i in range(size) for j in range(size)), key=lambda f: (f[0] + f[1], f[0]))[:count]


class DctCodec:
    """Keeps the 16 lowest frequencies of every block, first of R, then of G, then of B: 48 channels.

    Between the frames that latents stand for, decoded frames fade from one to the next.

    Args:
        block: pixels a block is wide and high, at least 4.
    """

    temporal_stride = 4
    channels = 3 * COEFFICIENTS

    def __init__(self, block: int = 16) -> None:
        if block < 4:
            raise ValueError(f"block: expected at least 4, got {block}")
        self.spatial_stride = block
        self.name = f"dct-{block}"
        # (16, block, block): the picture of every kept frequency. They are orthonormal, so encoding is a projection.
        matrix = dct_matrix(block)
        kept = lowest_frequencies(block, COEFFICIENTS)
        self.basis = torch.stack([torch.outer(matrix[i], matrix[j]) for i, j in kept])

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, F, H, W), F = 4 (T - 1) + 1, H and W multiples of the block, to latents (B, 48, T, h, w)."""
        block = self.spatial_stride
        b, colours, count, height, width = frames.shape
        if colours != 3 or (count - 1) % self.temporal_stride or height % block or width % block:
            raise ValueError(
                f"frames: expected (B, 3, 4 (T - 1) + 1, h * {block}, w * {block}), got {tuple(frames.shape)}"
            )
        h, w = height // block, width // block
        blocks = frames[:, :, :: self.temporal_stride].reshape(b, 3, -1, h, block, w, block)
        latents = torch.einsum("bcthiwj,kij->bckthw", blocks, self.basis.to(frames))
        return latents.reshape(b, self.channels, -1, h, w)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, 48, T, h, w) to frames (B, 3, 4 (T - 1) + 1, H, W), 0 to 1."""
        b, channels, count, h, w = latents.shape
        if channels != self.channels or count == 0:
            raise ValueError(f"latents: expected (B, {self.channels}, T, h, w), got {tuple(latents.shape)}")
        block = self.spatial_stride
        kept = latents.reshape(b, 3, COEFFICIENTS, count, h, w)
        pictures = torch.einsum("bckthw,kij->bcthiwj", kept, self.basis.to(latents))
        pictures = pictures.reshape(b, 3, count, h * block, w * block)
        at = torch.arange((count - 1) * self.temporal_stride + 1, device=latents.device)
        before = (at // self.temporal_stride).clamp(max=max(count - 2, 0))
        after = (before + 1).clamp(max=count - 1)
        weight = (at - before * self.temporal_stride).to(pictures) / self.temporal_stride
        frames = torch.lerp(pictures[:, :, before], pictures[:, :, after], weight[:, None, None])
        return frames.clamp(0, 1)
