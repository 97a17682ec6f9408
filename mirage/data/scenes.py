# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes that a rollout can start from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras

from ..errors import DataError


class Scene(NamedTuple):
    """An image with depth, key frames of a camera path, and real images at some of them.

    Attributes:
        image: (3, H, W) float32, values 0 to 1.
        depth: (H, W) float32 z-depth in meters, 0 where invalid.
        keys: cameras of the key frames over (H, W); the first is the image's.
        real: real images by name, each with the number of its key frame: (number, (3, H, W)).
        exclude: (H, W) bool, True where the image must not be written to the memory; None for nowhere.
        depth_from_memory: whether the depth was rendered from the memory, rather than given, estimated or guessed.
    """

    image: Tensor
    depth: Tensor
    keys: Cameras
    real: dict[str, tuple[int, Tensor]]
    exclude: Tensor | None = None
    depth_from_memory: bool = False

    def trim(self, step: int) -> Scene:
        """Crop the right and lower edges so that H and W are multiples of ``step`` pixels.

        Raises:
            DataError: the image is smaller than ``step``.
        """
        h, w = (side // step * step for side in self.depth.shape)
        if not h or not w:
            raise DataError(f"image: expected at least {step}x{step} pixels, got {tuple(self.depth.shape)}")
        return self.crop(0, 0, (h, w))

    def crop(self, top: int, left: int, size: tuple[int, int]) -> Scene:
        """Cut out a window.

        Args:
            top, left: row and column of its first pixel.
            size: (H, W) of the window, inside the image.
        """
        rows, columns = slice(top, top + size[0]), slice(left, left + size[1])
        return self._replace(
            image=self.image[:, rows, columns],
            depth=self.depth[rows, columns],
            keys=self.keys.crop(top, left, size),
            real={name: (key, image[:, rows, columns]) for name, (key, image) in self.real.items()},
            exclude=None if self.exclude is None else self.exclude[rows, columns],
        )

    def pad(self, size: tuple[int, int]) -> Scene:
        """Extend the scene on all sides by repeating the pixels at its edges, without depth.

        The added pixels are excluded from the memory.

        Args:
            size: (H, W) of the result, at least that of the scene, which is put into the middle.
        """
        height, width = self.depth.shape
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        sides = (left, size[1] - width - left, top, size[0] - height - top)

        def extend(image: Tensor) -> Tensor:
            return nnf.pad(image[None], sides, mode="replicate")[0]

        exclude = torch.zeros(height, width, dtype=torch.bool, device="cpu") if self.exclude is None else self.exclude
        return self._replace(
            image=extend(self.image),
            depth=nnf.pad(self.depth, sides),
            keys=self.keys.crop(-top, -left, size),
            real={name: (key, extend(image)) for name, (key, image) in self.real.items()},
            exclude=nnf.pad(exclude, sides, value=True),
        )

    def rescale(self, size: tuple[int, int]) -> Scene:
        """Resize the scene.

        Images are resized bilinearly with antialiasing, depth with nearest-neighbor sampling. A pixel is excluded if it
        covers any excluded pixel.

        Args:
            size: (H, W) of the result.

        Returns:
            The resized scene.
        """

        def scale(image: Tensor) -> Tensor:
            return nnf.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)

        if tuple(self.depth.shape) == size:
            return self
        return self._replace(
            image=scale(self.image),
            depth=nnf.interpolate(self.depth[None, None], size, mode="nearest-exact")[0, 0],
            keys=self.keys.rescale(size),
            real={name: (key, scale(image)) for name, (key, image) in self.real.items()},
            exclude=None if self.exclude is None else resize_mask(self.exclude, size),
        )


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a mask (H, W); a pixel of the result is True if it covers any True pixel."""
    return nnf.adaptive_max_pool2d(mask[None].float(), size)[0] > 0


def motorcycle() -> Scene:
    """Load the motorcycle of the Middlebury 2014 stereo dataset (Scharstein et al. 2014) from scikit-image.

    The key frames are the left and the right camera. The calibration is documented by scikit-image: focal length
    994.978 px, principal point (311.193, 254.877) px, that of the right camera 31.086 px further right, and baseline
    193.001 mm. Its pixel centers have integer coordinates, so half a pixel is added.

    Returns:
        The scene of 500 x 741 pixels; the right camera's image is ``real["right"]``.

    Raises:
        DataError: scikit-image is not installed.
    """
    try:
        from skimage.data import stereo_motorcycle
    except ImportError:
        raise DataError("scene motorcycle needs scikit-image: pip install 'mirage-kernels[scenes]'") from None
    left, right, disparity = stereo_motorcycle()  # type: ignore[no-untyped-call]
    focal, baseline, offset = 994.978, 0.193001, 31.086
    valid = np.isfinite(disparity)
    depth = np.where(valid, focal * baseline / (np.where(valid, disparity, 0) + offset), 0).astype(np.float32)
    intrinsics = torch.tensor(
        [[focal, 0, 311.193 + 0.5], [0, focal, 254.877 + 0.5], [0, 0, 1]], dtype=torch.float64, device="cpu"
    )
    intrinsics = intrinsics.repeat(2, 1, 1)
    intrinsics[1, 0, 2] += offset
    poses = torch.eye(4, dtype=torch.float64, device="cpu").repeat(2, 1, 1)
    poses[1, 0, 3] = baseline
    size = (depth.shape[0], depth.shape[1])
    image, right_image = (torch.from_numpy(pixels.copy()).movedim(2, 0).float() / 255 for pixels in (left, right))
    return Scene(image, torch.from_numpy(depth), Cameras(intrinsics, poses, size), {"right": (1, right_image)})


SCENES = {"motorcycle": motorcycle}
