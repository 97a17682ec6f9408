# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The view rule: what of a new frame the memory does not show already. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_kernels import Splat

from .view import MemoryView

SAME_SURFACE = 0.05  # depths within 5 % of one another are of one surface
CLOSER_LOOK = 2.0  # a surface is written again when it is seen from this many times nearer


def composite_depth(first: Splat, second: Splat) -> Splat:
    """The second drawing, where the first shows nothing or a surface behind it. Neither has features."""
    other = first.depth > second.depth * (1 + SAME_SURFACE)  # true in the first one's holes: they are +inf
    depth, index = torch.where(other, second.depth, first.depth), torch.where(other, second.index, first.index)
    return Splat(first.features, depth, index)


def compare(view: MemoryView, depth: Tensor, footprint: Tensor) -> tuple[Tensor, Tensor]:
    """Hold a new frame against what the memory shows to its camera.

    Args:
        view: what the memory shows (T = 1).
        depth: (h, w) of the new cells; +inf where there is none.
        footprint: (h, w) of the new cells.

    Returns:
        Where (h, w) the memory shows nothing, or something more than 5 % farther. And where it shows the same surface,
        but seen from at least twice the distance.
    """
    shown = view.depth[0]
    adds = ~view.mask[0] | (shown > depth * (1 + SAME_SURFACE))
    same = (shown - depth).abs() <= SAME_SURFACE * depth
    return adds, same & (view.footprint[0] >= CLOSER_LOOK * footprint)
