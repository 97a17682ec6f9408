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


def relative_to(start: Cameras, local: Tensor) -> Cameras:
    """Cameras at poses ``local`` (F, 4, 4) float64 in the frame of the one start camera, with its intrinsics."""
    if len(start) != 1:
        raise ValueError(f"start: expected one camera, got {len(start)}")
    poses = start.cam2world[0].double() @ local.to(start.device)
    return Cameras(start.intrinsics[0], poses, start.size)


def rebase(cameras: Cameras, start: Cameras | None = None) -> Cameras:
    """The same path, moved as a whole so that it begins at another pose; intrinsics stay.

    Args:
        cameras: the path.
        start: the one camera whose pose the first one takes, bit for bit; the origin without it.
    """
    poses = cameras.cam2world.to("cpu", torch.float64)
    rotation = poses[0, :3, :3]
    local = torch.eye(4, dtype=torch.float64).repeat(len(poses), 1, 1)
    # the nearest rotations, because what files with few digits lack of one would add up
    u, _, vh = torch.linalg.svd(rotation.T @ poses[:, :3, :3])
    local[:, :3, :3] = u @ vh
    local[:, :3, 3] = (poses[:, :3, 3] - poses[0, :3, 3]) @ rotation
    # R^T R is 1 but for rounding: where the path is back at its first pose it must be so exactly
    local[(poses == poses[0]).all(2).all(1)] = torch.eye(4, dtype=torch.float64)
    if start is not None:
        local = start.cam2world[0].to("cpu", torch.float64) @ local
    return Cameras(cameras.intrinsics, local.to(cameras.device), cameras.size)


def turns(angle: Tensor) -> Tensor:
    """(F, 4, 4) rotations about the camera's y axis by ``angle`` (F,) radians, to the right where positive."""
    turn = torch.eye(4, dtype=torch.float64).repeat(len(angle), 1, 1)
    turn[:, 0, 0], turn[:, 0, 2] = angle.cos(), angle.sin()
    turn[:, 2, 0], turn[:, 2, 2] = -angle.sin(), angle.cos()
    return turn


def tilts(angle: Tensor) -> Tensor:
    """(F, 4, 4) rotations about the camera's x axis by ``angle`` (F,) radians, upwards where positive."""
    tilt = torch.eye(4, dtype=torch.float64).repeat(len(angle), 1, 1)
    tilt[:, 1, 1], tilt[:, 1, 2] = angle.cos(), -angle.sin()
    tilt[:, 2, 1], tilt[:, 2, 2] = angle.sin(), angle.cos()
    return tilt


def pan(start: Cameras, along: Tensor, degrees: float) -> Cameras:
    """Turn on the spot, to the right where ``degrees`` is positive."""
    return relative_to(start, turns(along * math.radians(degrees)))


def dolly(start: Cameras, along: Tensor, distance: float) -> Cameras:
    """Move straight ahead by ``distance`` world units, backwards where it is negative."""
    shift = torch.eye(4, dtype=torch.float64).repeat(len(along), 1, 1)
    shift[:, 2, 3] = along * distance
    return relative_to(start, shift)


def truck(start: Cameras, along: Tensor, distance: float) -> Cameras:
    """Move sideways without turning, by ``distance`` world units to the right, to the left where it is negative."""
    shift = torch.eye(4, dtype=torch.float64).repeat(len(along), 1, 1)
    shift[:, 0, 3] = along * distance
    return relative_to(start, shift)


def orbit(start: Cameras, along: Tensor, degrees: float, radius: float) -> Cameras:
    """Circle around the point ``radius`` world units ahead, always facing it.

    The camera moves to the left where ``degrees`` is positive, so that it comes to see more of the right-hand side.
    """
    angle = along * math.radians(degrees)
    path = turns(angle)
    path[:, 0, 3], path[:, 2, 3] = -radius * angle.sin(), radius * (1 - angle.cos())
    return relative_to(start, path)


def spiral(start: Cameras, along: Tensor, distance: float, radius: float, *, windings: float = 2.0) -> Cameras:
    """Wind outwards around the viewing axis, always facing the point ``radius`` world units ahead, without roll.

    The camera stays in its picture's plane (Archimedes' spiral): at the end it has gone round ``windings`` times,
    clockwise as the camera sees it, and is ``distance`` world units from where it started.
    """
    angle = along * windings * 2 * math.pi
    right, down = along * distance * angle.cos(), along * distance * angle.sin()
    path = turns(torch.atan2(-right, torch.full_like(right, radius)))
    path @= tilts(torch.atan2(down, torch.hypot(right, torch.full_like(right, radius))))
    path[:, 0, 3], path[:, 1, 3] = right, down
    return relative_to(start, path)


def through(keys: Cameras, along: Tensor) -> Cameras:
    """Through key frames in even time: pose and intrinsics interpolated, every key met bit for bit."""
    return keys.interpolate(along * (len(keys) - 1))
