# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A memory of coloured points, as published world models keep one: every pixel that has depth becomes a point, the
points are rendered to full-size pictures, and the codec encodes those. Written here from that description.

In its best fair form: room for all points is made beforehand, so that writing copies nothing twice; colours take two
bytes; and rendering is this project's own z-buffered splat.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_kernels import Cameras, splat, unproject


class RgbCloud:
    """Coloured points in the order they came.

    Args:
        capacity: points there is room for.
        device: where.
    """

    def __init__(self, capacity: int, device: torch.device | str = "cpu") -> None:
        self.xyz = torch.zeros(capacity, 3, device=device)
        self.colours = torch.zeros(capacity, 3, dtype=torch.float16, device=device)
        self.valid = torch.zeros(capacity, dtype=torch.bool, device=device)
        self._count = 0

    def __len__(self) -> int:
        """How many points were written, those without depth included."""
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of the points so far, without the room for more."""
        return sum(t[: len(self)].nbytes for t in (self.xyz, self.colours, self.valid))

    def write(self, frames: Tensor, depth: Tensor, cameras: Cameras) -> None:
        """Add every pixel of frames (3, T, H, W), 0 to 1, with depth (T, H, W), at T cameras over (H, W)."""
        points = unproject(depth, frames.movedim(0, 1).to(self.colours.dtype), cameras)
        new = slice(len(self), len(self) + len(points.xyz))
        if new.stop > len(self.xyz):
            raise ValueError(f"frames: expected at most {len(self.xyz) - len(self)} pixels, got {len(points.xyz)}")
        self.xyz[new], self.colours[new], self.valid[new] = points.xyz, points.features, points.valid
        self._count = new.stop

    def render(self, cameras: Cameras) -> Tensor:
        """Pictures (V, 3, H, W) that V cameras see, black in holes."""
        known = slice(len(self))
        return splat(self.xyz[known], self.colours[known], cameras, valid=self.valid[known]).features
