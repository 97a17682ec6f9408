# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of COLMAP's sparse models, text and binary, and its dense depth maps."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, reading
from ..io.files import read_text
from .intrinsics import pinhole_intrinsics, scale_intrinsics

# Model: number in binary files, and number of parameters. Only these have an image plane.
_MODELS = {
    "SIMPLE_PINHOLE": (0, 3),
    "PINHOLE": (1, 4),
    "SIMPLE_RADIAL": (2, 4),
    "RADIAL": (3, 5),
    "OPENCV": (4, 8),
    "FULL_OPENCV": (6, 12),
}
# Parameters of the other models, to skip them in binary files.
_OTHER_MODELS = {5: 8, 7: 5, 8: 4, 9: 5, 10: 12, 11: 16, 12: 4, 13: 5}
MAX_NAME = 4096
MAX_BYTES = 4 << 30  # of a binary file
IMAGE_FILES = ("images.bin", "images.txt")


class ColmapCamera(NamedTuple):
    """A camera: its model, the size (H, W) of its images, and its parameters in COLMAP's order."""

    model: str
    size: tuple[int, int]
    values: tuple[float, ...]


class ColmapImage(NamedTuple):
    """An image: its file name, world-to-camera pose (qw qx qy qz tx ty tz), camera, and the points that it shows."""

    name: str
    pose: tuple[float, ...]
    camera: int
    points: np.ndarray


class ColmapModel(NamedTuple):
    """A sparse model.

    Attributes:
        cameras: by number.
        images: in no particular order.
    """

    cameras: dict[int, ColmapCamera]
    images: list[ColmapImage]


def find_model(folder: Path) -> Path | None:
    """The folder of the sparse model in the folder of a reconstruction; None if there is none."""
    for name in ("sparse/0", "sparse", ".", "colmap/sparse/0"):
        for suffix in (".bin", ".txt"):
            if all((folder / name / f"{part}{suffix}").is_file() for part in ("cameras", "images")):
                return folder / name
    return None


def read_model(path: Path) -> ColmapModel:
    """Read cameras and images of a sparse model.

    Args:
        path: a folder with ``cameras`` and ``images``, as ``.bin`` or ``.txt``, where binary files take precedence; or
            its file ``images.bin`` or ``images.txt``, beside which ``cameras`` has the same suffix.

    Raises:
        DataError: a file is missing or damaged.
    """
    if path.is_dir():
        path = path / IMAGE_FILES[0 if (path / IMAGE_FILES[0]).is_file() else 1]
    binary, cameras_path = path.suffix == ".bin", path.with_name(f"cameras{path.suffix}")
    with reading(cameras_path, "a COLMAP model"):
        cameras = _binary_cameras(cameras_path) if binary else _text_cameras(cameras_path)
    with reading(path, "a COLMAP model"):
        return ColmapModel(cameras, _binary_images(path) if binary else _text_images(path))


def read_points(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the points of a sparse model.

    Returns:
        (N,) int64 numbers in ascending order, and (N, 3) float64 positions.

    Raises:
        DataError: the file is missing or damaged.
    """
    binary = (folder / "points3D.bin").is_file()
    path = folder / ("points3D.bin" if binary else "points3D.txt")
    with reading(path, "points of a COLMAP model"):
        if binary:
            rows = _binary_points(path)
        else:
            lines = [line.split() for line in read_text(path, "points").splitlines() if line.strip()[:1] not in "#"]
            rows = [(int(words[0]), float(words[1]), float(words[2]), float(words[3])) for words in lines]
        rows.sort()
        table = np.array(rows, dtype=np.float64).reshape(-1, 4)
        return np.array([row[0] for row in rows], dtype=np.int64), table[:, 1:]


def read_depth_map(path: Path) -> Tensor:
    """Read a dense depth map of COLMAP (``stereo/depth_maps/NAME.geometric.bin``).

    Returns:
        (H, W) float32, in the unit of the model.

    Raises:
        DataError: the file is missing or damaged.
    """
    with reading(path, "a depth map of COLMAP"):
        data = _read_bytes(path)
        header = data[:64].split(b"&")
        width, height, channels = (int(part) for part in header[:3])
        if min(width, height, channels) < 1:
            raise ValueError(f"{width} x {height} pixels with {channels} channels")
        start = sum(len(part) + 1 for part in header[:3])
        values = np.frombuffer(data, np.float32, width * height * channels, start)
        return torch.from_numpy(values.reshape(channels, height, width)[0].copy())


def _read_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: expected a file of at most {MAX_BYTES >> 30} GiB, got {size / 2**30:.3g} GiB")
        return file.read(size)


class _Reader:
    """Reads numbers from the bytes of a file."""

    def __init__(self, path: Path) -> None:
        self.data, self.at = _read_bytes(path), 0

    def take(self, layout: str) -> tuple[float, ...]:
        values = struct.unpack_from(f"<{layout}", self.data, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return values

    def count(self) -> int:
        return int(self.take("Q")[0])

    def skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self.data):
            raise ValueError("the file ends early")


def _binary_cameras(path: Path) -> dict[int, ColmapCamera]:
    reader, cameras = _Reader(path), {}
    names = {number: (name, count) for name, (number, count) in _MODELS.items()}
    for _ in range(reader.count()):
        key, model, width, height = reader.take("iiQQ")
        name, count = names.get(int(model), (f"number {int(model)}", _OTHER_MODELS.get(int(model), -1)))
        if count < 0:
            raise ValueError(f"camera model {int(model)} is unknown")
        cameras[int(key)] = ColmapCamera(name, (int(height), int(width)), reader.take(f"{count}d"))
    return cameras


def _binary_images(path: Path) -> list[ColmapImage]:
    reader, images = _Reader(path), []
    for _ in range(reader.count()):
        values = reader.take("i7di")
        end = reader.data.index(b"\0", reader.at, reader.at + MAX_NAME)
        name = reader.data[reader.at : end].decode()
        reader.at = end + 1
        count = reader.count()
        start = reader.at
        reader.skip(24 * count)
        points = np.frombuffer(reader.data, [("uv", "<f8", 2), ("point", "<i8")], count, start)["point"]
        images.append(ColmapImage(name, values[1:8], int(values[8]), points[points >= 0].copy()))
    return images


def _binary_points(path: Path) -> list[tuple[int, float, float, float]]:
    reader, rows = _Reader(path), []
    for _ in range(reader.count()):
        key, x, y, z = reader.take("Q3d")
        reader.skip(3 + 8)
        reader.skip(8 * reader.count())
        rows.append((int(key), x, y, z))
    return rows


def _text_cameras(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    for line in read_text(path, "cameras").splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            size = (int(words[3]), int(words[2]))
            cameras[int(words[0])] = ColmapCamera(words[1], size, tuple(float(word) for word in words[4:]))
    return cameras


def _text_images(path: Path) -> list[ColmapImage]:
    """Two lines per image; the second one, of the points, may be blank."""
    lines = [line for line in read_text(path, "images").splitlines() if not line.lstrip().startswith("#")]
    images, at = [], 0
    while at < len(lines):
        words = lines[at].split(maxsplit=9)
        if not words:
            at += 1
            continue
        shown = lines[at + 1].split() if at + 1 < len(lines) else []
        if len(shown) % 3:
            raise ValueError(f"image {words[0]}: the line after its pose is neither blank nor points, u v number each")
        points = np.array([int(number) for number in shown[2::3]], dtype=np.int64)
        pose = tuple(float(word) for word in words[1:8])
        images.append(ColmapImage(words[9], pose, int(words[8]), points[points >= 0]))
        at += 2
    return images


def parameters(camera: ColmapCamera) -> tuple[Tensor, tuple[float, ...]]:
    """Intrinsics (3, 3) float64 of a camera, and its distortion k1, k2, p1, p2, k3, k4, k5, k6.

    Raises:
        DataError: the model is not supported, or has another number of parameters.
    """
    if camera.model not in _MODELS:
        raise DataError(f"camera: expected a model among {', '.join(_MODELS)}, got {camera.model}; undistort the "
                        "images with colmap image_undistorter")  # fmt: skip
    count = _MODELS[camera.model][1]
    if len(camera.values) != count:
        raise DataError(f"camera: expected {count} parameters of {camera.model}, got {len(camera.values)}")
    values = camera.values
    if camera.model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
        values = (values[0], *values)
    fx, fy, cx, cy, *distortion = values
    return pinhole_intrinsics(fx, fy, cx, cy), (*distortion, *(8 - len(distortion)) * (0.0,))


def scaled_intrinsics(camera: ColmapCamera, size: tuple[int, int], *, integer_centers: bool = False) -> Tensor:
    """Intrinsics (3, 3) float64 of a camera, in pixels of ``size`` (H, W).

    Raises:
        DataError: as :func:`parameters`, or its images have no pixels.
    """
    k, _ = parameters(camera)
    if min(camera.size) < 1:
        raise DataError(f"camera: expected images of at least one pixel, got size {camera.size}")
    return scale_intrinsics(k, camera.size, size, integer_centers=integer_centers)
