# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the points of a view's cells have in common, where the nearest point alone is not enough."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mirage_kernels import Cameras


def cells_of(xyz: Tensor, camera: Cameras, *, cut_off: bool = False) -> tuple[Tensor, Tensor]:
    """The depth of points (N, 3) in a view, (N,), and the number of their cell, (N,) int64: h w outside the view.

    With ``cut_off``, the first two rows of the camera's grid are one row of cells, and so are its first two columns, as
    where coordinates are cut off toward zero.
    """
    h, w = (side - cut_off for side in camera.size)
    uv, depth, inside = camera.project(xyz)
    column, row = uv[0].to(torch.int32).sub_(int(cut_off)).clamp_(min=0).unbind(1)
    return depth[0], torch.where(inside[0], row * w + column, h * w).long()


def nearest_of_cells(cell: Tensor, depth: Tensor, size: tuple[int, int]) -> Tensor:
    """The smallest depth of the points of every cell (h, w), infinite in holes."""
    smallest = torch.full((math.prod(size) + 1,), math.inf, dtype=torch.float32, device=depth.device)
    return smallest.scatter_reduce_(0, cell, depth, "amin")[:-1].view(size)
