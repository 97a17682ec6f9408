# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Sky, detected from color and depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as nnf

from ..geometry.grids import grow, valid_depth
from .observation import Observation, Reason
from .settings import FRACTION, MAX_DISTANCE, check_settings

MAX_GAP = 0.1  # fraction of the height; the time grows with it


@dataclass(frozen=True)
class SkyFilter:
    """Marks sky by color, and by depth if it is known.

    By color, sky is blue, or bright and gray; it is smooth; and it is connected to the upper border of the image.
    Pixels within a distance ``gap`` of such sky that have its color are sky too, smooth or not: gaps between leaves,
    and the blur along a roof.

    Depth takes precedence over color: pixels with a valid depth up to ``far`` are not sky, and pixels with a greater or
    infinite depth are. Without ``far``, no pixel with a valid depth is sky.

    Attributes:
        far: in world units.
        min_brightness: smallest value of the brightest channel, 0 to 1.
        max_deviation: largest standard deviation of the brightness within 5x5 pixels.
        color_tolerance: largest difference per channel to the color of nearby sky, for pixels within ``gap``, 0 to 1.
        gap: fraction of the image height, at most 0.1.

    Raises:
        DataError: a setting is out of range.
    """

    reason: ClassVar[Reason] = Reason.SKY
    far: float | None = None
    min_brightness: float = 0.5
    max_deviation: float = 0.03
    color_tolerance: float = 0.12
    gap: float = 0.03
    max_masked: float = 0.0

    def __post_init__(self) -> None:
        check_settings(
            self,
            far=(0.0, MAX_DISTANCE),
            min_brightness=FRACTION,
            max_deviation=FRACTION,
            color_tolerance=FRACTION,
            gap=(0.0, MAX_GAP),
        )

    def __call__(self, observation: Observation) -> Tensor:
        sky = self._by_color(observation.frame)
        if observation.depth is None:
            return sky
        near = valid_depth(observation.depth)
        if self.far is None:
            return sky & ~near
        return (sky & ~near) | (observation.depth > self.far)

    def _by_color(self, frame: Tensor) -> Tensor:
        red, green, blue = frame
        value = frame.amax(0)
        chroma = value - frame.amin(0)
        is_blue = (blue >= green) & (green >= red) & (blue - red > 0.05)
        is_white = (chroma < 0.08) & (value > 0.8)
        candidates = (value > self.min_brightness) & (is_blue | is_white)
        sky = _connected_to_top(candidates & (_deviation(frame.mean(0)) < self.max_deviation))
        radius = round(self.gap * frame.shape[1])
        if radius == 0 or not sky.any():
            return sky
        # Mean color of the sky within the radius; of all sky, if there is none.
        weight, total = _mean_around(sky[None].float(), radius), _mean_around(frame * sky, radius)
        nearby = torch.where(weight > 0, total / weight, frame[:, sky].mean(1)[:, None, None])
        similar = ((frame - nearby).abs().amax(0) < self.color_tolerance) & (blue >= red)
        while True:  # grow until nothing is added
            grown = sky | (grow(sky, radius) & similar)
            if torch.equal(grown, sky):
                return sky
            sky = grown


def _mean_around(planes: Tensor, radius: int) -> Tensor:
    """Mean of (C, H, W) in squares around the pixels, with zeros outside of the image."""
    side = 2 * radius + 1
    return nnf.avg_pool2d(nnf.avg_pool2d(planes, (1, side), 1, (0, radius)), (side, 1), 1, (radius, 0))


def _deviation(brightness: Tensor) -> Tensor:
    """Standard deviation of (H, W) within 5x5 pixels, (H, W)."""
    padded = nnf.pad(brightness[None, None], (2, 2, 2, 2), mode="replicate")
    mean = nnf.avg_pool2d(padded, 5, 1)
    square = nnf.avg_pool2d(padded.square(), 5, 1)
    return (square - mean.square()).clamp(min=0).sqrt()[0, 0]


def _connected_to_top(mask: Tensor) -> Tensor:
    """The pixels of ``mask`` (H, W) that are connected to its first row."""
    reached = torch.zeros_like(mask)
    reached[0] = mask[0]
    while True:
        spread = _along_runs(reached, mask) | _along_runs(reached.T, mask.T).T
        if torch.equal(spread, reached):
            return reached
        reached = spread


def _along_runs(reached: Tensor, mask: Tensor) -> Tensor:
    """The vertical runs of ``mask`` (H, W) that contain a pixel of ``reached``."""
    start = mask.clone()
    start[1:] &= ~mask[:-1]
    run = start.T.flatten().cumsum(0).reshape(mask.T.shape).T  # number of the run, from 1
    found = torch.zeros(int(run.max()) + 1, dtype=torch.bool, device=mask.device)
    found[run[reached]] = True
    return mask & found[run]
