# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Poses, and lists of files, as folders of recordings have them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError
from ..io.files import read_text

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".ppm", ".bmp", ".tif", ".tiff", ".webp")
DEPTH_SUFFIXES = (".png", ".pgm", ".npy", ".exr", ".tif", ".tiff", ".npz")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which ``2.png`` comes before ``10.png``.

    Example:
        >>> sorted(["10.png", "2.png"], key=natural_key)
        ['2.png', '10.png']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    digits = (
        part.lstrip("0") for part in parts
    )  # compared by length first, because a name may have any number of them
    return [(0, len(n), n) if part.isdecimal() else (1, 0, part) for part, n in zip(parts, digits, strict=True)]


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder with these suffixes, in natural order; none if there is no such folder."""
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    return sorted(paths, key=lambda path: natural_key(path.name))


def rotation_matrix(quaternion: Sequence[float]) -> Tensor:
    """Convert a quaternion to a rotation matrix.

    Args:
        quaternion: x, y, z, w; of any length but 0.

    Returns:
        (3, 3) float64.

    Raises:
        DataError: the quaternion has no direction.

    Example:
        >>> rotation_matrix([0, 0, 1, 1]).round().tolist()  # 90 degrees about z
        [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    values = torch.tensor(quaternion, dtype=torch.float64, device="cpu")
    norm = values.norm()
    if not 1e-9 < norm < float("inf"):
        raise DataError(f"pose: expected a quaternion, got {list(quaternion)}")
    x, y, z, w = (values / norm).tolist()
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ],
        dtype=torch.float64,
        device="cpu",
    )


def pose_matrix(numbers: Sequence[float]) -> Tensor:
    """Convert the numbers of a pose to a matrix.

    Args:
        numbers: 16 or 12 numbers of a matrix in row-major order, or 7 numbers tx ty tz qx qy qz qw.

    Returns:
        (4, 4) float64.

    Raises:
        DataError: there is another number of numbers, or a quaternion has no direction.
    """
    pose = torch.eye(4, dtype=torch.float64, device="cpu")
    if len(numbers) == 7:
        pose[:3, :3], pose[:3, 3] = (
            rotation_matrix(numbers[3:]),
            torch.tensor(numbers[:3], dtype=torch.float64, device="cpu"),
        )
    elif len(numbers) in (12, 16):
        rows = torch.tensor(numbers, dtype=torch.float64, device="cpu").reshape(-1, 4)
        pose[: len(rows)] = rows
    else:
        raise DataError(f"pose: expected 16, 12 or 7 numbers, got {len(numbers)}")
    return pose


def read_rows(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """Read the words of each line of a text file. Blank lines and comments (``#``) are skipped.

    Args:
        path: the file.
        what: what a line holds, for errors.

    Returns:
        Number and words of each line.

    Raises:
        DataError: the file is missing, not text, or has no lines.
    """
    lines = enumerate(read_text(path, what).splitlines(), 1)
    rows = [(n, line.replace(",", " ").split()) for n, line in lines if line.strip() and line.strip()[0] != "#"]
    if not rows:
        raise DataError(f"{path}: expected {what}, got an empty file")
    return rows


def read_numbers(path: Path, number: int, words: Sequence[str]) -> list[float]:
    """The numbers of one line.

    Raises:
        DataError: a word, of the line that the error names, is not a number.
    """
    try:
        return [float(word) for word in words]
    except ValueError:
        raise DataError(f"{path}:{number}: expected numbers, got {' '.join(words)[:60]!r}") from None
