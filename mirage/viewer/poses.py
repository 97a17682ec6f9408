# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras of a browser: a position, a quaternion, and a vertical field of view. Both sides use OpenCV's axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

MIN_FOV, MAX_FOV = math.radians(1), math.radians(175)


def to_quaternion(rotation: Tensor) -> tuple[float, float, float, float]:
    """Convert a rotation matrix to a quaternion.

    Args:
        rotation: (3, 3).

    Returns:
        (w, x, y, z) of length 1, with w not negative.

    Example:
        >>> to_quaternion(torch.diag(torch.tensor([-1.0, -1.0, 1.0])))  # half a turn around z
        (0.0, 0.0, 0.0, 1.0)
    """
    r = rotation.double().cpu()
    # Four ways to compute it, of which that with the largest entry loses no precision (Shepperd 1978).
    xx, yy, zz = r.diagonal().tolist()
    squares = [1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz]
    entries = [
        [squares[0], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
        [r[2, 1] - r[1, 2], squares[1], r[1, 0] + r[0, 1], r[0, 2] + r[2, 0]],
        [r[0, 2] - r[2, 0], r[1, 0] + r[0, 1], squares[2], r[2, 1] + r[1, 2]],
        [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[2, 1] + r[1, 2], squares[3]],
    ]
    row = torch.tensor(entries[squares.index(max(squares))], dtype=torch.float64, device="cpu")
    w, x, y, z = (row / row.norm() * (-1.0 if row[0] < 0 else 1.0)).tolist()
    return w, x, y, z


def to_rotation(wxyz: Sequence[float]) -> Tensor:
    """Convert a quaternion to a rotation matrix.

    Args:
        wxyz: four numbers, not all zero; they are normalized.

    Returns:
        (3, 3) float64.

    Example:
        >>> to_rotation((0.0, 0.0, 0.0, 1.0)).diagonal().tolist()
        [-1.0, -1.0, 1.0]
    """
    w, x, y, z = torch.nn.functional.normalize(torch.tensor(wxyz, dtype=torch.float64, device="cpu"), dim=0).tolist()
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.tensor(rows, dtype=torch.float64, device="cpu")


def browser_camera(
    wxyz: Sequence[float], position: Sequence[float], fov: float, like: Cameras, origin: Sequence[float]
) -> Cameras:
    """A camera where that of a browser is, for images of a memory.

    Args:
        wxyz: rotation of the browser's camera, to the world.
        position: relative to ``origin``, world units.
        fov: vertical field of view in radians; it is limited to 1 to 175 degrees.
        like: the camera of an image; the result has its size, its principal point, and the aspect of its pixels, so
            that a browser that has flown to a frame has the view of that frame.
        origin: (x, y, z) in world units.

    Raises:
        ValueError: a number is not finite.
    """
    check.number("fov", fov)
    k = like.intrinsics[0].double().cpu()
    focal = like.size[0] / 2 / math.tan(min(max(fov, MIN_FOV), MAX_FOV) / 2)
    k[:2, :2] *= focal / k[1, 1]
    pose = torch.eye(4, dtype=torch.float64, device="cpu")
    pose[:3, :3] = to_rotation(wxyz)
    pose[:3, 3] = torch.tensor(position, dtype=torch.float64, device="cpu")
    pose[:3, 3] += torch.tensor(origin, dtype=torch.float64, device="cpu")
    return Cameras(k, pose, like.size)


def vertical_fov(cameras: Cameras) -> float:
    """The vertical field of view of the first camera in radians.

    Example:
        >>> camera = Cameras(torch.tensor([[60.0, 0, 40], [0, 60, 60], [0, 0, 1]]), torch.eye(4), (120, 80))
        >>> round(math.degrees(vertical_fov(camera)))
        90
    """
    return 2 * math.atan(cameras.size[0] / 2 / cameras.intrinsics[0, 1, 1].item())
