# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a depth map alone tells: where it jumps, and what is too far to be placed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .cells import valid_depth
from .verdict import Observation, Reason


@dataclass(frozen=True)
class EdgeFilter:
    """Marks pixels beside a jump in depth, flying pixels between two surfaces among them.

    Inverse depth is linear in the picture on any plane, so its second difference tells a jump from a surface that is
    only seen at a grazing angle. A pixel is marked where, along its row or its column, the second difference exceeds a
    share of the inverse depth itself.

    Attributes:
        jump: that share. A step from depth a to b gives (b - a) / b on its near side.
        max_masked: by default a cell may be crossed by an edge: the median keeps to one side of it. Where most of its
            pixels lie on edges there is no side to keep to.
    """

    reason: ClassVar[Reason] = Reason.EDGE
    jump: float = 0.1
    max_masked: float = 0.5

    def __call__(self, observation: Observation) -> Tensor:
        if observation.depth is None:
            return torch.zeros(observation.size, dtype=torch.bool, device=observation.frame.device)
        valid = valid_depth(observation.depth)
        inverse = torch.where(valid, 1 / observation.depth, torch.nan)
        return self._bent(inverse) | self._bent(inverse.T).T

    def _bent(self, inverse: Tensor) -> Tensor:
        bent = torch.zeros_like(inverse, dtype=torch.bool)
        here = inverse[:, 1:-1]
        # NaN compares False: beside a hole there is nothing to tell
        bent[:, 1:-1] = (inverse[:, :-2] - 2 * here + inverse[:, 2:]).abs() > self.jump * here
        return bent


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
