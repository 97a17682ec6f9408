# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the points of a view's cells have in common, where the nearest point alone is not enough."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras


class PointsInView(NamedTuple):
    """The points in a view: their rows (M,), ascending, their depths (M,), and the numbers of their cells (M,)."""

    row: Tensor
    depth: Tensor
    cell: Tensor

    def where(self, kept: Tensor) -> PointsInView:
        return PointsInView(*(values[kept] for values in self))


def points_in_view(xyz: Tensor, camera: Cameras, *, cut_off: bool = False) -> PointsInView:
    """Find the points (N, 3) in a view. It waits for the device: a view often shows few points of many.

    With ``cut_off``, the first two rows of the camera's grid are one row of cells, and so are its first two columns, as
    where coordinates are cut off toward zero.
    """
    uv, depth, inside = camera.project(xyz)
    row = inside[0].nonzero()[:, 0]
    column, line = uv[0].index_select(0, row).long().sub_(int(cut_off)).clamp_(min=0).unbind(1)
    return PointsInView(row, depth[0].index_select(0, row), line * (camera.size[1] - cut_off) + column)


def nearest_of_cells(points: PointsInView, cells: int) -> Tensor:
    """The smallest depth of the points in every cell (cells,), infinite in holes."""
    smallest = points.depth.new_full((cells,), torch.inf)
    return smallest.scatter_reduce_(0, points.cell, points.depth, "amin")
