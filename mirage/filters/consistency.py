# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""New depth against what the memory knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..geometry.components import complete_objects
from ..geometry.grids import Cells, cells_of, nearest_around
from .observation import DepthHistory, Observation, Reason


@dataclass(frozen=True)
class ConsistencyFilter:
    """Marks cells that would stand where the memory has seen that nothing stands.

    A cell that is nearer than what the memory shows may be something that moves, or something static whose background
    alone was seen so far. Earlier views tell them apart: what moves stands in front of a surface that one of them saw
    through that very place. Without earlier views (``seen``), whatever is nearer is marked.

    Edges and grazing angles are given room: a cell is held against the nearest surface of the nine cells around the
    place where it is seen, in the memory's view and in every earlier one.

    What is farther than remembered is not marked. There the memory is stale, and
    :meth:`mirage.memory.LatentSpatialMemory.carve` drops the rows that the new depth sees through.

    Attributes:
        tolerance: share of the depth by which a cell must be nearer.
        witnesses: how many earlier views must have seen through it.
        whole: of something that hangs together in depth, all is marked when more than this share is.
    """

    reason: ClassVar[Reason] = Reason.INCONSISTENT
    tolerance: float = 0.1
    witnesses: int = 1
    whole: float = 0.3
    max_masked: float = 0.0

    def __call__(self, observation: Observation) -> Tensor:
        if observation.depth is None or observation.view is None:
            return torch.zeros(observation.grid, dtype=torch.bool, device=observation.frame.device)
        cells = cells_of(observation.depth, observation.camera, observation.grid)
        shown = nearest_around(observation.view.depth[0])
        nearer = cells.depth < shown * (1 - self.tolerance)  # true in the memory's holes: they are +inf
        if observation.seen is None:
            nearer = nearer & shown.isfinite()
        else:
            nearer = nearer & self._seen_through(cells, nearer, observation.seen)
        return complete_objects(nearer, cells.depth, self.whole)

    def _seen_through(self, cells: Cells, which: Tensor, seen: DepthHistory) -> Tensor:
        """Which cells (h, w), of those asked for, stand in front of a surface that earlier views saw."""
        through = torch.zeros_like(which)
        at = which.flatten().nonzero().squeeze(1)
        if len(at) == 0 or len(seen.cameras) == 0:
            return through
        uv, z, inside = seen.cameras.project(cells.xyz.reshape(-1, 3)[at])
        column, row = torch.where(inside[..., None], uv, 0).long().unbind(-1)
        place = row * seen.depth.shape[2] + column
        surface = nearest_around(seen.depth).flatten(1).gather(1, place)
        known = seen.depth.flatten(1).gather(1, place).isfinite()
        times = (inside & known & (z < surface * (1 - self.tolerance))).sum(0)
        through.view(-1)[at] = times >= self.witnesses
        return through
