# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Depth of holes in a view: what a camera uncovers lies behind the edge that hid it."""

from __future__ import annotations

import torch
from torch import Tensor


def _last_known(depth: Tensor, dim: int) -> Tensor:
    """At every cell, the depth of the closest known cell at or before it along ``dim``; +inf where there is none."""
    size = depth.shape[dim]
    shape = [1] * depth.dim()
    shape[dim] = size
    place = torch.arange(size, device=depth.device).reshape(shape)
    last = torch.where(depth.isfinite(), place, -1).cummax(dim).values
    found = depth.gather(dim, last.clamp(min=0))
    return torch.where(last >= 0, found, torch.inf)


def fill_from_far_side(depth: Tensor) -> Tensor:
    """Give every hole the farthest of the depths that its row and its column meet first, to either side.

    Never the near one's: a hole beside a foreground edge is what that edge was hiding. A hole whose row and column know
    nothing takes the farthest of its neighbours', once those are filled.

    Args:
        depth: (T, h, w), +inf in holes, as :func:`mirage_kernels.splat` returns it.

    Returns:
        (T, h, w), finite, but for maps that are all holes.
    """
    while True:
        hole = ~depth.isfinite()
        sides = [_last_known(depth, 1), _last_known(depth.flip(1), 1).flip(1)]
        sides += [_last_known(depth, 2), _last_known(depth.flip(2), 2).flip(2)]
        seen = torch.stack(sides)
        farthest = torch.where(seen.isfinite(), seen, -torch.inf).amax(0)
        filled = torch.where(hole & farthest.isfinite(), farthest, depth)
        if torch.equal(filled, depth):
            return filled
        depth = filled
