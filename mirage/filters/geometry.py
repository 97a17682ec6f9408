# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a depth map alone tells: where it jumps, and what is too far to be placed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as nnf

from ..geometry.grids import valid_depth
from .observation import Observation, Reason


@dataclass(frozen=True)
class EdgeFilter:
    """Marks pixels where depth jumps: those on the two sides of a step, and flying pixels, which networks and sensors
    put between the two.

    Inverse depth is linear in the picture on any plane, and from one pixel to the next it changes by a share of
    tan(angle) / f where the plane is seen at that angle from its normal. Neighbours that differ by more than a plane at
    ``grazing`` degrees would make them are no surface.

    Attributes:
        grazing: degrees.
        least: share by which neighbours must differ in any case, more than noise makes them.
        max_masked: by default a clean step may cross a cell: the median keeps to one side of it. A cell that is full
            of flying pixels has no side to keep to. (On the motorcycle's true depth 0.15 puts out 3 % of the cells, 0
            puts out 36 %.)
    """

    reason: ClassVar[Reason] = Reason.EDGE
    grazing: float = 85.0
    least: float = 0.03
    max_masked: float = 0.15

    def __post_init__(self) -> None:
        if not 0 < self.grazing < 90:
            raise ValueError(f"grazing: expected 0 to 90 degrees, got {self.grazing}")

    def __call__(self, observation: Observation) -> Tensor:
        if observation.depth is None:
            return torch.zeros(observation.size, dtype=torch.bool, device=observation.frame.device)
        inverse = torch.where(valid_depth(observation.depth), 1 / observation.depth, torch.nan)
        k = observation.camera.intrinsics[0]
        return self._steps(inverse, k[0, 0]) | self._steps(inverse.T, k[1, 1]).T

    def _steps(self, inverse: Tensor, focal: Tensor) -> Tensor:
        step = (inverse[:, 1:] - inverse[:, :-1]).abs() / torch.minimum(inverse[:, 1:], inverse[:, :-1])
        # NaN compares False: beside a hole there is nothing to tell
        jumps = step > (math.tan(math.radians(self.grazing)) / focal).clamp(min=self.least)
        return nnf.pad(jumps, (1, 0)) | nnf.pad(jumps, (0, 1))


@dataclass(frozen=True)
class FarFilter:
    """Marks pixels farther than a distance, infinitely far ones among them.

    Attributes:
        distance: world units.
    """

    reason: ClassVar[Reason] = Reason.FAR
    distance: float
    max_masked: float = 0.0

    def __post_init__(self) -> None:
        if not self.distance > 0:
            raise ValueError(f"distance: expected more than 0, got {self.distance}")

    def __call__(self, observation: Observation) -> Tensor:
        if observation.depth is None:
            return torch.zeros(observation.size, dtype=torch.bool, device=observation.frame.device)
        return observation.depth > self.distance
