# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera paths. A path is a move from a start camera, and how far along the move each frame is.

How far along is a tensor (F,) of numbers from 0 (the start camera, bit for bit) to 1 (the end of the move):
:func:`straight` or :func:`out_and_back`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mirage_kernels import Cameras


def straight(frames: int) -> Tensor:
    """From 0 to 1 in even steps, (F,) float64."""
    return torch.linspace(0, 1, frames, dtype=torch.float64)


def out_and_back(frames: int) -> Tensor:
    """From 0 to 1 and back to 0 in even steps, (F,) float64. With an odd number of frames the middle one is at 1."""
    last = max(frames - 1, 1)
    return 1 - (2 * torch.arange(frames, dtype=torch.float64) / last - 1).abs()


def _move(start: Cameras, local: Tensor) -> Cameras:
    """Cameras at poses ``local`` (F, 4, 4) in the frame of the one start camera."""
    if len(start) != 1:
        raise ValueError(f"start: expected one camera, got {len(start)}")
    poses = start.cam2world[0].double() @ local.to(start.device)
    return Cameras(start.intrinsics[0], poses, start.size)


def _turns(angle: Tensor) -> Tensor:
    """(F, 4, 4) rotations about the camera's y axis by ``angle`` (F,) radians, to the right where positive."""
    turn = torch.eye(4, dtype=torch.float64).repeat(len(angle), 1, 1)
    turn[:, 0, 0], turn[:, 0, 2] = angle.cos(), angle.sin()
    turn[:, 2, 0], turn[:, 2, 2] = -angle.sin(), angle.cos()
    return turn


def pan(start: Cameras, along: Tensor, degrees: float) -> Cameras:
    """Turn on the spot, to the right where ``degrees`` is positive."""
    return _move(start, _turns(along * math.radians(degrees)))


def dolly(start: Cameras, along: Tensor, distance: float) -> Cameras:
    """Move straight ahead by ``distance`` world units, backwards where it is negative."""
    shift = torch.eye(4, dtype=torch.float64).repeat(len(along), 1, 1)
    shift[:, 2, 3] = along * distance
    return _move(start, shift)


def orbit(start: Cameras, along: Tensor, degrees: float, radius: float) -> Cameras:
    """Circle around the point ``radius`` world units ahead, always facing it.

    The camera moves to the left where ``degrees`` is positive, so that it comes to see more of the right-hand side.
    """
    angle = along * math.radians(degrees)
    path = _turns(angle)
    path[:, 0, 3], path[:, 2, 3] = -radius * angle.sin(), radius * (1 - angle.cos())
    return _move(start, path)


def through(keys: Cameras, along: Tensor) -> Cameras:
    """Through key frames in even time: pose and intrinsics interpolated, every key met bit for bit."""
    return keys.interpolate(along * (len(keys) - 1))
