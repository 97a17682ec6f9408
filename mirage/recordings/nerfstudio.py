# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings in a ``transforms.json``, as nerfstudio, instant-ngp and many capture apps write it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, reading
from ..io.files import read_depth, read_json, read_mask
from .distortion import Distortion
from .frames import ReadOptions, Recording, SourceFrame, check_aspect, image_size, read_pixels
from .poses import natural_key

MILLIMETERS = 0.001
MAX_NUMBER = 1e9  # of pixels, of degrees, of lens coefficients
_DEPTH_NAMES = ("depth_file_path", "depth_path")
_PINHOLE = ("PINHOLE", "SIMPLE_PINHOLE", "OPENCV", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL")
_RADIAL, _TANGENTIAL = ("k1", "k2", "k3", "k4"), ("p1", "p2")


class NerfstudioRecording(Recording):
    """A ``transforms.json`` whose frames have ``file_path``, ``transform_matrix`` and ``depth_file_path``.

    Poses are camera-to-world with OpenGL axes (y up, z backward). Intrinsics are ``fl_x fl_y cx cy`` in pixels of
    ``w h``, or ``camera_angle_x``, for all frames or per frame. Depth is read as everywhere in this project (PNG in
    millimeters, ``.npy`` in meters), or multiplied by ``depth_unit_scale_factor`` if the file has it. Lens distortion
    (``k1 k2 k3 k4 p1 p2``) is removed from the images; fisheye and panoramic cameras are not supported. Black pixels of
    ``mask_path`` are not used.
    """

    kind = "transforms.json"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._shared = read_json(path, "cameras")
        with reading(path, "cameras"):
            self._open(path, options)

    def _open(self, path: Path, options: ReadOptions) -> None:
        frames = self._shared.get("frames") if isinstance(self._shared, dict) else None
        if not isinstance(frames, list) or not all(isinstance(f, dict) and "file_path" in f for f in frames):
            raise DataError(f"{path}: expected JSON with frames, each with a file_path, got none")
        model = str(self._shared.get("camera_model", "OPENCV")).upper()
        if model not in _PINHOLE:
            raise DataError(f"{path}: camera_model: expected one of {', '.join(_PINHOLE)}, got {model}")
        if frames and not any(_depth_path(frame) for frame in frames):
            raise DataError(f"{path}: expected frames with depth_file_path, got none; a COLMAP model beside it can be "
                            "read instead: pass its folder")  # fmt: skip
        self._frames = sorted(frames, key=lambda frame: natural_key(str(frame["file_path"])))
        super().__init__(path, [str(frame["file_path"]) for frame in self._frames], options)
        lens = self._distortion(self._frames[0])
        if lens is not None and options.intrinsics is None:
            self.notes.append(f"{path}: lens distortion is removed from the images")

    def _value(self, frame: dict[str, Any], name: str) -> float | None:
        """A number of a frame, or else of all frames; None if there is none."""
        value = frame.get(name, self._shared.get(name))
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MAX_NUMBER:
            raise DataError(f"{name}: expected a number, got {str(value)[:60]}")
        return float(value)

    def _distortion(self, frame: dict[str, Any]) -> Distortion | None:
        radial = tuple(self._value(frame, name) or 0.0 for name in _RADIAL)
        tangential = [self._value(frame, name) or 0.0 for name in _TANGENTIAL]
        lens = Distortion(radial, (tangential[0], tangential[1]))
        return None if lens.is_zero else lens

    def _read(self, number: int) -> SourceFrame:
        frame = self._frames[number]
        depth_name = _depth_path(frame)
        if depth_name is None:
            raise DataError("expected depth_file_path, got none")
        image = read_pixels(self._find(str(frame["file_path"])))
        mask = frame.get("mask_path")
        given = self._given_intrinsics(image_size(image))
        return SourceFrame(
            image,
            self._find_intrinsics(frame, image_size(image)) if given is None else given,
            _read_pose(frame),
            self._read_depth(frame, self.path.parent / depth_name),
            exclude=None if mask is None else ~read_mask(self.path.parent / str(mask)),
            distortion=self._distortion(frame) if given is None else None,
        )

    def _find(self, name: str) -> Path:
        """The image of a frame; instant-ngp leaves out the suffix of PNG files."""
        path = self.path.parent / name
        return path if path.suffix or path.exists() else path.with_name(f"{path.name}.png")

    def _read_depth(self, frame: dict[str, Any], path: Path) -> Tensor:
        if self.options.depth_scale is not None:
            return read_depth(path, scale=self.options.depth_scale)
        depth = read_depth(path)
        scale = self._value(frame, "depth_unit_scale_factor")
        scale = self._value(frame, "integer_depth_scale") if scale is None else scale
        if scale is None:
            return depth
        return depth * (scale if path.suffix.lower() in (".npy", ".exr") else scale / MILLIMETERS)

    def _find_intrinsics(self, frame: dict[str, Any], size: tuple[int, int]) -> Tensor:
        values = {name: self._value(frame, name) for name in ("w", "h", "fl_x", "fl_y", "cx", "cy")}
        width, height = values["w"] or size[1], values["h"] or size[0]
        check_aspect("w, h", (round(height), round(width)), size)
        angles = [self._value(frame, name) for name in ("camera_angle_x", "camera_angle_y")]
        fx = values["fl_x"] or (width / 2 / math.tan(angles[0] / 2) if angles[0] else None)
        fy = values["fl_y"] or (height / 2 / math.tan(angles[1] / 2) if angles[1] else fx)
        if fx is None or fy is None:
            raise DataError("expected fl_x or camera_angle_x, got neither; --intrinsics FILE replaces them")
        half = 0.5 if self.has_integer_centers else 0.0
        cx = width / 2 if values["cx"] is None else values["cx"] + half
        cy = height / 2 if values["cy"] is None else values["cy"] + half
        k = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=torch.float64, device="cpu")
        k[0], k[1] = k[0] * (size[1] / width), k[1] * (size[0] / height)
        return k


def _depth_path(frame: dict[str, Any]) -> str | None:
    return next((str(frame[name]) for name in _DEPTH_NAMES if frame.get(name)), None)


def _read_pose(frame: dict[str, Any]) -> Tensor:
    """The pose of a frame with OpenCV axes."""
    try:
        values = np.array(frame["transform_matrix"], dtype=np.float64)
    except (KeyError, ValueError, TypeError, OverflowError):
        values = np.zeros(0)
    if values.shape not in ((4, 4), (3, 4)):
        raise DataError(f"transform_matrix: expected 4x4 numbers, got {values.shape}")
    pose = torch.eye(4, dtype=torch.float64, device="cpu")
    pose[: len(values)] = torch.from_numpy(values)
    pose[:3, 1:3] *= -1  # OpenGL has y up and z backward
    return pose
