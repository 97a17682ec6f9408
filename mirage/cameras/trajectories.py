# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera trajectories: moves from a start camera, sampled at the progress of each frame.

The progress ``along`` a move is a tensor (F,) float64 from 0, the start camera bit for bit, to 1, the end of the move;
see :func:`straight` and :func:`out_and_back`. All moves use OpenCV axes: x right, y down, z forward.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mirage_kernels import Cameras, check


def straight(frames: int) -> Tensor:
    """Return the progress from 0 to 1 in equal steps, (F,) float64.

    Raises:
        TypeError, ValueError: ``frames`` is not an integer, or negative.

    Example:
        >>> straight(3).tolist()
        [0.0, 0.5, 1.0]
    """
    return torch.linspace(0, 1, check.integer("frames", frames, 0), dtype=torch.float64, device="cpu")


def out_and_back(frames: int) -> Tensor:
    """Return the progress from 0 to 1 and back to 0 in equal steps, (F,) float64.

    With an odd number of frames, the middle one is at 1.

    Raises:
        TypeError, ValueError: ``frames`` is not an integer, or negative.

    Example:
        >>> out_and_back(5).tolist()
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    frames = check.integer("frames", frames, 0)
    last = max(frames - 1, 1)
    return 1 - (2 * torch.arange(frames, dtype=torch.float64, device="cpu") / last - 1).abs()


def _check(along: Tensor, **numbers: float) -> tuple[Tensor, list[float]]:
    """Check the arguments of a move; return the progress in float64 on the CPU, and the numbers as floats."""
    check.tensor("along", along, ("F",), {}, (torch.float64, torch.float32))
    checked = [check.number(name, value) for name, value in numbers.items()]
    return along.detach().to("cpu", torch.float64), checked


def check_one(start: Cameras) -> None:
    """Check that the argument ``start`` is a single camera.

    Raises:
        TypeError, ValueError: it is not.
    """
    if not isinstance(start, Cameras):
        raise check.type_error("start", "Cameras", start)
    if len(start) != 1:
        raise check.value_error("start", "one camera", len(start))


def relative_to(start: Cameras, local: Tensor) -> Cameras:
    """Place cameras relative to a start camera.

    Args:
        start: one camera.
        local: (F, 4, 4) float64, camera-to-world poses in the frame of the start camera.

    Returns:
        F cameras with the intrinsics of the start camera.

    Raises:
        TypeError, ValueError: ``start`` is not a single camera, or a pose is not rigid and finite.
    """
    check_one(start)
    poses = start.cam2world[0].double() @ local.to(start.device)
    return Cameras(start.intrinsics[0], poses, start.size)


def rebase(cameras: Cameras, start: Cameras | None = None) -> Cameras:
    """Move a path rigidly so that it begins at another pose.

    Args:
        cameras: the path, F cameras.
        start: camera whose pose the first camera takes, bit for bit; None for the identity pose.

    Returns:
        F cameras with unchanged intrinsics.

    Raises:
        TypeError, ValueError: the path is empty, or ``start`` is not a single camera.
    """
    if start is not None:
        check_one(start)
    if len(cameras) == 0:
        raise check.value_error("cameras", "at least one camera", 0)
    poses = cameras.cam2world.to("cpu", torch.float64)
    rotation = poses[0, :3, :3]
    local = torch.eye(4, dtype=torch.float64, device="cpu").repeat(len(poses), 1, 1)
    # Take the nearest rotations: rounding in files with few digits would add up otherwise.
    u, _, vh = torch.linalg.svd(rotation.T @ poses[:, :3, :3])
    local[:, :3, :3] = u @ vh
    local[:, :3, 3] = (poses[:, :3, 3] - poses[0, :3, 3]) @ rotation
    # R^T R is the identity up to rounding; where the path returns to its first pose, make it exact.
    local[(poses == poses[0]).all(2).all(1)] = torch.eye(4, dtype=torch.float64, device="cpu")
    if start is not None:
        local = start.cam2world[0].to("cpu", torch.float64) @ local
    return Cameras(cameras.intrinsics, local.to(cameras.device), cameras.size)


def yaw_poses(angle: Tensor) -> Tensor:
    """Return poses (F, 4, 4) float64, rotated about the y axis by ``angle`` (F,) radians; positive turns right."""
    turn = torch.eye(4, dtype=torch.float64, device="cpu").repeat(len(angle), 1, 1)
    turn[:, 0, 0], turn[:, 0, 2] = angle.cos(), angle.sin()
    turn[:, 2, 0], turn[:, 2, 2] = -angle.sin(), angle.cos()
    return turn


def pitch_poses(angle: Tensor) -> Tensor:
    """Return poses (F, 4, 4) float64, rotated about the x axis by ``angle`` (F,) radians; positive looks up."""
    tilt = torch.eye(4, dtype=torch.float64, device="cpu").repeat(len(angle), 1, 1)
    tilt[:, 1, 1], tilt[:, 1, 2] = angle.cos(), -angle.sin()
    tilt[:, 2, 1], tilt[:, 2, 2] = angle.sin(), angle.cos()
    return tilt


def pan(start: Cameras, along: Tensor, degrees: float) -> Cameras:
    """Rotate about the vertical axis of the camera.

    Args:
        start: one camera.
        along: (F,) progress, 0 to 1.
        degrees: angle at the end of the move; positive turns right.

    Returns:
        F cameras.

    Example:
        >>> from mirage_kernels import Cameras
        >>> start = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> pan(start, straight(2), degrees=30).cam2world[1, :3, 2]  # viewing direction
        tensor([0.5000, 0.0000, 0.8660])
    """
    along, (degrees,) = _check(along, degrees=degrees)
    return relative_to(start, yaw_poses(along * math.radians(degrees)))


def dolly(start: Cameras, along: Tensor, distance: float) -> Cameras:
    """Move along the viewing direction.

    Args:
        start: one camera.
        along: (F,) progress, 0 to 1.
        distance: distance in world units at the end of the move; positive moves forward.

    Returns:
        F cameras.

    Example:
        >>> from mirage_kernels import Cameras
        >>> start = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> dolly(start, straight(3), distance=2.0).cam2world[:, 2, 3].tolist()
        [0.0, 1.0, 2.0]
    """
    along, (distance,) = _check(along, distance=distance)
    shift = torch.eye(4, dtype=torch.float64, device="cpu").repeat(len(along), 1, 1)
    shift[:, 2, 3] = along * distance
    return relative_to(start, shift)


def truck(start: Cameras, along: Tensor, distance: float) -> Cameras:
    """Move sideways without rotation.

    Args:
        start: one camera.
        along: (F,) progress, 0 to 1.
        distance: distance in world units at the end of the move; positive moves right.

    Returns:
        F cameras.

    Example:
        >>> from mirage_kernels import Cameras
        >>> start = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> truck(start, out_and_back(3), distance=-0.5).cam2world[:, 0, 3].tolist()
        [0.0, -0.5, 0.0]
    """
    along, (distance,) = _check(along, distance=distance)
    shift = torch.eye(4, dtype=torch.float64, device="cpu").repeat(len(along), 1, 1)
    shift[:, 0, 3] = along * distance
    return relative_to(start, shift)


def orbit(start: Cameras, along: Tensor, degrees: float, radius: float) -> Cameras:
    """Move on a horizontal circle around a point in front of the camera, facing the point.

    Args:
        start: one camera.
        along: (F,) progress, 0 to 1.
        degrees: angle at the end of the move; positive moves the camera to the left.
        radius: distance of the point in world units.

    Returns:
        F cameras.

    Example:
        >>> from mirage_kernels import Cameras
        >>> start = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> orbit(start, straight(2), degrees=90, radius=2.0).cam2world[1, :3, 3].round(decimals=4)
        tensor([-2.,  0.,  2.])
    """
    along, (degrees, radius) = _check(along, degrees=degrees, radius=radius)
    angle = along * math.radians(degrees)
    path = yaw_poses(angle)
    path[:, 0, 3], path[:, 2, 3] = -radius * angle.sin(), radius * (1 - angle.cos())
    return relative_to(start, path)


def spiral(start: Cameras, along: Tensor, distance: float, radius: float, *, windings: float = 2.0) -> Cameras:
    """Move on an outward spiral in the image plane, facing a point in front of the start camera, without roll.

    The path is an Archimedean spiral, clockwise as seen by the camera.

    Args:
        start: one camera.
        along: (F,) progress, 0 to 1.
        distance: distance from the start camera in world units at the end of the move.
        radius: distance of the point in world units.
        windings: number of turns.

    Returns:
        F cameras.

    Example:
        >>> from mirage_kernels import Cameras
        >>> start = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> path = spiral(start, straight(9), distance=0.5, radius=3.0)
        >>> path.cam2world[:, :3, 3].norm(dim=1)[[0, 4, 8]]
        tensor([0.0000, 0.2500, 0.5000])
    """
    along, (distance, radius, windings) = _check(along, distance=distance, radius=radius, windings=windings)
    angle = along * windings * 2 * math.pi
    right, down = along * distance * angle.cos(), along * distance * angle.sin()
    path = yaw_poses(torch.atan2(-right, torch.full_like(right, radius)))
    path @= pitch_poses(torch.atan2(down, torch.hypot(right, torch.full_like(right, radius))))
    path[:, 0, 3], path[:, 1, 3] = right, down
    return relative_to(start, path)


def through(keys: Cameras, along: Tensor) -> Cameras:
    """Interpolate between key frames that are equally spaced in progress.

    Args:
        keys: K key cameras.
        along: (F,) progress, 0 to 1.

    Returns:
        F cameras with interpolated poses and intrinsics; at the progress of a key frame, the key camera bit for bit.

    Example:
        >>> from mirage_kernels import Cameras
        >>> start = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> through(dolly(start, straight(2), 1.0), straight(5)).cam2world[:, 2, 3].tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    along, _ = _check(along)
    return keys.interpolate(along * (len(keys) - 1))
