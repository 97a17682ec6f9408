# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Types of procedural scenes."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from mirage_kernels import Cameras

Revisit = Literal["back", "on", "turn"]
Look = Literal["day", "night"]


class Lighting(NamedTuple):
    """The light of a scene.

    Attributes:
        ambient: light that comes from everywhere, for R, G and B.
        lamps: multiplies the light of the lamps.
        sky: multiplies the color of the sky.
    """

    ambient: tuple[float, float, float]
    lamps: tuple[float, float, float]
    sky: tuple[float, float, float]


LIGHTING: dict[Look, Lighting] = {
    "day": Lighting((0.45, 0.45, 0.45), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    "night": Lighting((0.10, 0.15, 0.30), (0.62, 0.44, 0.22), (0.10, 0.12, 0.28)),
}


class Clip(NamedTuple):
    """A clip of T frames with everything known.

    Attributes:
        frames: (T, 3, H, W) uint8.
        depth: (T, H, W) float32 z-depth in meters, 0 where the sky is.
        cameras: T cameras over (H, W).
        moving: (T, H, W) bool, True where a moving object is seen.
        sky: (T, H, W) bool, True where the sky is seen.
        seed: of the scene.
    """

    frames: Tensor
    depth: Tensor
    cameras: Cameras
    moving: Tensor
    sky: Tensor
    seed: int
