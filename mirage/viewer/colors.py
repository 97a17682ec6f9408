# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Colors for the rows of a memory."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf

from ..rollout import Codec

BATCH = 1024  # cells that are decoded at once
MIN_SPREAD = 1e-12
# From early to late: equal steps are equally visible, also without color vision (samples of matplotlib's viridis).
_GRADIENT = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


def decode_cells(latents: Tensor, codec: Codec, detail: int = 1) -> Tensor:
    """Decode cells, each independently of the others.

    That is meaningful only for codecs whose cells do not depend on their neighbors, such as
    :class:`mirage.models.embedded.DctCodec`.

    Args:
        latents: (N, C).
        codec: the codec of the latents.
        detail: colors per side of a cell, at most ``codec.spatial_stride``.

    Returns:
        (N, detail, detail, 3) float32, values 0 to 1.
    """
    step, cells = codec.spatial_stride, latents.new_zeros(len(latents), detail, detail, 3, dtype=torch.float32)
    for start in range(0, len(latents), BATCH):
        part = latents[start : start + BATCH].float()
        strip = codec.decode(part.T[None, :, None, None])[0, :, 0].float()  # (3, step, N * step)
        images = strip.reshape(3, step, len(part), step).permute(2, 0, 1, 3)
        cells[start : start + BATCH] = nnf.adaptive_avg_pool2d(images, detail).permute(0, 2, 3, 1)
    return cells


class ComponentColors:
    """Maps latents to colors by their three principal components.

    Args:
        latents: (N, C) of the rows that define the components.

    Example:
        >>> latents = torch.eye(8)
        >>> ComponentColors(latents)(latents).shape
        torch.Size([8, 3])
    """

    def __init__(self, latents: Tensor) -> None:
        values = latents.detach().double().cpu()
        self._mean = values.mean(0) if len(values) else values.new_zeros(values.shape[1])
        centered = values - self._mean
        _, vectors = torch.linalg.eigh(centered.T @ centered)
        basis = vectors.flip(1)[:, :3]
        # The sign of an eigenvector is arbitrary: its largest entry becomes positive.
        largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))
        self._basis = nnf.pad(basis * largest.sign(), (0, 3 - basis.shape[1]))
        scores = centered @ self._basis if len(values) else values.new_zeros(1, 3)
        ends = torch.tensor([0.02, 0.98], dtype=torch.float64, device="cpu")
        self._low: Tensor
        self._high: Tensor
        self._low, self._high = scores[:: max(len(scores) >> 16, 1)].quantile(ends, 0)

    def __call__(self, latents: Tensor) -> Tensor:
        """Color latents.

        Args:
            latents: (N, C).

        Returns:
            (N, 3) float32 on the CPU, values 0 to 1.
        """
        scores = (latents.detach().double().cpu() - self._mean) @ self._basis
        shares: Tensor = (scores - self._low) / (self._high - self._low).clamp(min=MIN_SPREAD)
        return shares.clamp(0, 1).float()


def stamp_colors(stamp: Tensor) -> Tensor:
    """Color rows by when they were written, from violet (first) to yellow (last).

    Args:
        stamp: (N,) int64.

    Returns:
        (N, 3) float32, values 0 to 1; equal steps from one stamp that occurs to the next.

    Example:
        >>> stamp_colors(torch.tensor([0, 40, 8]))[1].mul(255).tolist()
        [253.0, 231.0, 37.0]
    """
    stamps, order = torch.unique(stamp, return_inverse=True)
    table = torch.tensor(_GRADIENT, dtype=torch.float32, device=stamp.device) / 255
    position = order * ((len(table) - 1) / max(len(stamps) - 1, 1))
    before = position.long().clamp(max=len(table) - 2)
    return torch.lerp(table[before], table[before + 1], (position - before)[:, None].float())
