# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A codec without weights: a block cosine transform, with the strides and channels of Wan2.2's autoencoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor

COEFFICIENTS = 16


def dct_matrix(size: int) -> Tensor:
    """The orthonormal DCT-II matrix (Ahmed, Natarajan and Rao 1974).

    Args:
        size: number of samples.

    Returns:
        (size, size) float32, indexed by frequency and sample.
    """
    frequency = torch.arange(size, dtype=torch.float64)[:, None]
    sample = torch.arange(size, dtype=torch.float64)
    matrix = torch.cos(math.pi * frequency * (sample + 0.5) / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def lowest_frequencies(size: int, count: int) -> list[tuple[int, int]]:
    """The ``count`` lowest of ``size`` x ``size`` frequencies (i, j), ordered by i + j and then by i."""
    return sorted(((i, j) for i in range(size) for j in range(size)), key=lambda f: (f[0] + f[1], f[0]))[:count]


class DctCodec:
    """A :class:`mirage.rollout.Codec` that keeps the 16 lowest frequencies of each block and color channel.

    The 48 latent channels are 16 each for R, G and B. Latent k encodes frame 4k; decoding interpolates linearly between
    these frames.

    Args:
        block: side of a block in pixels, at least 4.

    Raises:
        ValueError: ``block`` is less than 4.
    """

    temporal_stride = 4
    channels = 3 * COEFFICIENTS

    def __init__(self, block: int = 16) -> None:
        if block < 4:
            raise ValueError(f"block: expected at least 4, got {block}")
        self.spatial_stride = block
        self.name = f"dct-{block}"
        # (16, block, block): the basis function of each kept frequency. They are orthonormal: encoding is a projection.
        matrix = dct_matrix(block)
        frequencies = lowest_frequencies(block, COEFFICIENTS)
        self.basis = torch.stack([torch.outer(matrix[i], matrix[j]) for i, j in frequencies])

    def encode(self, frames: Tensor) -> Tensor:
        """Encode frames.

        Args:
            frames: (B, 3, F, H, W), 0 to 1, with F = 4 (T - 1) + 1, and H and W multiples of the block.

        Returns:
            Latents (B, 48, T, h, w).

        Raises:
            ValueError: ``frames`` has another shape.
        """
        block = self.spatial_stride
        b, colors, count, height, width = frames.shape
        if colors != 3 or (count - 1) % self.temporal_stride or height % block or width % block:
            raise ValueError(
                f"frames: expected (B, 3, 4 (T - 1) + 1, h * {block}, w * {block}), got {tuple(frames.shape)}"
            )
        h, w = height // block, width // block
        blocks = frames[:, :, :: self.temporal_stride].reshape(b, 3, -1, h, block, w, block)
        latents = torch.einsum("bcthiwj,kij->bckthw", blocks, self.basis.to(frames))
        return latents.reshape(b, self.channels, -1, h, w)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents.

        Args:
            latents: (B, 48, T, h, w), with T at least 1.

        Returns:
            Frames (B, 3, 4 (T - 1) + 1, H, W), clamped to 0 to 1.

        Raises:
            ValueError: ``latents`` has another shape.
        """
        b, channels, count, h, w = latents.shape
        if channels != self.channels or count == 0:
            raise ValueError(f"latents: expected (B, {self.channels}, T, h, w), got {tuple(latents.shape)}")
        block = self.spatial_stride
        coefficients = latents.reshape(b, 3, COEFFICIENTS, count, h, w)
        images = torch.einsum("bckthw,kij->bcthiwj", coefficients, self.basis.to(latents))
        images = images.reshape(b, 3, count, h * block, w * block)
        frame = torch.arange((count - 1) * self.temporal_stride + 1, device=latents.device)
        before = (frame // self.temporal_stride).clamp(max=max(count - 2, 0))
        after = (before + 1).clamp(max=count - 1)
        weight = (frame - before * self.temporal_stride).to(images) / self.temporal_stride
        frames = torch.lerp(images[:, :, before], images[:, :, after], weight[:, None, None])
        return frames.clamp(0, 1)
