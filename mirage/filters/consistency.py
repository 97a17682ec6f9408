# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Consistency of a frame's depth with the memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..geometry.components import complete_objects
from ..geometry.grids import Cells, cells_of, flat_index, nearest_around
from .observation import DepthHistory, Observation, Reason
from .settings import FRACTION, check_settings


@dataclass(frozen=True)
class ConsistencyFilter:
    """Marks cells that lie where an earlier view saw free space.

    A cell that is nearer than the memory's surface is either a moving object, or a static one that no earlier view
    observed. Earlier views distinguish the two: a moving object lies between the camera of an earlier view and a
    surface that this view observed. Without a ``depth_history``, every nearer cell is marked.

    To allow for depth edges and grazing angles, a cell is compared with the nearest surface in the 3x3 cells around its
    projection, in the memory's view and in every earlier view.

    Cells that are farther than the memory's surface are not marked. There the memory is outdated, and
    :meth:`mirage.memory.LatentSpatialMemory.carve` drops the points that the new depth sees through.

    Attributes:
        tolerance: fraction of the depth by which a cell must be nearer.
        min_views: number of earlier views that must have seen through the cell's position.
        component_fraction: a connected component of the depth map is marked entirely if more than this fraction of its
            cells is marked.

    Raises:
        DataError: a setting is out of range.
    """

    reason: ClassVar[Reason] = Reason.INCONSISTENT
    tolerance: float = 0.1
    min_views: int = 1
    component_fraction: float = 0.3
    max_masked: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self, tolerance=FRACTION, min_views=(1, 1 << 20), component_fraction=FRACTION)

    def __call__(self, observation: Observation) -> Tensor:
        if observation.depth is None or observation.view is None:
            return torch.zeros(observation.grid, dtype=torch.bool, device=observation.frame.device)
        cells = cells_of(observation.depth, observation.camera, observation.grid)
        surface = nearest_around(observation.view.depth[0])
        nearer = cells.depth < surface * (1 - self.tolerance)  # also true in the memory's holes, whose depth is +inf
        if observation.depth_history is None:
            nearer = nearer & surface.isfinite()
        else:
            nearer = nearer & self._seen_through(cells, nearer, observation.depth_history)
        return complete_objects(nearer, cells.depth, self.component_fraction)

    def _seen_through(self, cells: Cells, candidates: Tensor, history: DepthHistory) -> Tensor:
        """The candidates (h, w) that lie in front of a surface in at least ``min_views`` earlier views."""
        result = torch.zeros_like(candidates)
        index = candidates.flatten().nonzero().squeeze(1)
        if len(index) == 0 or len(history.cameras) == 0:
            return result
        uv, z, in_bounds = history.cameras.project(cells.xyz.reshape(-1, 3)[index])
        cell = flat_index(uv, in_bounds, history.depth.shape[2])
        surface = nearest_around(history.depth).flatten(1).gather(1, cell)
        valid = history.depth.flatten(1).gather(1, cell).isfinite()
        views = (in_bounds & valid & (z < surface * (1 - self.tolerance))).sum(0)
        result.view(-1)[index] = views >= self.min_views
        return result
