# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The K nearest points of every cell, for the stand-ins of PyTorch3D's point rasterizer."""

from __future__ import annotations

import math

from torch import Tensor

from mirage_kernels import Cameras, Layers, splat

_OWN_CELL = math.sqrt(0.5) + 1e-3  # a disc of this radius reaches the center of the cell it is in


def nearest_layers(xyz: Tensor, cameras: Cameras, radius: float | Tensor, k: int) -> Layers:
    """Find the K nearest points whose discs cover the center of a cell, in every cell.

    Args:
        xyz: (N, 3) float32.
        cameras: V cameras.
        radius: of the discs, in cells, a number or (N,).
        k: number of points.
    """
    if not isinstance(radius, Tensor) and radius >= _OWN_CELL:
        return splat(xyz, None, cameras, radius=radius, k=k)
    # splat draws a point in its own cell in any case; here it must reach the center.
    uv, _, _ = cameras.project(xyz)
    reaches = (uv - (uv.floor() + 0.5)).square().sum(2) < radius**2  # (V, N)
    return splat(xyz, None, cameras, valid=reaches, radius=radius, k=k)
