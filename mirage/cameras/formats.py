# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of poses and cameras."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from mirage_kernels import Cameras, atomic_write, check

from ..errors import MAX_REASON, DataError, first_line
from ..io.files import parse_json, read_json, read_text
from .intrinsics import UNIT


def _pose(line: str, where: str) -> list[float]:
    """Parse a pose from a line of JSON, or of numbers separated by spaces or commas, into 16 numbers."""
    try:
        rows = parse_json(line, "", "") if line.lstrip().startswith("[") else line.replace(",", " ").split()
        flat = [float(x) for row in rows for x in (row if isinstance(row, list) else [row])]
    except (ValueError, TypeError, OverflowError):
        raise DataError(f"{where}: expected a pose of 4x4 or 3x4 numbers, got {line.strip()[:60]!r}") from None
    if len(flat) not in (12, 16):
        raise DataError(f"{where}: expected a pose of 16 or 12 numbers, got {len(flat)}")
    return flat if len(flat) == 16 else [*flat, 0.0, 0.0, 0.0, 1.0]


def read_poses(path: str | Path, *, world2cam: bool) -> Tensor:
    """Read poses from a text file.

    Args:
        path: a file with one pose per line: a 4x4 or 3x4 matrix in JSON, or its 16 or 12 numbers in row-major order,
            separated by spaces or commas. Blank lines and lines that start with ``#`` are skipped.
        world2cam: whether the file contains world-to-camera poses, rather than camera-to-world poses.

    Returns:
        (F, 4, 4) float64, camera-to-world poses.

    Raises:
        DataError: the file is missing or empty, or a line, which the error names, is not a rigid pose.
    """
    return read_posed_cameras(path, world2cam=world2cam).cam2world.double()


def read_posed_cameras(path: str | Path, *, world2cam: bool) -> Cameras:
    """Read what :func:`read_poses` does as cameras over (1, 1) with unit intrinsics, which keep given world2cam."""
    lines = enumerate(read_text(Path(path), "camera poses").splitlines(), 1)
    poses = [_pose(line, f"{path}:{n}") for n, line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not poses:
        raise DataError(f"{path}: expected camera poses, got an empty file")
    matrices = torch.tensor(poses, dtype=torch.float64, device="cpu").reshape(-1, 4, 4)
    try:  # Cameras checks the values
        build = Cameras.from_world2cam if world2cam else Cameras
        return build(UNIT, matrices, (1, 1))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def read_cameras_json(
    path: str | Path, size: tuple[int, int] | None = None, *, integer_centers: bool = False
) -> Cameras:
    """Read cameras that :func:`write_cameras` wrote, bit for bit.

    Args:
        path: the file; ``world2cam`` may be missing.
        size: size (H, W) to rescale the cameras to; None keeps the size of the file.
        integer_centers: whether pixel centers have integer coordinates, in a file that others wrote; then 0.5 is added
            to cx and cy, in pixels of the file.

    Returns:
        The cameras.

    Raises:
        DataError: the file is missing or damaged.
    """
    data = read_json(Path(path), "cameras")
    try:
        names = ("intrinsics", "cam2world", *(("world2cam",) if data.get("world2cam") is not None else ()))
        values = {name: torch.tensor(data[name], dtype=torch.float32, device="cpu") for name in names}
        height, width = data["size"]
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError) as error:
        got = f"{type(error).__name__}: {first_line(error)[:MAX_REASON]}"
        raise DataError(f"{path}: expected JSON with size, intrinsics and cam2world, got {got}") from None
    try:
        cameras = Cameras.from_tensors({**values, "size": check.size("size", (height, width))})
        cameras = cameras.crop(-0.5, -0.5, cameras.size) if integer_centers else cameras
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}") from None
    if len(cameras) == 0:
        raise DataError(f"{path}: expected cameras, got none")
    return cameras if size is None else cameras.rescale(size)


def write_cameras(path: str | Path, cameras: Cameras) -> None:
    """Write cameras to a JSON file.

    The file contains one object with ``size`` (H, W), ``convention``, ``intrinsics`` (F, 3, 3) in pixels,
    ``cam2world`` (F, 4, 4) and ``world2cam`` (F, 3, 4). It is replaced atomically.

    Args:
        path: the file.
        cameras: F cameras, at least one.

    Raises:
        ValueError: there are no cameras.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> from mirage.cameras import read_cameras, write_cameras
        >>> cameras = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_cameras(Path(folder) / "cameras.json", cameras)
        ...     read = read_cameras(Path(folder) / "cameras.json", size=(48, 64))
        >>> read.intrinsics[0].tolist()
        [[32.0, 0.0, 32.0], [0.0, 32.0, 24.0], [0.0, 0.0, 1.0]]
    """
    if not len(cameras):
        raise check.value_error("cameras", "at least one camera", "none")
    cameras = cameras.to("cpu")
    content = {
        "convention": "OpenCV axes; pixel centers at +0.5; cam2world",
        "size": list(cameras.size),
        **{name: tensor.tolist() for name, tensor in cameras.matrices().items()},
    }
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content) + "\n")
