# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of depth estimators."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..geometry.grids import valid_depth


class DepthEstimate(NamedTuple):
    """Depth of T frames.

    Attributes:
        depth: (T, H, W) float32 z-depth, 0 where invalid.
        valid: (T, H, W) bool.
        metric: whether the depth is in the unit of the camera poses (meters, for networks of metric depth). An empty
            memory accepts only metric depth; otherwise depth is aligned to the memory (:func:`mirage.depth.align`).
    """

    depth: Tensor
    valid: Tensor
    metric: bool


class DepthEstimator(Protocol):
    """Protocol of objects that estimate the depth of frames.

    Attributes:
        name: identifies the estimator in metrics and error messages.
    """

    name: str

    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """Estimate the depth of T frames.

        Args:
            frames: (3, T, H, W) float, 0 to 1.
            cameras: T cameras, over a grid of any size; None if they are unknown.

        Returns:
            The estimate, on the device of ``frames``.
        """
        ...


def make_estimate(depth: Tensor, *, metric: bool, valid: Tensor | None = None) -> DepthEstimate:
    """Make an estimate.

    Args:
        depth: (T, H, W); invalid where not finite or not positive.
        metric: whether it is in the unit of the camera poses.
        valid: (T, H, W) bool, False for further invalid pixels.
    """
    usable = valid_depth(depth)
    if valid is not None:
        usable = usable & valid
    return DepthEstimate(torch.where(usable, depth, 0).float(), usable, metric)


def check_frames(frames: Tensor, cameras: Cameras | None) -> tuple[int, tuple[int, int]]:
    """Check frames (3, T, H, W) and their cameras.

    Returns:
        T and (H, W).

    Raises:
        ValueError: ``frames`` has another shape, or the number of cameras is not T.
    """
    if frames.dim() != 4 or frames.shape[0] != 3:
        raise ValueError(f"frames: expected (3, T, H, W), got {tuple(frames.shape)}")
    count, h, w = frames.shape[1:]
    if cameras is not None and len(cameras) != count:
        raise ValueError(f"cameras: expected T={count} cameras, got {len(cameras)}")
    return count, (h, w)
