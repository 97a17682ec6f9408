# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Intrinsics of a camera: from text, JSON or NumPy files, from numbers, or from a field of view; and their scaling."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from ..errors import MAX_REASON, DataError, first_line
from ..io.arrays import is_array_file, load_array
from ..io.files import parse_json, read_text

MAX_FRACTION = 10  # intrinsics of which none is larger are fractions of the image's size
MAX_ASPECT_ERROR = 0.02  # relative, between the size that a file of intrinsics states and the image's
UNIT = (1.0, 1.0, 0.0, 0.0)  # intrinsics of cameras over (1, 1) that hold poses alone
_EXPECTED = "a 3x3 matrix or fx fy cx cy"
_MATRICES = ("K", "k", "intrinsics", "intrinsic", "camera_matrix", "intrinsic_matrix", "cameraMatrix", "intrinsic_mat")
_FX = ("fx", "fl_x", "f_x", "focal_length_x", "focal_x", "focal_length", "focal", "fl", "f")
_FY = ("fy", "fl_y", "f_y", "focal_length_y", "focal_y")
_CX = ("cx", "ppx", "c_x", "principal_point_x")
_CY = ("cy", "ppy", "c_y", "principal_point_y")


def read_intrinsics(source: str | Path, size: tuple[int, int], *, integer_centers: bool = False) -> Tensor:
    """Read camera intrinsics.

    Args:
        source: the numbers themselves, as in ``"495,495,269,169"``, or a file of

            * text: a 3x3 matrix in pixels, or fx, fy, cx, cy; a 4x4 matrix is cut to 3x3;
            * JSON: fields fx, fy, cx, cy, or fl_x, fl_y (nerfstudio), or a matrix K, intrinsics, camera_matrix or
              intrinsic_matrix; of several cameras the first. Without cx, cy the center of the image is taken. If the
              file states the size of the images (w, h or width, height or size), the intrinsics are scaled from it;
            * ``.npy`` or ``.npz``: an array of 4 numbers or (3, 3), or of several cameras, of which the first is taken.

            If none of fx, fy, cx, cy exceeds 10, they are fractions of the size (fx / W, fy / H, cx / W, cy / H).
        size: size (H, W) of the image.
        integer_centers: whether pixel centers have integer coordinates in the calibration, as in OpenCV. Half a pixel
            is then added to cx and cy, unless they are fractions.

    Returns:
        (3, 3) float64, in pixels of ``size``.

    Raises:
        DataError: the file is missing or does not contain valid intrinsics.

    Example:
        >>> read_intrinsics("495,495,269,169", (360, 540))[0].tolist()
        [495.0, 0.0, 269.0]
        >>> read_intrinsics("0.9 1.2 0.5 0.5", (300, 400)).diagonal().tolist()
        [360.0, 360.0, 1.0]
    """
    size = check.size("size", size)
    k, calibrated = _read(source, size)
    is_fraction = bool(k[:2].abs().max() <= MAX_FRACTION)
    if is_fraction:
        calibrated = (1, 1)
    k = scale_intrinsics(k, calibrated, size, integer_centers=integer_centers and not is_fraction)
    try:
        Cameras(k, torch.eye(4, dtype=torch.float64, device="cpu"), size)
    except ValueError as error:
        raise DataError(f"{source}: {error}") from None
    return k


def intrinsics_from_fov(degrees: float, size: tuple[int, int]) -> Tensor:
    """Make the intrinsics of a camera with a horizontal field of view, square pixels and a centered principal point.

    Args:
        degrees: horizontal field of view, above 0 and below 180.
        size: size (H, W) of the image.

    Returns:
        (3, 3) float64, in pixels.

    Raises:
        TypeError, ValueError: the field of view is not a number or out of range, or ``size`` is not a size.

    Example:
        >>> intrinsics_from_fov(90, (300, 400))[:2].round(decimals=6).tolist()
        [[200.0, 0.0, 200.0], [0.0, 200.0, 150.0]]
    """
    degrees, size = check.number("degrees", degrees), check.size("size", size)
    if not 0 < degrees < 180:
        raise ValueError(f"degrees: expected a field of view above 0 and below 180, got {degrees:g}")
    return centered_intrinsics(size[1] / (2 * math.tan(math.radians(degrees) / 2)), size)


def centered_intrinsics(focal: float, size: tuple[int, int]) -> Tensor:
    """Make intrinsics (3, 3) float64 with a focal length in pixels and the principal point in the center of (H, W)."""
    focal, (height, width) = check.positive("focal", focal), check.size("size", size)
    return pinhole_intrinsics(focal, focal, width / 2, height / 2)


def pinhole_intrinsics(fx: float, fy: float, cx: float, cy: float) -> Tensor:
    """Make intrinsics (3, 3) float64 from focal lengths and the principal point, without a check."""
    return torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64, device="cpu")


def scale_intrinsics(
    intrinsics: Tensor, calibrated: tuple[float, float], size: tuple[int, int], *, integer_centers: bool = False
) -> Tensor:
    """Scale intrinsics (3, 3) float64 in pixels of ``calibrated`` (H, W) to pixels of ``size``.

    With ``integer_centers``, 0.5 is added to cx and cy before.
    """
    k = intrinsics.clone()
    if integer_centers:
        k[:2, 2] += 0.5
    k[0] *= size[1] / calibrated[1]
    k[1] *= size[0] / calibrated[0]
    return k


def with_intrinsics(cameras: Cameras, intrinsics: Tensor, size: tuple[int, int]) -> Cameras:
    """Return cameras with the same poses, both cam2world and world2cam bit for bit, and other intrinsics.

    Args:
        cameras: F cameras.
        intrinsics: (3, 3) or (F, 3, 3) on the CPU, in pixels of ``size``.
        size: (H, W).

    Raises:
        TypeError, ValueError: as :class:`mirage_kernels.Cameras` does.
    """
    return Cameras.from_tensors({**cameras.to("cpu").matrices(), "intrinsics": intrinsics, "size": size})


def _read(source: str | Path, size: tuple[int, int]) -> tuple[Tensor, tuple[float, float]]:
    """A 3x3 matrix, and the size (H, W) of the images it belongs to."""
    path = Path(source)
    if not os.path.exists(path):  # False for numbers that are too long for a name
        numbers = _parse_numbers(str(source))
        if not numbers:
            raise DataError(
                f"{source}: no such file; expected one, or numbers such as 495,495,269,169 (fx, fy, cx, cy)"
            )
        return _matrix(numbers, source), size
    if is_array_file(path):
        values = torch.from_numpy(load_array(path, "intrinsics", (*_MATRICES, "Ks")).astype("float64"))
        return _first_matrix(values, source), size
    text = read_text(path, "intrinsics")
    if text.lstrip().startswith("{"):
        return _read_json(text, path, size)
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    numbers = _parse_numbers("\n".join(lines))
    if numbers is None:
        raise DataError(f"{path}: expected intrinsics, got {text.strip()[:60]!r}")
    return _matrix(numbers, source), size


def _parse_numbers(text: str) -> list[float] | None:
    """Numbers separated by spaces, commas, semicolons or brackets; None if the text holds anything else."""
    for character in "[](),;":
        text = text.replace(character, " ")
    try:
        return [float(x) for x in text.split()]
    except ValueError:
        return None


def _matrix(numbers: list[float], source: str | Path) -> Tensor:
    if len(numbers) == 4:
        fx, fy, cx, cy = numbers
        numbers = [fx, 0, cx, 0, fy, cy, 0, 0, 1]
    if len(numbers) not in (9, 16):
        raise DataError(f"{source}: expected {_EXPECTED}, got {len(numbers)} numbers")
    side = 3 if len(numbers) == 9 else 4
    matrix = torch.tensor(numbers, dtype=torch.float64, device="cpu").reshape(side, side)[:3, :3].clone()
    # Open3D writes columns first: then the principal point is in the last row.
    return matrix.T.clone() if matrix[0, 2] == matrix[1, 2] == 0 and matrix[2, :2].any() else matrix


def _first_matrix(values: Tensor, source: str | Path) -> Tensor:
    """The matrix of the first camera, of 4 numbers, (3, 3), (3, 4), (4, 4), or a stack of one of these."""
    shape = tuple(values.shape)
    while values.dim() > 2 or (values.dim() == 2 and values.shape[1] == 4 and values.shape[0] not in (3, 4)):
        if not len(values):
            break
        values = values[0]
    if tuple(values.shape) not in ((4,), (9,), (3, 3), (3, 4), (4, 4)):
        raise DataError(f"{source}: expected {_EXPECTED}, got an array of shape {shape}")
    if values.dim() == 2:
        values = values[:3, :3].reshape(-1)
    return _matrix(values.tolist(), source)


def _read_json(text: str, path: Path, size: tuple[int, int]) -> tuple[Tensor, tuple[float, float]]:
    data = parse_json(text, f"{path}: ", "intrinsics")
    try:
        calibrated = _json_size(data) or size
        if abs(math.log(calibrated[1] / calibrated[0] * size[0] / size[1])) > MAX_ASPECT_ERROR:
            expected = f"the aspect of the image, {size[1]} x {size[0]} pixels"
            raise DataError(
                f"{path}: expected intrinsics of {expected}, got those of {calibrated[1]:g} x {calibrated[0]:g}"
            )
        return _json_matrix(data, path, calibrated), calibrated
    except DataError:
        raise
    except (TypeError, ValueError, KeyError, IndexError, ArithmeticError, RuntimeError) as error:
        got = f"{type(error).__name__}: {first_line(error)[:MAX_REASON]}"
        raise DataError(f"{path}: expected intrinsics as numbers, got {got}") from None


def _json_size(data: Mapping[str, Any]) -> tuple[float, float] | None:
    """The size (H, W) of the images that the file states."""
    for height, width in (("h", "w"), ("height", "width"), ("image_height", "image_width")):
        if height in data and width in data:
            sides = float(data[height]), float(data[width])
            return sides if min(sides) > 0 else None
    if isinstance(data.get("size"), list) and len(data["size"]) == 2:  # our cameras.json
        return float(data["size"][0]), float(data["size"][1])
    return None


def _json_matrix(data: Mapping[str, Any], path: Path, size: tuple[float, float]) -> Tensor:
    def find(names: tuple[str, ...]) -> Any:
        return next((data[name] for name in names if data.get(name) is not None), None)

    fx, matrix = find(_FX), find(_MATRICES)
    if fx is None and matrix is None and data.get("camera_angle_x") is not None:
        fx = size[1] / (2 * math.tan(float(data["camera_angle_x"]) / 2))
    if fx is None and matrix is not None:
        if isinstance(matrix, dict) and "data" in matrix:  # OpenCV's rows, cols, data
            return _matrix([float(x) for x in matrix["data"]], path)
        if isinstance(matrix, dict):
            return _json_matrix(matrix, path, size)
        return _first_matrix(torch.tensor(matrix, dtype=torch.float64, device="cpu"), path)
    if fx is None:
        got = ", ".join(sorted(map(str, data))[:8])
        raise DataError(f"{path}: expected fields fx fy cx cy, fl_x, K or intrinsics, got {got or 'none'}")
    fx = float(fx)
    fy, cx, cy = (find(names) for names in (_FY, _CX, _CY))
    share = fx <= MAX_FRACTION
    center = (0.5, 0.5) if share else (size[1] / 2, size[0] / 2)
    default_fy = fx * size[1] / size[0] if share else fx
    numbers = (fy, default_fy), (cx, center[0]), (cy, center[1])
    return _matrix([fx, *(float(default if given is None else given) for given, default in numbers)], path)
