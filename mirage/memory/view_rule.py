# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The view rule: which cells of a new frame are written, given what the memory already renders. Pure functions.

A cell of a frame with depth is written if the memory renders nothing there or a surface more than 5 % farther, or if it
renders the same surface as it was seen from at least twice the distance.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Splat

SAME_SURFACE = 0.05  # relative difference of two depths up to which they belong to the same surface
CLOSER_LOOK = 2.0  # ratio of footprints from which a surface is written again


class Rendered(NamedTuple):
    """What a memory renders from the camera of a new frame.

    Attributes:
        depth: (h, w) float32 z-depth in world units; +inf in holes.
        footprint: (h, w) float32 of the rendered points, in world units; any number in holes.
        row: (h, w) int64 of the rendered points; -1 in holes.
    """

    depth: Tensor
    footprint: Tensor
    row: Tensor


class Comparison(NamedTuple):
    """How the cells of a new frame relate to the memory's view from the same camera.

    Attributes:
        is_new: (h, w) bool, cells where the memory renders nothing, or a surface more than 5 % farther.
        is_closer: (h, w) bool, cells where the memory renders the same surface with at least twice the footprint.
    """

    is_new: Tensor
    is_closer: Tensor

    @property
    def is_written(self) -> Tensor:
        """(h, w) bool, cells that the view rule writes."""
        return self.is_new | self.is_closer


def composite_depth(first: Splat, second: Splat) -> Splat:
    """Composite two renderings of the same view.

    Args:
        first: rendering without features, depth (T, h, w).
        second: rendering without features; it is used where ``first`` is empty or more than 5 % farther.

    Returns:
        The composite, without features.
    """
    other = first.depth > second.depth * (1 + SAME_SURFACE)  # true in holes of the first, where depth is +inf
    depth, index = torch.where(other, second.depth, first.depth), torch.where(other, second.index, first.index)
    return Splat(first.features, depth, index)


def fill_below(first: Splat, second: Splat) -> Splat:
    """Fill the holes of a rendering without features from another one of the same view, whatever its depth."""
    hit = first.mask
    return Splat(
        first.features, torch.where(hit, first.depth, second.depth), torch.where(hit, first.index, second.index)
    )


def compare(rendered: Rendered, depth: Tensor, footprint: Tensor) -> Comparison:
    """Compare the cells of a new frame with what the memory renders from the same camera.

    Args:
        rendered: by the memory.
        depth: (h, w) float32, depth of the new cells in world units; +inf where a cell has none.
        footprint: (h, w) float32, footprint of the new cells in world units.

    Returns:
        The cells that are new to the memory, and those that observe a rendered surface from nearer.
    """
    is_new = (rendered.row < 0) | (rendered.depth > depth * (1 + SAME_SURFACE))
    same = (rendered.depth - depth).abs_() <= depth * SAME_SURFACE  # not so in holes, at a depth of infinity
    return Comparison(is_new, same & (rendered.footprint >= footprint * CLOSER_LOOK))


def exclude_observed(comparison: Comparison, rendered: Tensor, depth: Tensor, was_observed: Tensor) -> Comparison:
    """Remove cells on surfaces that a frame of the history has observed from about as near.

    Such a surface is written again only where the memory renders nothing, or a surface more than about 10 % farther.
    Otherwise points would be stored twice when the rendering of their surroundings changes between two frames.

    Args:
        comparison: of new cells, in any shape, with what the memory renders.
        rendered: float32, the depth that the memory renders in these cells; +inf in holes.
        depth: float32, depth of the new cells in world units; +inf where a cell has none.
        was_observed: bool, see :meth:`mirage.memory.history.History.was_observed`.

    Returns:
        The comparison without those cells.
    """
    is_duplicate = was_observed & (rendered <= depth * (1 + SAME_SURFACE) ** 2)
    return Comparison(comparison.is_new & ~is_duplicate, comparison.is_closer & ~was_observed)


def occludes(rendered: Splat, surface: Tensor) -> Tensor:
    """Find where rendered points lie in front of a surface that was observed.

    Args:
        rendered: points rendered from F cameras, depth (F, h, w).
        surface: (F, h, w) float32, depth of the observed surface in world units; +inf where none was observed.

    Returns:
        (F, h, w) bool, True where a point is nearer than the surface by more than 5 %.
    """
    return rendered.mask & surface.isfinite() & (surface > rendered.depth * (1 + SAME_SURFACE))
