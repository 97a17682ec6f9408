# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras of COLMAP's sparse models."""

from __future__ import annotations

from pathlib import Path

import torch

from mirage_kernels import Cameras, check

from ..errors import DataError
from ..io.listings import natural_key
from .colmap_files import ColmapImage, find_model, read_model, scaled_intrinsics


def read_colmap(path: str | Path, size: tuple[int, int], *, integer_centers: bool = False) -> Cameras:
    """Read the cameras of a sparse model of COLMAP, text or binary, in the natural order of the images' names.

    Args:
        path: a folder with ``cameras`` and ``images``, as ``.bin`` or ``.txt``, or with ``sparse/0`` or ``sparse``; or
            the file ``images.bin`` or ``images.txt`` itself.
        size: size (H, W) of the images; intrinsics of another size are rescaled. Lens distortion is left out: the
            cameras are those of undistorted images.
        integer_centers: whether pixel centers have integer coordinates. COLMAP's lie at +0.5.

    Returns:
        Cameras over (H, W). Their ``world2cam`` is that of the model.

    Raises:
        DataError: there is no model, it is damaged or has no images, or a camera has no image plane (fisheye).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "cameras.txt").write_text("1 PINHOLE 128 96 64 64 64 48")
        ...     _ = (Path(folder) / "images.txt").write_text("1 1 0 0 0 0 0 2 1 a.png")
        ...     cameras = read_colmap(folder, size=(48, 64))
        >>> cameras.centers[0, 2].item(), cameras.intrinsics[0, 0].tolist()
        (-2.0, [32.0, 0.0, 32.0])
    """
    path, size = Path(path), check.size("size", size)
    model = read_model((find_model(path) or path) if path.is_dir() else path)
    images = sorted(model.images, key=lambda image: natural_key(image.name))
    if not images:
        raise DataError(f"{path}: expected a COLMAP model with images, got none")
    try:
        if missing := {image.camera for image in images} - set(model.cameras):
            raise DataError(f"camera: expected one of the model's {len(model.cameras)} cameras, got {min(missing)}")
        scaled = {
            number: scaled_intrinsics(model.cameras[number], size, integer_centers=integer_centers)
            for number in {image.camera for image in images}
        }
        return cameras_of(images, torch.stack([scaled[image.camera] for image in images]), size)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def cameras_of(images: list[ColmapImage], intrinsics: object, size: tuple[int, int]) -> Cameras:
    """Make the cameras of images, with any intrinsics that :class:`mirage_kernels.Cameras` takes.

    Raises:
        ValueError: a pose or the intrinsics are not valid.
    """
    poses = torch.tensor([image.pose for image in images], dtype=torch.float64, device="cpu")
    return Cameras.from_quaternion(intrinsics, poses[:, :4], poses[:, 4:], size, order="wxyz", pose="world2cam")
