# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Lens distortion, as OpenCV and COLMAP parametrize it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf


class Distortion(NamedTuple):
    """Radial and tangential lens distortion, in normalized image coordinates.

    Attributes:
        radial: k1, k2, k3, ..., coefficients of r^2, r^4, r^6, ...
        tangential: p1 and p2.
        denominator: k4, k5, k6 of OpenCV's rational model, coefficients of r^2, r^4, r^6 in the denominator.
    """

    radial: tuple[float, ...]
    tangential: tuple[float, float] = (0.0, 0.0)
    denominator: tuple[float, ...] = ()

    @property
    def is_zero(self) -> bool:
        """Whether there is no distortion."""
        return not any((*self.radial, *self.tangential, *self.denominator))

    def apply(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Compute where a lens shows the points that a pinhole camera shows at (x, y)."""
        r2 = x * x + y * y
        factor = _polynomial(self.radial, r2) / _polynomial(self.denominator, r2)
        p1, p2 = self.tangential
        xy = x * y
        return (
            x * factor + 2 * p1 * xy + p2 * (r2 + 2 * x * x),
            y * factor + p1 * (r2 + 2 * y * y) + 2 * p2 * xy,
        )

    def undistort(
        self, intrinsics: Tensor, image: Tensor, depth: Tensor | None, exclude: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Resample a frame as a pinhole camera with the same intrinsics would show it.

        Images are sampled bilinearly, depth and masks at the nearest pixel. Pixels that lie outside of the distorted
        image have no depth and are excluded.

        Args:
            intrinsics: (3, 3) in pixels of the image.
            image: (3, H, W).
            depth: (H, W); None if there is none.
            exclude: (H, W) bool; None for nowhere.

        Returns:
            Image, depth and mask without distortion.
        """
        height, width = image.shape[1:]
        fx, fy, cx, cy = (float(intrinsics[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
        v, u = torch.meshgrid(
            torch.arange(height, dtype=torch.float32, device="cpu") + 0.5,
            torch.arange(width, dtype=torch.float32, device="cpu") + 0.5,
            indexing="ij",
        )
        x, y = self.apply((u - cx) / fx, (v - cy) / fy)
        u, v = x * fx + cx, y * fy + cy
        outside = (u < 0) | (u >= width) | (v < 0) | (v >= height)
        grid = torch.stack([2 * u / width - 1, 2 * v / height - 1], -1)[None]

        def sample(values: Tensor, mode: str) -> Tensor:
            return nnf.grid_sample(values[None], grid, mode=mode, padding_mode="border", align_corners=False)[0]

        if depth is not None:
            depth = torch.where(outside, 0, sample(depth[None], "nearest")[0])
        if exclude is not None:
            outside = outside | (sample(exclude[None].float(), "nearest")[0] > 0)
        return sample(image, "bilinear"), depth, outside


def _polynomial(coefficients: Iterable[float], r2: Tensor) -> Tensor:
    value, power = torch.ones_like(r2), r2
    for coefficient in coefficients:
        value, power = value + coefficient * power, power * r2
    return value
