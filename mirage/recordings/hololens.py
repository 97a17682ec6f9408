# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Folders of posed RGB-D frames."""

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
        images: (T, 3, H, W) float32, 0 to 1.
        depth: (T, H, W) float32 metres, 0 where there is none.
        cameras: T cameras over (H, W).
    """

    images: Tensor
    depth: Tensor
    cameras: Cameras


def read_rgbd(folder: str | Path) -> RgbdFrames:
    """Read ``images/*.png``, ``depth/*.png`` (16 bit, millimetres), ``K.txt`` (3 x 3) and ``poses.txt`` (one row-major
    camera-to-world 4 x 4 a line, OpenCV axes), the layout of the DeepVideoMVS samples.

    Such calibrations put pixel centres on integers; half a pixel is added to the principal point here.
    """
    folder = Path(folder)
    pictures, maps = sorted(folder.glob("images/*.png")), sorted(folder.glob("depth/*.png"))
    poses = read_matrix(folder / "poses.txt", 16).reshape(-1, 4, 4)
    if not len(pictures) == len(maps) == len(poses):
        counts = f"{len(pictures)}, {len(maps)} and {len(poses)}"
        raise DataError(f"{folder}: expected as many images as depth maps and poses, got {counts}")
    images = torch.stack([read_image(p) for p in pictures])
    depth = torch.stack([read_depth(p) for p in maps])
    intrinsics = read_matrix(folder / "K.txt", 3)
    intrinsics[:2, 2] += 0.5
    return RgbdFrames(
        images, depth, Cameras(intrinsics.expand(len(poses), 3, 3), poses, (depth.shape[1], depth.shape[2]))
    )
