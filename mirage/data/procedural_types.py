# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Types of procedural scenes."""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor

from mirage_kernels import Cameras

Revisit = Literal["back", "on", "turn"]


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
