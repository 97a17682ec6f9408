# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings that COLMAP has reconstructed: a sparse model with images, and depth maps or sparse points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..cameras.colmap import cameras_of
from ..cameras.colmap_files import (
    ColmapCamera,
    ColmapImage,
    find_model,
    parameters,
    read_depth_map,
    read_model,
    read_points,
    scaled_intrinsics,
)
from ..cameras.intrinsics import UNIT
from ..errors import DataError
from ..io.files import read_depth
from ..io.listings import DEPTH_SUFFIXES, natural_key
from .distortion import Distortion
from .frames import ReadOptions, Recording, SourceFrame, check_aspect, image_size, read_pixels

DEPTH_FOLDERS = ("depth", "depths")


class ColmapRecording(Recording):
    """A folder with ``images/`` and a sparse model (``sparse/0/``, ``sparse/``, or in the folder itself).

    Depth maps are taken from ``depth/``, with the image's name and another suffix (PNG in millimeters, ``.npy`` in the
    unit of the model), or from COLMAP's ``stereo/depth_maps/``. Without any, the sparse points that an image shows give
    depth at their pixels; cells without such a point are not used. Lens distortion of SIMPLE_RADIAL, RADIAL, OPENCV and
    FULL_OPENCV cameras is removed from the images.
    """

    kind = "COLMAP"

    def __init__(self, folder: Path, options: ReadOptions) -> None:
        model_folder = find_model(folder)
        if model_folder is None:
            raise DataError(f"{folder}: expected a COLMAP model in sparse/0, got none")
        model = read_model(model_folder)
        self._cameras = model.cameras
        self._images = sorted(model.images, key=lambda image: natural_key(image.name))
        super().__init__(folder, [image.name for image in self._images], options)
        parents = [folder, *model_folder.resolve().parents[:3]]
        roots = [(parent / "images", parent) for parent in parents] + [(folder, folder)]
        root = next(((path, home) for path, home in roots if (path / self.names[0]).is_file()), roots[0])
        self._image_folder, self._root = root
        self._depths = [self._find_depth(name) for name in self.names]
        self._points: tuple[np.ndarray, np.ndarray] | None = None
        if not any(self._depths):
            if options.depth_scale is not None:
                got = "sparse points, whose unit is that of the poses"
                raise DataError(f"--depth-scale: expected depth maps in {folder}, got {got}")
            self._points = read_points(model_folder)
            count = round(float(np.median([len(image.points) for image in self._images])))
            self.notes.append(f"{folder}: no depth maps in depth/ or stereo/depth_maps/; only the cells with a sparse "
                              f"point are used (about {count} points per image)")  # fmt: skip
        if options.intrinsics is None and any(_is_distorted(camera) for camera in self._cameras.values()):
            self.notes.append(f"{folder}: lens distortion is removed from the images")

    def _find_depth(self, name: str) -> Path | None:
        for folder in DEPTH_FOLDERS:
            path = self._root / folder / name
            for candidate in (path, *(path.with_suffix(suffix) for suffix in DEPTH_SUFFIXES)):
                if candidate.is_file():
                    return candidate
        dense = self._root / "stereo" / "depth_maps"
        found = (dense / f"{name}.{kind}.bin" for kind in ("geometric", "photometric"))
        return next((path for path in found if path.is_file()), None)

    def _read(self, number: int) -> SourceFrame:
        entry, path = self._images[number], self._depths[number]
        if path is None and self._points is None:
            raise DataError("expected a depth map in depth/ or stereo/depth_maps/, got none")
        image = read_pixels(self._image_folder / entry.name)
        if entry.camera not in self._cameras:
            raise DataError(f"camera: expected one of the model's {len(self._cameras)} cameras, got {entry.camera}")
        camera, size = self._cameras[entry.camera], image_size(image)
        given = self._given_intrinsics(size)
        if given is None:
            k = scaled_intrinsics(camera, size, integer_centers=self.has_integer_centers)
            check_aspect("camera", camera.size, size)
            lens = _distortion(parameters(camera)[1])
        else:
            k, lens = given, None
        depth = None if path is None else self._read_depth(path)
        xyz = self._points_of(entry) if path is None else None
        return SourceFrame(image, k, cameras_of([entry], UNIT, (1, 1)), depth, xyz, distortion=lens)

    def _read_depth(self, path: Path) -> Tensor:
        scale = self.options.depth_scale
        return read_depth_map(path) * (scale or 1.0) if path.suffix == ".bin" else read_depth(path, scale=scale)

    def _points_of(self, entry: ColmapImage) -> Tensor:
        assert self._points is not None
        numbers, xyz = self._points
        if not len(numbers):
            return torch.zeros(0, 3, dtype=torch.float32, device="cpu")
        at = np.searchsorted(numbers, entry.points).clip(max=len(numbers) - 1)
        return torch.from_numpy(xyz[at[numbers[at] == entry.points]])


def _distortion(values: tuple[float, ...]) -> Distortion | None:
    k1, k2, p1, p2, k3, k4, k5, k6 = values
    lens = Distortion((k1, k2, k3), (p1, p2), (k4, k5, k6))
    return None if lens.is_zero else lens


def _is_distorted(camera: ColmapCamera) -> bool:
    try:
        return _distortion(parameters(camera)[1]) is not None
    except DataError:  # of another model: an error when a frame of it is read
        return False
