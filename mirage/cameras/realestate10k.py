# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera files of the RealEstate10K dataset (Zhou et al. 2018)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from ..errors import DataError
from ..io.files import read_text
from .trajectories import rebase

COLUMNS = 19
_URL_PREFIXES = ("http://", "https://")


def is_realestate10k(text: str) -> bool:
    """Return whether the first line of a text is a URL or has 19 columns."""
    line = text.lstrip().partition("\n")[0].split()
    return bool(line) and (line[0].startswith(_URL_PREFIXES) or len(line) == COLUMNS)


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
    """Read cameras from a RealEstate10K file.

    The first line is the URL of the video. Each other line has 19 numbers: time in microseconds; fx, fy, cx and cy as
    fractions of the image width (fx, cx) and height (fy, cy); k1, k2; and the 3x4 world-to-camera pose in row-major
    order, OpenCV axes. The unit of length is that of the reconstruction and differs between files. Times are ignored:
    each line is the next frame.

    Args:
        path: the file; the URL may be missing.
        size: size (H, W) of the images. Fractions apply to the whole image, so images with another aspect ratio than
            the video's are taken as stretched.
        rebased: whether to move the path so that the first camera has the identity pose.

    Returns:
        Cameras over (H, W).

    Raises:
        DataError: the file is missing, or a line, which the error names, is not as described or has distortion.
    """
    path, size = Path(path), check.size("size", size)
    table = _read_table(path)
    intrinsics = torch.eye(3, dtype=torch.float64, device="cpu").repeat(len(table), 1, 1)
    intrinsics[:, 0, 0], intrinsics[:, 0, 2] = table[:, 1] * size[1], table[:, 3] * size[1]
    intrinsics[:, 1, 1], intrinsics[:, 1, 2] = table[:, 2] * size[0], table[:, 4] * size[0]
    try:
        cameras = Cameras.from_world2cam(intrinsics, table[:, 7:].reshape(-1, 3, 4), size)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return rebase(cameras) if rebased else cameras


def read_realestate10k_times(path: str | Path) -> list[float]:
    """Read the times of the cameras of a RealEstate10K file.

    Args:
        path: the file.

    Returns:
        Seconds in the video, one for each camera.

    Raises:
        DataError: see :func:`read_realestate10k`.
    """
    return [time / 1e6 for time in _read_table(Path(path))[:, 0].tolist()]


def _read_table(path: Path) -> Tensor:
    """The numbers of all cameras, (F, 19) float64."""
    lines = read_text(path, "RealEstate10K cameras").splitlines()
    first = 1 if lines and lines[0].strip().startswith(_URL_PREFIXES) else 0
    rows = [_row(line, f"{path}:{n}") for n, line in enumerate(lines[first:], first + 1) if line.strip()]
    if not rows:
        raise DataError(f"{path}: expected lines of RealEstate10K cameras, got none")
    return torch.tensor(rows, dtype=torch.float64, device="cpu")
