# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Background filling of holes in rendered depth."""

from __future__ import annotations

import torch
from torch import Tensor


def _forward_fill(depth: Tensor, dim: int) -> Tensor:
    """Return, for every cell, the last finite depth at or before it along ``dim``; +inf where there is none."""
    size = depth.shape[dim]
    shape = [1] * depth.dim()
    shape[dim] = size
    position = torch.arange(size, device=depth.device, dtype=torch.int64).reshape(shape)
    last = torch.where(depth.isfinite(), position, -1).cummax(dim).values
    found = depth.gather(dim, last.clamp(min=0))
    return torch.where(last >= 0, found, torch.inf)


def fill_from_far_side(depth: Tensor) -> Tensor:
    """Fill holes in depth maps with the background depth around them.

    A hole takes the largest of the four depths that are found first along its row and its column, in both directions:
    a hole next to a foreground edge is the background that the foreground used to hide. Holes whose row and column are
    entirely empty are filled in further passes, from the holes filled before.

    Args:
        depth: (T, h, w) float32; +inf in holes, as :func:`mirage_kernels.splat` returns it.

    Returns:
        (T, h, w) float32 without holes, except for maps that are entirely empty.

    Example:
        >>> import torch
        >>> inf = float("inf")
        >>> fill_from_far_side(torch.tensor([[[2.0, inf, 5.0], [inf, inf, inf]]]))
        tensor([[[2., 5., 5.],
                 [2., 5., 5.]]])
    """
    while True:
        hole = ~depth.isfinite()
        sides = [_forward_fill(depth, 1), _forward_fill(depth.flip(1), 1).flip(1)]
        sides += [_forward_fill(depth, 2), _forward_fill(depth.flip(2), 2).flip(2)]
        neighbors = torch.stack(sides)
        farthest = torch.where(neighbors.isfinite(), neighbors, -torch.inf).amax(0)
        filled = torch.where(hole & farthest.isfinite(), farthest, depth)
        if torch.equal(filled, depth):
            return filled
        depth = filled
