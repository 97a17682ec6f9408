# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Trajectories of the TUM RGB-D benchmark (Sturm et al. 2012), which SLAM systems write as well."""

from __future__ import annotations

from pathlib import Path

import torch

from mirage_kernels import Cameras

from ..errors import DataError
from ..io.listings import read_numbers, read_rows
from .intrinsics import UNIT

COLUMNS = 8


def is_tum(text: str) -> bool:
    """Return whether the first line of a text, other than blank lines and comments, has 8 words."""
    lines = (line.replace(",", " ").split() for line in text.splitlines())
    first: list[str] = next((words for words in lines if words and not words[0].startswith("#")), [])
    return len(first) == COLUMNS


def read_trajectory(path: Path) -> list[list[float]]:
    """Read the time and the pose (tx ty tz qx qy qz qw) of each line.

    Raises:
        DataError: the file is missing or empty, or a line, which the error names, has other content.
    """
    rows = [(number, read_numbers(path, number, words)) for number, words in read_rows(path, "a pose per line")]
    for number, values in rows:
        if len(values) != COLUMNS:
            raise DataError(f"{path}:{number}: expected a time and 7 numbers of a pose, got {len(values)} numbers")
    return [values for _, values in rows]


def read_tum(path: str | Path) -> Cameras:
    """Read the camera-to-world poses of a TUM trajectory, in the order of its lines.

    Args:
        path: a file of lines ``timestamp tx ty tz qx qy qz qw``; times are ignored.

    Returns:
        Cameras over (1, 1) with unit intrinsics.

    Raises:
        DataError: the file is missing or empty, or a line is not a pose.
    """
    rows = read_trajectory(Path(path))
    try:
        return cameras_of([values[1:] for values in rows])
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def cameras_of(poses: list[list[float]]) -> Cameras:
    """Make cameras over (1, 1) of poses tx ty tz qx qy qz qw.

    Raises:
        ValueError: a pose is not valid.
    """
    values = torch.tensor(poses, dtype=torch.float64, device="cpu")
    return Cameras.from_quaternion(UNIT, values[:, 3:], values[:, :3], (1, 1), order="xyzw", pose="cam2world")
