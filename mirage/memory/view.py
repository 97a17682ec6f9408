# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The result of reading a memory."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class MemoryView(NamedTuple):
    """A memory rendered from T cameras over a grid (h, w).

    Attributes:
        latents: (C, T, h, w) in the memory's dtype; zeros in holes. C = 0 if they were not requested.
        mask: (T, h, w) bool, True where the memory renders a point, False in holes.
        depth: (T, h, w) float32 z-depth in world units; +inf in holes.
        footprint: (T, h, w) float32, width of the rendered latent cell when it was written, in world units at its depth
            (depth divided by the focal length in cells); +inf in holes.
        stamp: (T, h, w) int64, stamp of the frame that wrote the point; -1 in holes.
        row: (T, h, w) int64, row of the point in the memory's cache; -1 in holes. Rows move when the memory
            changes.
    """

    latents: Tensor
    mask: Tensor
    depth: Tensor
    footprint: Tensor
    stamp: Tensor
    row: Tensor
