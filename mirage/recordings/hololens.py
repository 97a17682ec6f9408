# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of posed RGB-D frames in the layout of the DeepVideoMVS samples, recorded with a HoloLens."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..errors import DataError
from ..io.files import read_depth, read_image, read_matrix


class RgbdFrames(NamedTuple):
    """T recorded frames.

    Attributes:
        images: (T, 3, H, W) float32, values 0 to 1.
        depth: (T, H, W) float32 z-depth in meters, 0 where invalid.
        cameras: T cameras over (H, W).
    """

    images: Tensor
    depth: Tensor
    cameras: Cameras


def read_rgbd(folder: str | Path) -> RgbdFrames:
    """Read a folder of posed RGB-D frames.

    Pixel centers have integer coordinates in such calibrations, so half a pixel is added to the principal point.

    Args:
        folder: folder with ``images/*.png``, ``depth/*.png`` (16 bit, millimeters), ``K.txt`` (3 x 3 intrinsics in
            pixels) and ``poses.txt`` (one row-major 4 x 4 camera-to-world pose per line, OpenCV axes).

    Returns:
        The frames, in the order of file names.

    Raises:
        DataError: a file is missing or damaged, or the numbers of images, depth maps and poses differ.
    """
    folder = Path(folder)
    image_paths, depth_paths = sorted(folder.glob("images/*.png")), sorted(folder.glob("depth/*.png"))
    poses = read_matrix(folder / "poses.txt", 16).reshape(-1, 4, 4)
    if not len(image_paths) == len(depth_paths) == len(poses):
        counts = f"{len(image_paths)} images, {len(depth_paths)} depth maps and {len(poses)} poses"
        raise DataError(f"{folder}: expected equal numbers of images, depth maps and poses, got {counts}")
    images = torch.stack([read_image(path) for path in image_paths])
    depth = torch.stack([read_depth(path) for path in depth_paths])
    intrinsics = read_matrix(folder / "K.txt", 3)
    intrinsics[:2, 2] += 0.5
    return RgbdFrames(
        images, depth, Cameras(intrinsics.expand(len(poses), 3, 3), poses, (depth.shape[1], depth.shape[2]))
    )
