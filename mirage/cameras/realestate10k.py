# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera files of RealEstate10K (Zhou et al. 2018)."""

from __future__ import annotations

from pathlib import Path

import torch

from mirage_kernels import Cameras

from ..errors import DataError
from ..io.files import read_text
from .trajectories import rebase

COLUMNS = 19
_ADDRESS = ("http://", "https://")


def is_realestate10k(text: str) -> bool:
    """Whether the first line is a video's address or has 19 columns."""
    line = text.lstrip().partition("\n")[0].split()
    return bool(line) and (line[0].startswith(_ADDRESS) or len(line) == COLUMNS)


def _row(line: str, where: str) -> list[float]:
    try:
        row = [float(x) for x in line.split()]
    except ValueError:
        raise DataError(f"{where}: expected {COLUMNS} numbers, got {line.strip()[:60]!r}") from None
    if len(row) != COLUMNS:
        raise DataError(f"{where}: expected {COLUMNS} numbers, got {len(row)}")
    if row[5] or row[6]:
        raise DataError(f"{where}: expected a camera without distortion (k1 = k2 = 0), got {row[5]:g} and {row[6]:g}")
    return row


def read_realestate10k(path: str | Path, size: tuple[int, int], *, rebased: bool = True) -> Cameras:
    """Cameras of a RealEstate10K file, over pictures of ``size`` (H, W).

    Its first line is the address of the video; every other one has 19 numbers: time in microseconds, fx, fy, cx and cy
    as shares of the picture's width (fx, cx) and height (fy, cy), k1, k2, and the 3x4 world-to-camera pose row by row,
    OpenCV axes. Shares of the picture have no habit of pixel centres: nothing is added. The unit of length is that of
    the reconstruction, a different one in every file. Times are not read: frames follow each other as the lines do.

    Args:
        path: the file; the address may be missing.
        size: of the pictures. The shares hold for the whole picture, whatever its size; pictures of another aspect
            than the video's are taken as stretched.
        rebased: move the path so that its first camera is at the origin, as the picture that a walk starts from is;
            otherwise the poses are the file's.

    Raises:
        DataError: naming file and line, also where a camera has distortion.
    """
    path = Path(path)
    lines = read_text(path, "RealEstate10K cameras").splitlines()
    first = 1 if lines and lines[0].strip().startswith(_ADDRESS) else 0
    rows = [_row(line, f"{path}:{n}") for n, line in enumerate(lines[first:], first + 1) if line.strip()]
    if not rows:
        raise DataError(f"{path}: expected RealEstate10K cameras, got none")
    table = torch.tensor(rows, dtype=torch.float64)
    intrinsics = torch.eye(3, dtype=torch.float64).repeat(len(rows), 1, 1)
    intrinsics[:, 0, 0], intrinsics[:, 0, 2] = table[:, 1] * size[1], table[:, 3] * size[1]
    intrinsics[:, 1, 1], intrinsics[:, 1, 2] = table[:, 2] * size[0], table[:, 4] * size[0]
    try:
        cameras = Cameras.from_world2cam(intrinsics, table[:, 7:].reshape(-1, 3, 4), size)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return rebase(cameras) if rebased else cameras
