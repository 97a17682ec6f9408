# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Rendering of a memory of cosine coefficients more finely than by whole cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ...memory import LatentSpatialMemory, MemoryView

PATCH = 4  # pixels; a cell is rendered in patches of this size, each from the stored block that covers it
SAME_PLACE = 1e-3  # of a cell: a block that moved or changed its size by less is taken as it is


def evaluate(coefficients: Tensor, angles: tuple[Tensor, Tensor], frequencies: list[tuple[int, int]]) -> Tensor:
    """Evaluate cosine series at a grid of positions for each of the maps' cells.

    Args:
        coefficients: (colors, K, h, w), of the cosines without the scale of a block.
        angles: of the rows and the columns of positions, (p, h, w) each: 0 at the beginning and pi at the end of a
            block.
        frequencies: (i, j) of each of the K coefficients.

    Returns:
        (colors, h * p, w * p).
    """
    cosines = [_cosines(angle, 1 + max(f[axis] for f in frequencies)) for axis, angle in enumerate(angles)]
    colors, _, h, w = coefficients.shape
    p = len(angles[0])
    total = coefficients.new_zeros(colors, p, p, h, w)
    for j, across in enumerate(cosines[1]):
        down = coefficients.new_zeros(colors, p, h, w)
        for k, (i, other) in enumerate(frequencies):
            if other == j:
                down.addcmul_(coefficients[:, k, None], cosines[0][i])
        total.addcmul_(down[:, :, None], across)
    return total.permute(0, 3, 1, 4, 2).reshape(colors, h * p, w * p)


def _cosines(angle: Tensor, count: int) -> list[Tensor]:
    """cos(k * angle) for k = 0 to ``count`` - 1, by Chebyshev's recurrence."""
    first = angle.cos()
    found = [torch.ones_like(first), first]
    while len(found) < count:
        found.append(2 * first * found[-1] - found[-2])
    return found[:count]
