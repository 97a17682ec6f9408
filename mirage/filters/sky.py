# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Sky, which has no place in the world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as nnf

from ..geometry.grids import grow, valid_depth
from .observation import Observation, Reason


@dataclass(frozen=True)
class SkyFilter:
    """Marks sky from the picture, and by depth where that is at hand.

    In the picture, sky is blue, or bright and without colour; it is smooth; and it hangs together with the picture's
    upper border. What lies within ``gap`` of such sky, and has its colour, is sky as well, smooth or not: gaps between
    leaves, and the blur along a roof.

    Depth overrules the picture: what has a depth up to ``far`` is no sky, and what has a greater one, an infinite one
    among them, is. Without ``far``, any finite depth says that there is something.

    Attributes:
        far: world units.
        brightness: the least, 0 to 1, of the brightest channel.
        smooth: the largest standard deviation of brightness within 5 x 5 pixels.
        likeness: how far from the colour of the sky beside it a gap's may be, per channel, 0 to 1.
        gap: share of the picture's height.
    """

    reason: ClassVar[Reason] = Reason.SKY
    far: float | None = None
    brightness: float = 0.5
    smooth: float = 0.03
    likeness: float = 0.12
    gap: float = 0.03
    max_masked: float = 0.0

    def __call__(self, observation: Observation) -> Tensor:
        sky = self._in_picture(observation.frame)
        if observation.depth is None:
            return sky
        near = valid_depth(observation.depth)
        if self.far is None:
            return sky & ~near
        return (sky & ~near) | (observation.depth > self.far)

    def _in_picture(self, frame: Tensor) -> Tensor:
        red, green, blue = frame
        bright = frame.amax(0)
        colour = bright - frame.amin(0)
        is_blue = (blue >= green) & (green >= red) & (blue - red > 0.05)
        is_white = (colour < 0.08) & (bright > 0.8)
        likely = (bright > self.brightness) & (is_blue | is_white)
        sky = _from_the_top(likely & (_deviation(frame.mean(0)) < self.smooth))
        reach = round(self.gap * frame.shape[1])
        if reach == 0 or not sky.any():
            return sky
        # the mean colour of the sky within reach, of the whole of it where there is none
        side = 2 * reach + 1
        weight = nnf.avg_pool2d(sky[None].float(), side, 1, reach)
        total = nnf.avg_pool2d(frame * sky, side, 1, reach)
        beside = torch.where(weight > 0, total / weight, frame[:, sky].mean(1)[:, None, None])
        alike = ((frame - beside).abs().amax(0) < self.likeness) & (blue >= red)
        while True:  # from gap to gap
            grown = sky | (grow(sky, reach) & alike)
            if torch.equal(grown, sky):
                return sky
            sky = grown


def _deviation(brightness: Tensor) -> Tensor:
    """Standard deviation within 5 x 5 pixels, (H, W)."""
    padded = nnf.pad(brightness[None, None], (2, 2, 2, 2), mode="replicate")
    mean = nnf.avg_pool2d(padded, 5, 1)
    square = nnf.avg_pool2d(padded.square(), 5, 1)
    return (square - mean.square()).clamp(min=0).sqrt()[0, 0]


def _from_the_top(mask: Tensor) -> Tensor:
    """The part of ``mask`` (H, W) that hangs together with its first row."""
    reached = torch.zeros_like(mask)
    reached[0] = mask[0]
    while True:
        spread = _along_runs(reached, mask) | _along_runs(reached.T, mask.T).T
        if torch.equal(spread, reached):
            return reached
        reached = spread


def _along_runs(reached: Tensor, mask: Tensor) -> Tensor:
    """Every run of ``mask`` along its columns of which something is reached."""
    start = mask.clone()
    start[1:] &= ~mask[:-1]
    run = start.T.flatten().cumsum(0).reshape(mask.T.shape).T  # numbers the runs, 1, 2, ...
    found = torch.zeros(int(run.max()) + 1, dtype=torch.bool, device=mask.device)
    found[run[reached]] = True
    return mask & found[run]
