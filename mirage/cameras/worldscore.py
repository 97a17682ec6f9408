# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera paths of the benchmark WorldScore (Duan et al. 2025): by name, and from its ``camera_data.json``.

A path is a list of named moves (``camera_path`` of a sample). The benchmark turns it into a key camera at the end of
every move (``cameras``) and the frames between them (``cameras_interp``), and holds the cameras of a generated video
against the latter. It interpolates world-to-camera poses, rotations by slerp and translations linearly, so that an
orbit is not quite a circle; this is kept. At speed 1 a move is

* ``push_in``, ``pull_out``: 1 ahead or back; ``move_left``, ``move_right``: 0.5 to the side; all without turning;
* ``orbit_left``, ``orbit_right``: 30 degrees around the point 1 ahead, to its left or right, facing it;
* ``pan_left``, ``pan_right``: a turn of 30 degrees on the spot;
* ``pull_left``, ``pull_right``: that turn, then 0.3 back and 0.3 to the same side;
* ``fixed``: none (samples in which things move).

Every move begins in the frame of the camera that the one before ended at. Speed scales lengths, in the benchmark's own
unit; angles stay.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mirage_kernels import Cameras

from ..errors import DataError
from ..io.files import read_text
from .trajectories import rebase, relative_to, straight, turns

ANGLE = math.radians(30)
FOCAL_LENGTH = 500.0

# turn to the right in units of ANGLE, then how far to the right and ahead, along the turned camera's axes
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
    """The benchmark's cameras (``cameras_interp``) for a list of moves, seen from one start camera.

    Args:
        start: the one camera of the picture; its intrinsics are those of every frame.
        names: moves, of :data:`WORLDSCORE_MOVES`.
        frames: from the beginning of a move to its end, both counted, at least 2.
        speed: world units of a move of length 1 (the benchmark's ``scale``).

    Returns:
        ``len(names) * (frames - 1) + 1`` cameras; the first is the start camera, bit for bit.
    """
    for name in names:
        if name not in _MOVES:
            raise ValueError(f"names: expected moves of {', '.join(_MOVES)}, got {name!r}")
    if not names:
        raise ValueError("names: expected at least one move, got none")
    if frames < 2:
        raise ValueError(f"frames: expected at least 2 for a move, got {frames}")
    keys = torch.eye(4, dtype=torch.float64).repeat(len(names) + 1, 1, 1)
    for n, name in enumerate(names):
        turn, right, ahead = _MOVES[name]
        step = turns(torch.tensor([turn * ANGLE], dtype=torch.float64))[0]
        step[:3, 3] = step[:3, :3] @ torch.tensor([right * speed, 0, ahead * speed], dtype=torch.float64)
        keys[n + 1] = keys[n] @ step
    # world-to-camera poses are interpolated, so they stand where poses do here
    unit = torch.eye(3)
    world2cam = torch.eye(4).repeat(len(keys), 1, 1)
    world2cam[:, :3] = Cameras(unit, keys, (1, 1)).world2cam
    between = Cameras(unit, world2cam, (1, 1)).interpolate(straight(len(names) * (frames - 1) + 1) * len(names))
    local = Cameras.from_world2cam(unit, between.cam2world, (1, 1)).cam2world
    return relative_to(start, local.double())


def read_worldscore(
    path: str | Path, size: tuple[int, int], *, keyframes: bool = False, rebased: bool = True
) -> Cameras:
    """Cameras of WorldScore's ``camera_data.json``, over pictures of ``size`` (H, W).

    The file holds camera-to-world 4x4 matrices in the axes of Blender (x right, y up, z back), in a world with those of
    PyTorch3D (x left, y up, z ahead), so that its first one is diag(-1, 1, -1, 1). Files of the same make whose first
    one is the identity are written by other tools, with OpenCV's axes; both are read. ``focal_length`` is in pixels of
    the pictures that the benchmark asks for, which ``size`` is taken to be; the principal point is their middle.

    Args:
        path: the file.
        size: of the pictures.
        keyframes: read the cameras at the ends of moves (``cameras``) instead of those of every frame.
        rebased: put the first camera at the origin of OpenCV's axes; otherwise the world's axes stay.

    Raises:
        DataError: naming the file.
    """
    path = Path(path)
    key = "cameras" if keyframes else "cameras_interp"
    try:
        data: Any = json.loads(read_text(path, "WorldScore cameras"))
        poses = torch.tensor(data[key], dtype=torch.float64)
        focal = float(data.get("focal_length", FOCAL_LENGTH))
    except DataError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: expected JSON with {key!r}, a list of 4x4 matrices, got {got}") from None
    if poses.dim() != 3 or poses.shape[1:] != (4, 4) or len(poses) == 0:
        raise DataError(f"{path}: expected {key!r} (F, 4, 4), got {tuple(poses.shape)}")
    first = poses[0, :3, :3]
    for corner, axes in (((-1.0, 1.0, -1.0), (1.0, -1.0, -1.0, 1.0)), ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0, 1.0))):
        if (first - torch.tensor(corner, dtype=torch.float64).diag()).abs().max() <= 1e-3:
            poses = poses * torch.tensor(axes, dtype=torch.float64)
            break
    else:
        raise DataError(f"{path}: expected a first camera with the rotation diag(-1, 1, -1) or 1, got {first.tolist()}")
    middle = [[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]]
    try:
        cameras = Cameras(torch.tensor(middle, dtype=torch.float64), poses, size)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return rebase(cameras) if rebased else cameras
