# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A memory of coloured points, as published world models (Voyager, WonderWorld, Spatia) keep one: every pixel that has
depth becomes a point, the points are rendered to full-size pictures, and the codec encodes those. Written here from
that description.

In its best fair form: 15 bytes a point, float32 coordinates and a byte a colour, and none for pixels without depth;
room for all points is made beforehand, so that writing copies nothing twice; lifting and the z-buffer are this
project's own, and colours are fetched for the points that show only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras, splat, unproject


def as_bytes(frames: Tensor) -> Tensor:
    """Frames, 0 to 1, as uint8."""
    return (frames.clamp(0, 1) * 255).round().to(torch.uint8)


class Rendering(NamedTuple):
    """What V cameras over (H, W) see.

    Attributes:
        pictures: (V, 3, H, W) float32, 0 to 1, black in holes.
        depth: (V, H, W) float32, +inf in holes.
    """

    pictures: Tensor
    depth: Tensor


class RgbCloud:
    """Coloured points in the order they came.

    Args:
        capacity: points there is room for.
        device: where.
    """

    def __init__(self, capacity: int, device: torch.device | str = "cpu") -> None:
        self.capacity = capacity
        self._xyz = torch.empty(capacity, 3, device=device)
        # Colour by colour, which is fetched twice as fast as pixel by pixel. The first is black: the index of a hole
        # is -1, one less than that of the first point.
        self._colours = torch.empty(3, 1 + capacity, dtype=torch.uint8, device=device)
        self._colours[:, 0] = 0
        self._count = 0

    def __len__(self) -> int:
        """How many points there are."""
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of the points so far, without the room for more."""
        return len(self) * (3 * self._xyz.element_size() + 3 * self._colours.element_size())

    def write(self, frames: Tensor, depth: Tensor, cameras: Cameras) -> None:
        """Add every pixel that has depth (T, H, W) of frames (T, 3, H, W) uint8, at T cameras over (H, W)."""
        for t in range(len(frames)):
            points = unproject(depth[t : t + 1], depth[t : t + 1, None][:, :0], cameras[t], pooling="nearest")
            known = points.valid.nonzero().squeeze(1)
            end = len(self) + len(known)
            if end > self.capacity:
                raise ValueError(f"frames: expected at most {self.capacity - len(self)} pixels, got {len(known)}")
            torch.index_select(points.xyz, 0, known, out=self._xyz[len(self) : end])
            self._colours[:, 1 + len(self) : 1 + end] = frames[t].flatten(1).index_select(1, known)
            self._count = end

    def render(self, cameras: Cameras) -> Rendering:
        """The nearest point in every pixel of V cameras over (H, W)."""
        xyz = self._xyz[: len(self)]
        drawn = splat(xyz, xyz[:, :0], cameras)
        at = (drawn.index + 1).flatten()
        pictures = xyz.new_empty(len(cameras), 3, *cameras.size)
        for colour, picture in zip(self._colours, pictures.unbind(1), strict=True):
            torch.div(colour.index_select(0, at).reshape(picture.shape), 255, out=picture)
        return Rendering(pictures, drawn.depth)
