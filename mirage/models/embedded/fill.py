# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk model without weights: it returns the memory's view with smoothly filled holes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as nnf

from .dct import COEFFICIENTS, dct_matrix, lowest_frequencies

BLOCK = 16  # samples
ROUNDS = 6  # of averaging filled means


def push_pull(values: Tensor, mask: Tensor, rounds: int = 0) -> Tensor:
    """Fill holes with the push-pull algorithm (Gortler, Grzeszczuk, Szeliski and Cohen 1996, section 3.3): average the
    valid cells down an image pyramid, and fill each hole from the finest level that is valid there.

    Args:
        values: (T, C, h, w) float.
        mask: (T, h, w) bool, True for valid cells.
        rounds: how often, at every level, filled cells are averaged with their neighbors. This removes the steps of the
            pyramid, so that the result depends little on where the valid cells lie on the grid.

    Returns:
        (T, C, h, w): valid cells unchanged, holes filled. A map without any valid cell becomes zero.
    """
    weight = mask[:, None].to(values)
    if mask.all() or max(values.shape[-2:]) == 1:
        return values * weight
    odd = (0, values.shape[-1] % 2, 0, values.shape[-2] % 2)
    total = nnf.avg_pool2d(nnf.pad(values * weight, odd), 2)
    fraction = nnf.avg_pool2d(nnf.pad(weight, odd), 2)
    coarse = push_pull(total / fraction.clamp(min=0.25), fraction[:, 0] > 0, rounds)
    smooth = nnf.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    filled = torch.where(mask[:, None], values, smooth[..., : values.shape[-2], : values.shape[-1]])
    for _ in range(rounds):
        around = nnf.avg_pool2d(nnf.pad(filled, (1, 1, 1, 1), mode="replicate"), 3, 1)
        filled = torch.where(mask[:, None], filled, around)
    return filled


def fill_holes(view: Tensor, mask: Tensor) -> Tensor:
    """Fill the holes of latents of :class:`mirage.models.embedded.DctCodec` with a smooth surface through the mean
    colors of the valid cells.

    Only the means are averaged over cells. The other coefficients belong to one block: averaged, or copied to another
    cell, they show as a grid. They are set to those of the bilinear interpolation between the means.

    Args:
        view: (48, T, h, w) float.
        mask: (T, h, w) bool, True for valid cells.

    Returns:
        (48, T, h, w): valid cells unchanged, holes filled. A frame without any valid cell has the blurred colors of the
        frame before it; if no earlier frame has one, it becomes zero.

    Raises:
        ValueError: there are not 48 channels.
    """
    if len(view) != 3 * COEFFICIENTS:
        raise ValueError(f"view: expected {3 * COEFFICIENTS} channels of DctCodec, got {len(view)}")
    if mask.all():
        return view
    means = push_pull(view[::COEFFICIENTS].movedim(1, 0).float(), mask, ROUNDS)
    for t in range(1, len(means)):
        if not mask[t].any():
            means[t] = _blur(means[t - 1])
    filled = _interpolate(means).movedim(1, 0).to(view.dtype)
    return torch.where(mask, view, filled)


def _blur(means: Tensor) -> Tensor:
    """Average (C, h, w) over an eighth of the image, and interpolate."""
    coarse = nnf.adaptive_avg_pool2d(means[None], (max(means.shape[1] // 8, 1), max(means.shape[2] // 8, 1)))
    return nnf.interpolate(coarse, means.shape[-2:], mode="bilinear", align_corners=False)[0]


def _interpolate(means: Tensor) -> Tensor:
    """Compute the coefficients (T, 48, h, w) of the bilinear interpolation between mean coefficients (T, 3, h, w).

    They hardly depend on the size of a block, so that one of 16 samples stands for all.
    """
    matrix = dct_matrix(BLOCK).to(means) / math.sqrt(BLOCK)
    offset = (
        torch.arange(BLOCK, device=means.device, dtype=torch.float32) + 0.5
    ) / BLOCK - 0.5  # from the center of a cell
    weights = torch.stack([(-offset).clamp(min=0), 1 - offset.abs(), offset.clamp(min=0)], 1).to(means)
    along = matrix @ weights  # (frequencies, 3): from a cell and its two neighbors to coefficients
    pairs = lowest_frequencies(BLOCK, COEFFICIENTS)
    kernel = torch.stack([torch.outer(along[i], along[j]) for i, j in pairs])[:, None]
    t, colors, h, w = means.shape
    padded = nnf.pad(means, (1, 1, 1, 1), mode="replicate").reshape(t * colors, 1, h + 2, w + 2)
    return nnf.conv2d(padded, kernel).reshape(t, colors * COEFFICIENTS, h, w)


class FillModel:
    """A :class:`mirage.rollout.ChunkModel` for the latents of :class:`mirage.models.embedded.DctCodec`. It shows the
    memory's view and fills the holes by :func:`fill_holes`; it invents no content. It is deterministic; preceding
    latents, references, prompt and random generator have no effect."""

    patch = 1
    needs_view = True

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
        generator: torch.Generator,
    ) -> Tensor:
        """Generate the latents of a chunk; see :meth:`mirage.rollout.ChunkModel.__call__`."""
        given = torch.ones_like(mask[:1])
        return fill_holes(torch.cat([first[:, None], view[:, 1:].to(first)], 1), torch.cat([given, mask[1:]]))
