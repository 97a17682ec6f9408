# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings in a ``transforms.json``, as nerfstudio, instant-ngp and many capture apps write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from mirage_kernels import Cameras

from ..cameras.intrinsics import UNIT
from ..cameras.nerfstudio import opengl_pose, read_transforms
from ..errors import DataError, reading
from ..io.files import read_depth, read_mask
from ..io.listings import natural_key
from .distortion import Distortion
from .frames import ReadOptions, Recording, SourceFrame, check_aspect, image_size, read_pixels

MILLIMETERS = 0.001
_DEPTH_NAMES = ("depth_file_path", "depth_path")
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
        self._transforms = read_transforms(path)
        with reading(path, "cameras"):
            self._open(path, options)

    def _open(self, path: Path, options: ReadOptions) -> None:
        frames = self._transforms.frames
        if frames and not any(_depth_path(frame) for frame in frames):
            raise DataError(f"{path}: expected frames with depth_file_path, got none; a COLMAP model beside it can be "
                            "read instead: pass its folder")  # fmt: skip
        self._frames = sorted(frames, key=lambda frame: natural_key(str(frame["file_path"])))
        super().__init__(path, [str(frame["file_path"]) for frame in self._frames], options)
        lens = self._distortion(self._frames[0])
        if lens is not None and options.intrinsics is None:
            self.notes.append(f"{path}: lens distortion is removed from the images")

    def _distortion(self, frame: dict[str, Any]) -> Distortion | None:
        radial = tuple(self._transforms.value(frame, name) or 0.0 for name in _RADIAL)
        tangential = [self._transforms.value(frame, name) or 0.0 for name in _TANGENTIAL]
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
            Cameras.from_opengl(UNIT, opengl_pose(frame), (1, 1)),
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
        scale = self._transforms.value(frame, "depth_unit_scale_factor")
        scale = self._transforms.value(frame, "integer_depth_scale") if scale is None else scale
        if scale is None:
            return depth
        return depth * (scale if path.suffix.lower() in (".npy", ".exr") else scale / MILLIMETERS)

    def _find_intrinsics(self, frame: dict[str, Any], size: tuple[int, int]) -> Tensor:
        height, width = self._transforms.image_size(frame, size)
        check_aspect("w, h", (round(height), round(width)), size)
        return self._transforms.intrinsics(frame, size, integer_centers=self.has_integer_centers)


def _depth_path(frame: dict[str, Any]) -> str | None:
    return next((str(frame[name]) for name in _DEPTH_NAMES if frame.get(name)), None)
