# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Folders with an image, a depth map and a pose per frame, such as the samples of DeepVideoMVS and slambook2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from mirage_kernels import Cameras

from ..cameras.intrinsics import UNIT, pinhole_intrinsics, read_intrinsics, scale_intrinsics
from ..cameras.tum import cameras_of
from ..errors import DataError
from ..io.files import read_depth
from ..io.listings import DEPTH_SUFFIXES, IMAGE_SUFFIXES, list_files, natural_key, read_numbers, read_rows
from .frames import ReadOptions, Recording, SourceFrame, image_size, read_pixels

IMAGE_FOLDERS = ("images", "color", "rgb")
DEPTH_FOLDERS = ("depth", "depths")
POSE_FILES = ("poses.txt", "pose.txt")
INTRINSICS_FILES = ("K.txt", "intrinsics.txt")
# The calibration in the book's code, which its folder lacks.
SLAMBOOK_SIZE, SLAMBOOK_INTRINSICS = (480, 640), (518.0, 519.0, 325.5, 253.5)


def find(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The first of several names that exists in a folder."""
    return next((folder / name for name in names if (folder / name).exists()), None)


class PosedFolder(Recording):
    """A folder with images, depth maps and camera poses.

    ``images/`` (or ``color/``, ``rgb/``); ``depth/`` with 16-bit PNG or PGM in millimeters, or ``.npy`` or ``.exr`` in
    meters; ``poses.txt`` (or ``pose.txt``), one camera-to-world pose with OpenCV axes per line: 16 or 12 numbers of a
    row-major matrix, or ``tx ty tz qx qy qz qw``; ``K.txt`` (or ``intrinsics.txt``). Images and depth maps belong
    together by their names without suffix, or, if no name is in both folders, by their order.
    """

    kind = "images, depth and poses"
    integer_centers = True

    def __init__(self, folder: Path, options: ReadOptions) -> None:
        image_folder, depth_folder = find(folder, IMAGE_FOLDERS), find(folder, DEPTH_FOLDERS)
        poses = find(folder, POSE_FILES)
        missing = {"images/": image_folder, "depth/": depth_folder, "poses.txt": poses}
        if image_folder is None or depth_folder is None or poses is None:
            names = " and ".join(name for name, path in missing.items() if path is None)
            raise DataError(f"{folder}: expected images/, depth/ and poses.txt, got no {names}")
        images, depths = list_files(image_folder, IMAGE_SUFFIXES), list_files(depth_folder, DEPTH_SUFFIXES)
        self._pairs = _pair(folder, images, depths)
        self._poses, self._poses_file = read_rows(poses, "a pose per line"), poses
        if len(self._poses) != len(self._pairs):
            counts = f"{len(images)} images, {len(depths)} depth maps and {len(self._poses)} poses"
            raise DataError(f"{folder}: expected equal numbers of images, depth maps and poses, got {counts}")
        self._intrinsics = find(folder, INTRINSICS_FILES)
        self._is_slambook = image_folder.name == "color" and poses.name == "pose.txt"
        if self._intrinsics is None and options.intrinsics is None and not self._is_slambook:
            raise DataError(f"{folder}: expected K.txt in the folder, or --intrinsics, got neither")
        super().__init__(folder, [name for name, _, _ in self._pairs], options)
        if self._intrinsics is None and options.intrinsics is None:
            numbers = " ".join(f"{value:g}" for value in SLAMBOOK_INTRINSICS)
            self.notes.append(f"{folder}: no K.txt; using the intrinsics of slambook2, {numbers}")

    def _read(self, number: int) -> SourceFrame:
        name, image_path, depth_path = self._pairs[number]
        if image_path is None or depth_path is None:
            raise DataError(f"{name}: expected an image and a depth map, got only one of them")
        image = read_pixels(image_path)
        line, words = self._poses[number]
        pose = read_pose(read_numbers(self._poses_file, line, words))
        depth = read_depth(depth_path, scale=self.options.depth_scale)
        return SourceFrame(image, self._find_intrinsics(image_size(image)), pose, depth)

    def _find_intrinsics(self, size: tuple[int, int]) -> Tensor:
        given = self._given_intrinsics(size)
        if given is not None:
            return given
        if self._intrinsics is not None:
            return read_intrinsics(self._intrinsics, size, integer_centers=self.has_integer_centers)
        return fixed_intrinsics(SLAMBOOK_INTRINSICS, SLAMBOOK_SIZE, size, self.has_integer_centers)


def fixed_intrinsics(
    numbers: tuple[float, float, float, float], expected: tuple[int, int], size: tuple[int, int], integer_centers: bool
) -> Tensor:
    """Intrinsics (3, 3) of a known camera, from fx, fy, cx and cy.

    Raises:
        DataError: the images have another size than the camera's.
    """
    if size != expected:
        known = f"{expected[1]}x{expected[0]}"
        raise DataError(f"--intrinsics: expected a file, because the known ones are for {known}, got none")
    return scale_intrinsics(pinhole_intrinsics(*numbers), expected, size, integer_centers=integer_centers)


def read_pose(numbers: Sequence[float]) -> Cameras:
    """Make a camera over (1, 1) from the numbers of its camera-to-world pose.

    Args:
        numbers: 16 or 12 numbers of a matrix in row-major order, or 7 numbers tx ty tz qx qy qz qw.

    Raises:
        ValueError: there is another number of numbers, or they are not a pose.
    """
    if len(numbers) == 7:
        return cameras_of([list(numbers)])
    if len(numbers) not in (12, 16):
        raise DataError(f"pose: expected 16, 12 or 7 numbers, got {len(numbers)}")
    return Cameras(UNIT, np.reshape(numbers, (-1, 4)), (1, 1))


def _pair(folder: Path, images: list[Path], depths: list[Path]) -> list[tuple[str, Path | None, Path | None]]:
    """Name, image and depth map of each frame; None for one that is missing."""
    by_stem = {path.stem: path for path in depths}
    if {path.stem for path in images} & set(by_stem):
        image_of = {path.stem: path for path in images}
        stems = sorted({*image_of, *by_stem}, key=natural_key)
        return [((image_of.get(s) or by_stem[s]).name, image_of.get(s), by_stem.get(s)) for s in stems]
    if len(images) != len(depths):
        counts = f"{len(images)} images and {len(depths)} depth maps"
        raise DataError(f"{folder}: expected a depth map for each image, with the same name, got {counts}")
    return [(image.name, image, depth) for image, depth in zip(images, depths, strict=True)]
