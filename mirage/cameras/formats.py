# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..errors import DataError
from ..io.files import read_text


def _pose(line: str, where: str) -> list[float]:
    """16 or 12 numbers of one line: JSON rows, or plain numbers separated by spaces or commas."""
    try:
        rows = json.loads(line) if line.lstrip().startswith("[") else line.replace(",", " ").split()
        flat = [float(x) for row in rows for x in (row if isinstance(row, list) else [row])]
    except (ValueError, TypeError):
        raise DataError(f"{where}: expected a pose of 4x4 numbers, got {line.strip()[:60]!r}") from None
    if len(flat) not in (12, 16):
        raise DataError(f"{where}: expected a pose of 16 or 12 numbers, got {len(flat)}")
    return flat if len(flat) == 16 else [*flat, 0.0, 0.0, 0.0, 1.0]


def read_poses(path: str | Path, *, world2cam: bool) -> Tensor:
    """Poses from a text file, one a line: a JSON 4x4 (or 3x4), or its 16 (or 12) numbers row by row.

    Args:
        path: the file; empty lines and lines that start with # are skipped.
        world2cam: what the file holds: world-to-camera poses, or camera-to-world ones.

    Returns:
        Camera-to-world poses (F, 4, 4), float64.
    """
    lines = enumerate(read_text(Path(path), "camera poses").splitlines(), 1)
    poses = [_pose(line, f"{path}:{n}") for n, line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not poses:
        raise DataError(f"{path}: expected camera poses, got an empty file")
    matrices = torch.tensor(poses, dtype=torch.float64).reshape(-1, 4, 4)
    try:  # the values are checked where cameras are made
        unit = torch.eye(3)
        build = Cameras.from_world2cam if world2cam else Cameras
        return build(unit, matrices, (1, 1)).cam2world.double()
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def read_intrinsics(path: str | Path, size: tuple[int, int], *, integer_centres: bool = False) -> Tensor:
    """Intrinsics (3, 3), float64, in pixels of a picture of ``size`` (H, W).

    Args:
        path: a text file of a 3x3 matrix, or of fx, fy, cx, cy: in pixels, or as shares of the picture's width and
            height (fx / W, fy / H, cx / W, cy / H) where none is above 10. JSON brackets are fine.
        integer_centres: the calibration puts pixel centres on integers, as OpenCV's habit is; half a pixel is added to
            cx and cy. Shares of the picture have no such habit.
    """
    text = read_text(Path(path), "intrinsics")
    for character in "[],;":
        text = text.replace(character, " ")
    try:
        numbers = [float(x) for x in text.split()]
    except ValueError:
        raise DataError(f"{path}: expected intrinsics, got {text.strip()[:60]!r}") from None
    if len(numbers) == 9:
        k = torch.tensor(numbers, dtype=torch.float64).reshape(3, 3)
    elif len(numbers) == 4:
        fx, fy, cx, cy = numbers
        shares = max(numbers) <= 10
        width, height = (size[1], size[0]) if shares else (1, 1)
        k = torch.tensor([[fx * width, 0, cx * width], [0, fy * height, cy * height], [0, 0, 1]], dtype=torch.float64)
        integer_centres = integer_centres and not shares
    else:
        raise DataError(f"{path}: expected a 3x3 matrix or fx fy cx cy, got {len(numbers)} numbers")
    if integer_centres:
        k[:2, 2] += 0.5
    try:
        Cameras(k, torch.eye(4), size)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return k


def read_cameras_json(path: str | Path, size: tuple[int, int] | None = None) -> Cameras:
    """What :func:`write_cameras` wrote, bit for bit; rescaled where ``size`` (H, W) is another one."""
    try:
        data = json.loads(read_text(Path(path), "cameras"))
        values = [torch.tensor(data[name], dtype=torch.float32) for name in ("intrinsics", "cam2world")]
        height, width = data["size"]
    except DataError:
        raise
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        got = f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: expected JSON with size, intrinsics and cam2world, got {got}") from None
    try:
        cameras = Cameras(values[0], values[1], (height, width))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}") from None
    if len(cameras) == 0:
        raise DataError(f"{path}: expected cameras, got none")
    return cameras if size is None else cameras.rescale(size)


def write_cameras(path: str | Path, cameras: Cameras) -> None:
    """One JSON object: size (H, W), convention, and intrinsics (3x3) and cam2world (4x4) of every camera."""
    cameras = cameras.to("cpu")
    text = {
        "convention": "OpenCV axes; pixel centres at +0.5; cam2world",
        "size": list(cameras.size),
        "intrinsics": cameras.intrinsics.tolist(),
        "cam2world": cameras.cam2world.tolist(),
    }
    Path(path).write_text(json.dumps(text) + "\n")
