# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The view rule: which cells of a new frame are written, given what the memory already renders. Pure functions.

A cell of a frame with depth is written if the memory renders nothing there or a surface more than 5 % farther, or if it
renders the same surface as it was seen from at least twice the distance: :func:`mirage_kernels.associate` decides.
"""

from __future__ import annotations

from torch import Tensor

from mirage_kernels import Splat

SAME_SURFACE = 0.05  # relative difference of two depths up to which they belong to the same surface
CLOSER_LOOK = 2.0  # ratio of footprints from which a surface is written again


def occludes(rendered: Splat, surface: Tensor) -> Tensor:
    """Find where rendered points lie in front of a surface that was observed.

    Args:
        rendered: points rendered from F cameras, depth (F, h, w).
        surface: (F, h, w) float32, depth of the observed surface in world units; +inf where none was observed.

    Returns:
        (F, h, w) bool, True where a point is nearer than the surface by more than 5 %.
    """
    return rendered.mask & surface.isfinite() & (surface > rendered.depth * (1 + SAME_SURFACE))
