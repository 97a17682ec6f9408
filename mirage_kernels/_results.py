# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Result types that several operations return."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Splat(NamedTuple):
    """The views of a point cloud from V cameras, over a grid (h, w).

    Attributes:
        features: (V, C, h, w) in the dtype of the points' features: the features of the nearest point of every cell,
            copied bit for bit (in mode "bilinear": a weighted mean); zeros, or the ``background``, in holes.
        depth: (V, h, w) float32, z-depth of the nearest point in world units; +inf in holes.
        index: (V, h, w) int64, index of the nearest point; of several at the same depth the lowest index; -1 in holes.
    """

    features: Tensor
    depth: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index

    @property
    def mask(self) -> Tensor:
        """(V, h, w) bool, True where a cell is covered by a point, False in holes."""
        return self.index >= 0
