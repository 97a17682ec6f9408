# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the pipeline asks of a source of depth."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mirage_kernels import Cameras


class DepthEstimate(NamedTuple):
    """Depth of T frames.

    Attributes:
        depth: (T, H, W) float32 z-depth, 0 where it is not valid.
        valid: (T, H, W) bool.
        metric: whether it claims the unit of the cameras' poses (metres, from networks for metric depth). Only such
            depth may begin a world; all of it is aligned to a world that is there (:func:`mirage.depth.align`).
    """

    depth: Tensor
    valid: Tensor
    metric: bool


class DepthEstimator(Protocol):
    """Estimates the depth of frames.

    Attributes:
        name: tells sources from one another in notes and errors.
    """

    name: str

    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """Estimate depth.

        Args:
            frames: (3, T, H, W), 0 to 1.
            cameras: T cameras, over a grid of any size, where they are known.

        Returns:
            The estimate, on the device of ``frames``.
        """
        ...


def make_estimate(depth: Tensor, *, metric: bool, valid: Tensor | None = None) -> DepthEstimate:
    """An estimate from depth (T, H, W) that is invalid where it is not finite, not positive, or not ``valid``."""
    usable = depth.isfinite() & (depth > 0)
    if valid is not None:
        usable = usable & valid
    return DepthEstimate(torch.where(usable, depth, 0).float(), usable, metric)


def check_frames(frames: Tensor, cameras: Cameras | None) -> tuple[int, tuple[int, int]]:
    """T and (H, W) of frames that go with their cameras, or a ValueError."""
    if frames.dim() != 4 or frames.shape[0] != 3:
        raise ValueError(f"frames: expected (3, T, H, W), got {tuple(frames.shape)}")
    count, h, w = frames.shape[1:]
    if cameras is not None and len(cameras) != count:
        raise ValueError(f"cameras: expected T={count}, got {len(cameras)}")
    return count, (h, w)
