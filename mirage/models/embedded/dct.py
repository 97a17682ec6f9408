# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A codec without weights: a block cosine transform, with the strides and channels of Wan2.2's autoencoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ...memory import LatentSpatialMemory, MemoryView
from .resample import is_unmoved, render_patches

COEFFICIENTS = 16
MIN_CELLS = 2000  # that a frame should have; Wan2.2 has 3,520 at 704x1280


def dct_matrix(size: int) -> Tensor:
    """The orthonormal DCT-II matrix (Ahmed, Natarajan and Rao 1974).

    Args:
        size: number of samples.

    Returns:
        (size, size) float32, indexed by frequency and sample.
    """
    frequency = torch.arange(size, dtype=torch.float64, device="cpu")[:, None]
    sample = torch.arange(size, dtype=torch.float64, device="cpu")
    matrix = torch.cos(math.pi * frequency * (sample + 0.5) / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix.float()


def lowest_frequencies(size: int, count: int) -> list[tuple[int, int]]:
    """The ``count`` lowest of ``size`` x ``size`` frequencies (i, j), ordered by i + j and then by i."""
    return sorted(((i, j) for i in range(size) for j in range(size)), key=lambda f: (f[0] + f[1], f[0]))[:count]


class DctCodec:
    """A :class:`mirage.rollout.Codec` that keeps the 16 lowest frequencies of each block and color channel.

    The 48 latent channels are 16 each for R, G and B. With a temporal stride of 4, which is Wan2.2's, latent k encodes
    frame 4k and decoding interpolates linearly between these frames, which shows moving edges twice. With a temporal
    stride of 1, each frame has a latent of its own.

    Args:
        block: side of a block in pixels, at least 4.
        temporal_stride: frames from one latent to the next, at least 1.

    Raises:
        ValueError: an argument is too small.
    """

    channels = 3 * COEFFICIENTS

    def __init__(self, block: int = 16, temporal_stride: int = 4) -> None:
        if block < 4:
            raise ValueError(f"block: expected at least 4, got {block}")
        if temporal_stride < 1:
            raise ValueError(f"temporal_stride: expected at least 1, got {temporal_stride}")
        self.spatial_stride, self.temporal_stride = block, temporal_stride
        self.name = f"dct-{block}"
        # (16, block, block): the basis function of each kept frequency. They are orthonormal: encoding is a projection.
        matrix = dct_matrix(block)
        self.frequencies = lowest_frequencies(block, COEFFICIENTS)
        self.basis = torch.stack([torch.outer(matrix[i], matrix[j]) for i, j in self.frequencies])

    @classmethod
    def for_size(cls, size: Sequence[int]) -> DctCodec:
        """The codec for frames of a size, with a latent for each frame.

        Args:
            size: (H, W) of the frames.

        Returns:
            A codec with the largest block of 32, 16, 8 and 4 pixels of which the frames hold at least
            :data:`MIN_CELLS`.

        Example:
            >>> [DctCodec.for_size(size).spatial_stride for size in ((240, 320), (480, 832), (704, 1280))]
            [4, 8, 16]
        """
        blocks = [block for block in (32, 16, 8) if (size[0] // block) * (size[1] // block) >= MIN_CELLS]
        return cls(blocks[0] if blocks else 4, temporal_stride=1)

    def encode(self, frames: Tensor) -> Tensor:
        """Encode frames.

        Args:
            frames: (B, 3, F, H, W), 0 to 1, with F = stride (T - 1) + 1, and H and W multiples of the block.

        Returns:
            Latents (B, 48, T, h, w).

        Raises:
            ValueError: ``frames`` has another shape.
        """
        block = self.spatial_stride
        b, colors, count, height, width = frames.shape
        if colors != 3 or (count - 1) % self.temporal_stride or height % block or width % block:
            raise ValueError(
                f"frames: expected (B, 3, {self.temporal_stride} (T - 1) + 1, h * {block}, w * {block}), "
                f"got {tuple(frames.shape)}"
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
            Frames (B, 3, stride (T - 1) + 1, H, W), clamped to 0 to 1.

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
        if self.temporal_stride == 1:
            return images.clamp(0, 1)
        frame = torch.arange((count - 1) * self.temporal_stride + 1, device=latents.device, dtype=torch.int64)
        before = (frame // self.temporal_stride).clamp(max=max(count - 2, 0))
        after = (before + 1).clamp(max=count - 1)
        weight = (frame - before * self.temporal_stride).to(images) / self.temporal_stride
        frames = torch.lerp(images[:, :, before], images[:, :, after], weight[:, None, None])
        return frames.clamp(0, 1)

    def white_latents(self, count: int, h: int, w: int) -> Tensor:
        """Return the latents (48, count, h, w) of a white video."""
        block = torch.ones(1, 3, 1, self.spatial_stride, self.spatial_stride, dtype=torch.float32, device="cpu")
        return self.encode(block)[0].expand(-1, count, h, w)

    def render(self, memory: LatentSpatialMemory, cameras: Cameras) -> MemoryView:
        """Render a memory of this codec's latents, with each block where it belongs and at its size.

        Reading copies the block of the nearest row into each cell, wherever in the cell it lies and however large it
        appears. Here each patch of a cell shows the part of the block that covers it, and the cells are encoded again.
        Cells whose block has moved by less than a thousandth of a cell keep its bits.

        Args:
            memory: rows of this codec's latents.
            cameras: T cameras over the grid (h, w) of the result.

        Returns:
            The view; all but the latents is that of :meth:`mirage.memory.LatentSpatialMemory.read`.
        """
        view = memory.read(cameras)
        latents = view.latents.clone()
        for t in range(len(cameras)):
            moved = view.mask[t] & ~is_unmoved(memory.cache, view.row[t], memory.history.to_local(cameras[t]))
            if moved.any():
                image = render_patches(memory, view.row[t], cameras[t], self.spatial_stride, self.frequencies)
                rendered = self.encode(image[None, :, None])[0, :, 0]
                latents[:, t] = torch.where(moved, rendered.to(latents.dtype), latents[:, t])
        return view._replace(latents=latents)
