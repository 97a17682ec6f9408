# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What cameras see: the result of every operation that draws."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Splat(NamedTuple):
    """What V cameras see of a cloud of points.

    Attributes:
        features: (V, C, h, w), the winner's row of every cell, bit for bit (of mode "bilinear": a mixture); zeros in
            holes.
        depth: (V, h, w) float32, the winner's z-depth; +inf in holes.
        index: (V, h, w) int64, the winner, which is the nearest point, and of equals the first; -1 in holes.
    """

    features: Tensor
    depth: Tensor
    index: Tensor  # type: ignore[assignment]  # not tuple's method

    @property
    def mask(self) -> Tensor:
        """(V, h, w) bool: the cells that show a point."""
        return self.index >= 0
