# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Filters that need only a depth map: depth edges, and a maximum distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as nnf

from ..geometry.grids import valid_depth
from .observation import Observation, Reason
from .settings import MAX_DISTANCE, check_settings


@dataclass(frozen=True)
class EdgeFilter:
    """Marks pixels at depth discontinuities: the pixels on both sides of a step, and flying pixels between them, which
    depth networks and sensors produce.

    The inverse depth of a plane is linear in image coordinates. If the plane is seen at an angle from its normal,
    neighboring pixels differ by a fraction tan(angle) / f of their inverse depth, where f is the focal length in
    pixels. Neighbors that differ by more than that for the angle ``grazing`` do not lie on one surface.

    Attributes:
        grazing: largest angle of a surface, in degrees from its normal; more than 0 and less than 90.
        min_step: smallest relative difference of inverse depths that counts as a step; set it above the noise.
        max_masked: largest fraction of marked pixels in a cell that is kept. The default keeps cells with one clean
            step, because pooling takes the median depth, which lies on one side; it excludes cells that are full of
            flying pixels. (On the example scene, 0.15 excludes 3 % of the cells, and 0 excludes 36 %.)

    Raises:
        ValueError: ``grazing`` is out of range.
    """

    reason: ClassVar[Reason] = Reason.EDGE
    grazing: float = 85.0
    min_step: float = 0.03
    max_masked: float = 0.15

    def __post_init__(self) -> None:
        check_settings(self, grazing=(0.0, 90.0), min_step=(0.0, 1e6))
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
        # Beside an invalid pixel, step is NaN and compares False.
        jumps = step > (math.tan(math.radians(self.grazing)) / focal).clamp(min=self.min_step)
        return nnf.pad(jumps, (1, 0)) | nnf.pad(jumps, (0, 1))


@dataclass(frozen=True)
class FarFilter:
    """Marks pixels whose depth is greater than a distance; infinite depth is marked too.

    Attributes:
        distance: in world units; more than 0.

    Raises:
        ValueError: ``distance`` is not positive.
    """

    reason: ClassVar[Reason] = Reason.FAR
    distance: float
    max_masked: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self, distance=(-MAX_DISTANCE, MAX_DISTANCE))
        if not self.distance > 0:
            raise ValueError(f"distance: expected more than 0, got {self.distance}")

    def __call__(self, observation: Observation) -> Tensor:
        if observation.depth is None:
            return torch.zeros(observation.size, dtype=torch.bool, device=observation.frame.device)
        return observation.depth > self.distance
