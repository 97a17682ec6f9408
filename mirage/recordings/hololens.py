# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of posed RGB-D frames, such as the samples of DeepVideoMVS, read as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

from .frames import ReadOptions
from .posed_folder import PosedFolder


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
    """Read all frames of a folder at once. :func:`mirage.recordings.read_recording` reads them one at a time.

    Pixel centers have integer coordinates in such calibrations, so half a pixel is added to the principal point.

    Args:
        folder: folder with ``images/*.png``, ``depth/*.png`` (16 bit, millimeters), ``K.txt`` (3 x 3 intrinsics in
            pixels) and ``poses.txt`` (one row-major 4 x 4 camera-to-world pose per line, OpenCV axes).

    Returns:
        The frames, in the order of file names.

    Raises:
        DataError: a file is missing or damaged, or the numbers of images, depth maps and poses differ.
    """
    frames = list(PosedFolder(Path(folder), ReadOptions()))
    images, depth = torch.stack([frame.image for frame in frames]), torch.stack([frame.depth for frame in frames])
    return RgbdFrames(images, depth, Cameras.cat([frame.camera for frame in frames]))
