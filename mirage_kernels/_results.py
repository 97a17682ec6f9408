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


class Quantized(NamedTuple):
    """Rows of values in 8 bits, see :func:`quantize`.

    Attributes:
        steps: (N, M) int8, -127 to 127.
        scale: (N,) float32, value of a step in each row.
    """

    steps: Tensor
    scale: Tensor


class SplatSum(NamedTuple):
    """Sums over points at positions of a grid (h, w), see :func:`splat_sum`.

    Attributes:
        features: (C, h, w) float32, the sums of weighted features; zeros in holes.
        weight: (h, w) float32, the sums of the weights.
    """

    features: Tensor
    weight: Tensor


class Layers(NamedTuple):
    """The k nearest points of every cell, in the views of a point cloud from V cameras over a grid (h, w).

    Layer 0 holds the nearest point of a cell, layer 1 the second nearest, and so on; of several at the same depth the
    lower index comes first. Layers without a point are the last of their cell.

    Attributes:
        index: (V, k, h, w) int64, index of the point; -1 where there is none.
        depth: (V, k, h, w) float32, z-depth of the point in world units; +inf where there is none.
        distance2: (V, k, h, w) float32, squared distance in cells from the projection (u, v) of the point to the center
            (j + 0.5, i + 0.5) of cell (i, j); +inf where there is none. (PyTorch3D measures it in its normalized
            device coordinates, where the shorter side of the image is 2: its values are these times
            (2 / min(h, w))^2.)
    """

    index: Tensor  # type: ignore[assignment]  # hides tuple.index
    depth: Tensor
    distance2: Tensor

    @property
    def mask(self) -> Tensor:
        """(V, k, h, w) bool, True where a layer holds a point."""
        return self.index >= 0
