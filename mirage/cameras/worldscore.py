# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera paths of the WorldScore benchmark (Duan et al. 2025): by name, and from its ``camera_data.json``.

A path is a list of named moves (``camera_path`` of a sample). The benchmark computes a key camera at the end of each
move (``cameras``) and the frames between them (``cameras_interp``), and compares the cameras of a generated video with
the latter. It interpolates world-to-camera poses, rotations by slerp and translations linearly, so that an orbit is not
exactly a circle; :func:`worldscore_path` reproduces this. The moves at speed 1 are

* ``push_in``, ``pull_out``: 1 unit forward or backward; ``move_left``, ``move_right``: 0.5 sideways; without rotation;
* ``orbit_left``, ``orbit_right``: 30 degrees around the point 1 unit ahead, to its left or right, facing it;
* ``pan_left``, ``pan_right``: rotation by 30 degrees without translation;
* ``pull_left``, ``pull_right``: the same rotation, then 0.3 backward and 0.3 to the same side;
* ``fixed``: no motion (samples with moving objects).

Each move is relative to the camera at the end of the move before. The speed scales lengths, not angles.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from mirage_kernels import Cameras, atomic_write, check

from ..errors import MAX_REASON, DataError, first_line
from ..io.files import read_json
from .trajectories import rebase, relative_to, straight, yaw_poses

ANGLE = math.radians(30)
FOCAL_LENGTH = 500.0

# yaw to the right in units of ANGLE, then translation to the right and forward in the frame of the rotated camera
_MOVES = {
    "fixed": (0, 0.0, 0.0),
    "move_left": (0, -0.5, 0.0),
    "move_right": (0, 0.5, 0.0),
    "orbit_left": (1, -math.sin(ANGLE), math.cos(ANGLE) - 1),
    "orbit_right": (-1, math.sin(ANGLE), math.cos(ANGLE) - 1),
    "pan_left": (-1, 0.0, 0.0),
    "pan_right": (1, 0.0, 0.0),
    "pull_left": (-1, -0.3, -0.3),
    "pull_out": (0, 0.0, -1.0),
    "pull_right": (1, 0.3, -0.3),
    "push_in": (0, 0.0, 1.0),
}
WORLDSCORE_MOVES = tuple(_MOVES)


def worldscore_path(start: Cameras, names: Sequence[str], frames: int, *, speed: float = 1.0) -> Cameras:
    """Compute the benchmark's cameras (``cameras_interp``) for a list of moves.

    Args:
        start: the camera of the image; all frames have its intrinsics.
        names: moves among :data:`WORLDSCORE_MOVES`.
        frames: frames per move, including its first and last, at least 2.
        speed: length in world units of a move of length 1 (the benchmark's ``scale``).

    Returns:
        ``len(names) * (frames - 1) + 1`` cameras; the first is the start camera, bit for bit.

    Raises:
        TypeError, ValueError: a move is unknown, there are no moves, there are too few frames, or the speed is not a
            finite number.

    Example:
        >>> start = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> path = worldscore_path(start, ["push_in", "pan_left"], frames=5)
        >>> len(path), path.cam2world[4, :3, 3].tolist()
        (9, [0.0, 0.0, 1.0])
    """
    for index, name in enumerate(names):
        if name not in _MOVES:
            raise ValueError(f"names: expected moves among {', '.join(_MOVES)}, got {name!r} at index {index}")
    if not names:
        raise ValueError("names: expected at least one move, got none")
    frames, speed = check.integer("frames", frames, 0), check.number("speed", speed)
    if frames < 2:
        raise check.value_error("frames", "at least 2 per move", frames)
    keys = torch.eye(4, dtype=torch.float64, device="cpu").repeat(len(names) + 1, 1, 1)
    for n, name in enumerate(names):
        turn, right, ahead = _MOVES[name]
        step = yaw_poses(torch.tensor([turn * ANGLE], dtype=torch.float64, device="cpu"))[0]
        step[:3, 3] = step[:3, :3] @ torch.tensor([right * speed, 0, ahead * speed], dtype=torch.float64, device="cpu")
        keys[n + 1] = keys[n] @ step
    # The benchmark interpolates world-to-camera poses, so they are passed as if they were camera-to-world poses.
    unit = torch.eye(3, dtype=torch.float64, device="cpu")
    world2cam = torch.eye(4, dtype=torch.float32, device="cpu").repeat(len(keys), 1, 1)
    world2cam[:, :3] = Cameras(unit, keys, (1, 1)).world2cam
    between = Cameras(unit, world2cam, (1, 1)).interpolate(straight(len(names) * (frames - 1) + 1) * len(names))
    local = Cameras.from_world2cam(unit, between.cam2world, (1, 1)).cam2world
    return relative_to(start, local.double())


def read_worldscore(
    path: str | Path, size: tuple[int, int], *, keyframes: bool = False, rebased: bool = True
) -> Cameras:
    """Read cameras from WorldScore's ``camera_data.json``.

    The file contains camera-to-world 4x4 matrices with Blender's camera axes (x right, y up, z backward) in PyTorch3D's
    world axes (x left, y up, z forward), so that the first matrix is diag(-1, 1, -1, 1). Files of other tools, whose
    first matrix is the identity, use OpenCV axes; both are supported. ``focal_length`` is taken to be in pixels of
    ``size``, and the principal point to be the image center.

    Args:
        path: the file.
        size: size (H, W) of the images.
        keyframes: whether to read the cameras at the ends of moves (``cameras``) instead of those of all frames.
        rebased: whether to move the path so that the first camera has the identity pose; otherwise the world axes of
            the file are kept.

    Returns:
        Cameras over (H, W).

    Raises:
        DataError: the file is missing or damaged, or its content is not as expected.
    """
    path, size = Path(path), check.size("size", size)
    key = "cameras" if keyframes else "cameras_interp"
    data = read_json(path, "WorldScore cameras")
    try:
        poses = torch.tensor(data[key], dtype=torch.float64, device="cpu")
        focal = float(data.get("focal_length", FOCAL_LENGTH))
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError) as error:
        got = f"{type(error).__name__}: {first_line(error)[:MAX_REASON]}"
        raise DataError(f"{path}: expected JSON with {key!r}, a list of 4x4 matrices, got {got}") from None
    if poses.dim() != 3 or poses.shape[1:] != (4, 4) or len(poses) == 0:
        raise DataError(f"{path}: expected {key!r} (F, 4, 4), got {tuple(poses.shape)}")
    first = poses[0, :3, :3]
    for corner, axes in (((-1.0, 1.0, -1.0), (1.0, -1.0, -1.0, 1.0)), ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0))):
        if (first - torch.tensor(corner, dtype=torch.float64, device="cpu").diag()).abs().max() <= 1e-3:
            poses = poses * torch.tensor(axes, dtype=torch.float64, device="cpu")
            break
    else:
        expected = "a first camera with rotation diag(-1, 1, -1) or identity"
        raise DataError(f"{path}: expected {expected}, got {first.tolist()}")
    intrinsics = [[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]]
    try:
        cameras = Cameras(torch.tensor(intrinsics, dtype=torch.float64, device="cpu"), poses, size)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return rebase(cameras) if rebased else cameras


def write_worldscore(path: str | Path, cameras: Cameras, frames: int, *, speed: float = 1.0) -> None:
    """Write cameras as WorldScore's ``camera_data.json``, in the axes that :func:`read_worldscore` describes.

    The file is replaced atomically.

    Args:
        path: the file.
        cameras: those of all frames, see :func:`worldscore_path`.
        frames: frames per move, including its first and last; the cameras in between are left out of ``cameras``.
        speed: written as ``scale``.

    Raises:
        TypeError, ValueError: ``frames`` does not divide the path, or ``speed`` is not a finite number.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> start = Cameras(torch.tensor([[500.0, 0, 64], [0, 500, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_worldscore(Path(folder) / "camera_data.json", worldscore_path(start, ["push_in"], 5), 5)
        ...     read_worldscore(Path(folder) / "camera_data.json", (96, 128)).cam2world[-1, :3, 3].tolist()
        [0.0, 0.0, 1.0]
    """
    frames, speed = check.integer("frames", frames, 2), check.number("speed", speed)
    if (len(cameras) - 1) % (frames - 1):
        raise check.value_error("frames", f"a divisor of {len(cameras) - 1} plus 1", frames)
    # From OpenCV's axes to Blender's for the camera, and PyTorch3D's for the world.
    poses = cameras.to("cpu").cam2world.double()
    local = poses[0].inverse() @ poses
    world = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64, device="cpu")
    camera = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64, device="cpu")
    matrices = world[:, None] * local * camera
    content = {
        "focal_length": cameras.intrinsics[0, 0, 0].item(),
        "scale": speed,
        "cameras": matrices[:: frames - 1].tolist(),
        "cameras_interp": matrices.tolist(),
    }
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=4) + "\n")
