# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A memory of colored points, as in published world models (Voyager, WonderWorld, Spatia): every pixel with depth
becomes a point, the points are rendered to full-size images, and the codec encodes those. Written here from that
description.

In its best fair form: 15 bytes per point (float32 position and a byte per color), none for pixels without depth; memory
for all points is allocated at the start, so that writing copies nothing twice; unprojection and z-buffer are this
project's, and only the colors of rendered points are fetched.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras, check, splat, unproject


def as_bytes(frames: Tensor) -> Tensor:
    """Frames with values 0 to 1 as uint8."""
    return (frames.clamp(0, 1) * 255).round().to(torch.uint8)


class Rendering(NamedTuple):
    """The images of V cameras over (H, W).

    Attributes:
        images: (V, 3, H, W) float32, 0 to 1, black in holes.
        depth: (V, H, W) float32, +inf in holes.
    """

    images: Tensor
    depth: Tensor


class RgbCloud:
    """Colored points in the order of writing.

    Args:
        capacity: maximum number of points.
        device: of the points.
    """

    def __init__(self, capacity: int, device: torch.device | str = "cpu") -> None:
        self.capacity = check.integer("capacity", capacity, 0)
        device = check.device("device", device)
        self._xyz = torch.empty(capacity, 3, device=device, dtype=torch.float32)
        # Planar colors are fetched twice as fast as interleaved ones. The first entry is black: the index of a hole is
        # -1, one less than that of the first point.
        self._colors = torch.empty(3, 1 + capacity, dtype=torch.uint8, device=device)
        self._colors[:, 0] = 0
        self._count = 0

    def __len__(self) -> int:
        """The number of points."""
        return self._count

    def reserve(self, capacity: int) -> None:
        """Make room for so many points in all, or for twice as many as before if that is more; copies the points."""
        if capacity > self.capacity:
            larger = RgbCloud(max(capacity, 2 * self.capacity), self._xyz.device)
            larger._xyz[: len(self)] = self._xyz[: len(self)]
            larger._colors[:, : 1 + len(self)] = self._colors[:, : 1 + len(self)]
            self.capacity, self._xyz, self._colors = larger.capacity, larger._xyz, larger._colors

    @property
    def nbytes(self) -> int:
        """Bytes of the points so far, without spare capacity."""
        return len(self) * (3 * self._xyz.element_size() + 3 * self._colors.element_size())

    def write(self, frames: Tensor, depth: Tensor, cameras: Cameras) -> None:
        """Add every pixel that has depth.

        Args:
            frames: (T, 3, H, W) uint8.
            depth: (T, H, W), 0 = none.
            cameras: T cameras over (H, W).

        Raises:
            ValueError: the capacity is exceeded.
        """
        for t in range(len(frames)):
            points = unproject(depth[t : t + 1], depth[t : t + 1, None][:, :0], cameras[t], pooling="nearest")
            index = points.valid.nonzero().squeeze(1)
            end = len(self) + len(index)
            if end > self.capacity:
                raise ValueError(f"frames: expected at most {self.capacity - len(self)} pixels, got {len(index)}")
            torch.index_select(points.xyz, 0, index, out=self._xyz[len(self) : end])
            self._colors[:, 1 + len(self) : 1 + end] = frames[t].flatten(1).index_select(1, index)
            self._count = end

    def render(self, cameras: Cameras) -> Rendering:
        """Render the nearest point of every pixel for V cameras over (H, W)."""
        xyz = self._xyz[: len(self)]
        rendered = splat(xyz, xyz[:, :0], cameras)
        source = (rendered.index + 1).flatten()
        images = xyz.new_empty(len(cameras), 3, *cameras.size)
        for color, image in zip(self._colors, images.unbind(1), strict=True):
            torch.div(color.index_select(0, source).reshape(image.shape), 255, out=image)
        return Rendering(images, rendered.depth)
