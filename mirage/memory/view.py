# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the memory shows to a camera."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class MemoryView(NamedTuple):
    """What the memory shows to T cameras over a grid (h, w).

    Attributes:
        latents: (C, T, h, w), zeros in holes.
        mask: (T, h, w) bool, False in holes.
        depth: (T, h, w) float32, +inf in holes.
        footprint: (T, h, w) float32, how wide the cell was when it was written, world units; +inf in holes.
        stamp: (T, h, w) int64, when it was written; -1 in holes.
    """

    latents: Tensor
    mask: Tensor
    depth: Tensor
    footprint: Tensor
    stamp: Tensor
