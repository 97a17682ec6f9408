# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras in a ``transforms.json``, as nerfstudio, instant-ngp and many capture apps write it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from ..errors import DataError
from ..io.files import read_json
from .intrinsics import pinhole_intrinsics, scale_intrinsics

MAX_NUMBER = 1e9  # of pixels, of degrees, of lens coefficients
_PINHOLE = ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL")


class Transforms(NamedTuple):
    """The content of a ``transforms.json``.

    Attributes:
        shared: values of all frames.
        frames: in the order of the file, each with a ``file_path``; its own values replace the shared ones.
    """

    shared: dict[str, Any]
    frames: list[dict[str, Any]]

    def value(self, frame: dict[str, Any], name: str) -> float | None:
        """A number of a frame, or else of all frames; None if there is none.

        Raises:
            DataError: it is not a number, or above 1e9.
        """
        return self._first(frame, name)[1]

    def _first(self, frame: dict[str, Any], *names: str) -> tuple[str, float | None]:
        """The first of some values that a frame has, or else that all frames have, with its name."""
        for values in (frame, self.shared):
            for name in names:
                value = values.get(name)
                if value is None:
                    continue
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MAX_NUMBER:
                    raise DataError(f"{name}: expected a number, got {check.one_line(value)[:60]}")
                return name, float(value)
        return names[0], None

    def image_size(self, frame: dict[str, Any], default: tuple[int, int]) -> tuple[float, float]:
        """The size (H, W) of the images that the intrinsics of a frame are for.

        Raises:
            DataError: it is not above 0, or only one of the two is given.
        """
        height, width = self.value(frame, "h"), self.value(frame, "w")
        if not height and not width:
            return default
        if not height or not width:
            raise DataError(f"w, h: expected both or none, got {'h' if height else 'w'} alone")
        if min(height, width) < 1:
            raise DataError(f"w, h: expected images of at least one pixel, got {width:g} x {height:g}")
        return height, width

    def _focal(self, frame: dict[str, Any], axis: str, length: float) -> float | None:
        """The focal length in pixels along an axis of ``length`` pixels, or what it follows from: the angle of view."""
        name, value = self._first(frame, f"fl_{axis}", f"camera_angle_{axis}")
        return value if not value or name == f"fl_{axis}" else length / 2 / math.tan(value / 2)

    def intrinsics(self, frame: dict[str, Any], size: tuple[int, int], *, integer_centers: bool = False) -> Tensor:
        """Intrinsics (3, 3) float64 of a frame, in pixels of ``size`` (H, W); without w and h, the file's are, too.

        Raises:
            DataError: there is no focal length, or a value is not a number.
        """
        height, width = self.image_size(frame, size)
        fx, fy = self._focal(frame, "x", width), self._focal(frame, "y", height)
        if not fx:
            raise DataError("expected fl_x or camera_angle_x, got neither; --intrinsics FILE replaces them")
        cx, cy = self.value(frame, "cx"), self.value(frame, "cy")
        half = 0.5 if integer_centers else 0.0
        cx, cy = (width / 2 if cx is None else cx + half), (height / 2 if cy is None else cy + half)
        return scale_intrinsics(pinhole_intrinsics(fx, fy or fx, cx, cy), (height, width), size)


def read_transforms(path: Path) -> Transforms:
    """Read a ``transforms.json``.

    Raises:
        DataError: the file is missing or damaged, has no frames, or is that of fisheye or panoramic cameras.
    """
    shared = read_json(path, "cameras")
    frames = shared.get("frames") if isinstance(shared, dict) else None
    if not isinstance(frames, list) or not all(isinstance(f, dict) and "file_path" in f for f in frames):
        raise DataError(f"{path}: expected JSON with frames, each with a file_path, got none")
    for values in (shared, *({**shared, **frame} for frame in frames)):
        model = "OPENCV_FISHEYE" if values.get("is_fisheye") else str(values.get("camera_model") or "OPENCV").upper()
        if model not in _PINHOLE:
            raise DataError(f"{path}: camera_model: expected one of {', '.join(_PINHOLE)}, got {model}")
    return Transforms(shared, frames)


def opengl_pose(frame: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The pose (4, 4) float64 of a frame, with OpenGL axes.

    Raises:
        DataError: it is missing, or not a matrix (4, 4) or (3, 4) of numbers.
    """
    try:
        values = np.array(frame["transform_matrix"], dtype=np.float64)
    except (KeyError, ValueError, TypeError, OverflowError):
        values = np.zeros(0)
    if values.shape not in ((4, 4), (3, 4)):
        raise DataError(f"transform_matrix: expected 4x4 numbers, got {values.shape}")
    return np.concatenate([values, [[0.0, 0.0, 0.0, 1.0]]])[:4]


def read_nerfstudio(path: str | Path, size: tuple[int, int], *, integer_centers: bool = False) -> Cameras:
    """Read the cameras of a ``transforms.json``, in the order of its frames.

    Poses are camera-to-world with OpenGL axes (y up, z backward). Intrinsics are ``fl_x fl_y cx cy`` in pixels of
    ``w h``, or ``camera_angle_x``, for all frames or per frame. Images need not exist.

    Args:
        path: the file, or its folder.
        size: size (H, W) of the images; intrinsics of another size are rescaled. Without ``w`` and ``h``, those of the
            file are in pixels of ``size``. Lens distortion is left out: the cameras are those of undistorted images.
        integer_centers: whether pixel centers have integer coordinates in cx and cy. By convention they lie at +0.5.

    Returns:
        Cameras over (H, W).

    Raises:
        DataError: the file is missing, damaged or without frames, has no focal length, or is that of fisheye or
            panoramic cameras.

    Example:
        >>> import json, tempfile
        >>> frame = {"file_path": "a.png", "transform_matrix": torch.eye(4).tolist()}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "transforms.json"
        ...     _ = path.write_text(json.dumps({"fl_x": 64, "w": 128, "h": 96, "frames": [frame]}))
        ...     cameras = read_nerfstudio(path, size=(48, 64))
        >>> cameras.intrinsics[0, 0].tolist(), cameras.cam2world[0].diagonal().tolist()
        ([32.0, 0.0, 32.0], [1.0, -1.0, -1.0, 1.0])
    """
    path, size = Path(path), check.size("size", size)
    path = path / "transforms.json" if path.is_dir() else path
    transforms = read_transforms(path)
    if not transforms.frames:
        raise DataError(f"{path}: expected frames, got none")
    intrinsics, poses = [], []
    for number, frame in enumerate(transforms.frames):
        try:
            intrinsics.append(transforms.intrinsics(frame, size, integer_centers=integer_centers))
            poses.append(opengl_pose(frame))
        except (ValueError, ArithmeticError) as error:
            raise DataError(f"{path}: frames[{number}]: {error}") from None
    try:
        return Cameras.from_opengl(torch.stack(intrinsics), np.stack(poses), size)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
