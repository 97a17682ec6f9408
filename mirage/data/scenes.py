# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Scenes to start from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras

from ..errors import DataError


class Scene(NamedTuple):
    """A picture with depth, a path of key frames, and what real cameras saw at some of them.

    Attributes:
        image: (3, H, W), 0 to 1.
        depth: (H, W) float32 metres, 0 where there is none.
        keys: key frames over (H, W); the first is the image's camera.
        real: what real cameras saw, by name: the number of the key frame, and the picture (3, H, W).
        exclude: (H, W) bool, True where the picture must not be remembered; None for nowhere.
    """

    image: Tensor
    depth: Tensor
    keys: Cameras
    real: dict[str, tuple[int, Tensor]]
    exclude: Tensor | None = None

    def trim(self, step: int) -> Scene:
        """Cut the right and lower edges so that H and W are multiples of ``step``."""
        h, w = (side // step * step for side in self.depth.shape)
        if not h or not w:
            raise DataError(f"image: expected at least {step}x{step} pixels, got {tuple(self.depth.shape)}")
        return Scene(
            self.image[:, :h, :w],
            self.depth[:h, :w],
            self.keys.crop(0, 0, (h, w)),
            {name: (key, picture[:, :h, :w]) for name, (key, picture) in self.real.items()},
            None if self.exclude is None else self.exclude[:h, :w],
        )

    def rescale(self, size: tuple[int, int]) -> Scene:
        """Scaled to ``size`` (H, W). Depths are picked, never mixed: a mean of near and far is a surface that is not
        there. A pixel is excluded that has an excluded one under it."""

        def scale(picture: Tensor) -> Tensor:
            return nnf.interpolate(picture[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)

        return Scene(
            scale(self.image),
            nnf.interpolate(self.depth[None, None], size, mode="nearest-exact")[0, 0],
            self.keys.rescale(size),
            {name: (key, scale(picture)) for name, (key, picture) in self.real.items()},
            None if self.exclude is None else nnf.adaptive_max_pool2d(self.exclude[None].float(), size)[0] > 0,
        )


def motorcycle() -> Scene:
    """The motorcycle of the Middlebury 2014 stereo data (Scharstein et al. 2014), as scikit-image carries it.

    Key frames are the left and the right camera. The calibration is that of scikit-image's docstring: focal length
    994.978 px, principal point (311.193, 254.877), the right one 31.086 px further right, baseline 193.001 mm. Its
    pixel centres lie on integers, so half a pixel is added.
    """
    try:
        from skimage.data import stereo_motorcycle
    except ImportError:
        raise DataError("scene motorcycle: needs scikit-image (pip install 'mirage-kernels[scenes]')") from None
    left, right, disparity = stereo_motorcycle()  # type: ignore[no-untyped-call]
    focal, baseline, offset = 994.978, 0.193001, 31.086
    known = np.isfinite(disparity)
    depth = np.where(known, focal * baseline / (np.where(known, disparity, 0) + offset), 0).astype(np.float32)
    intrinsics = torch.tensor([[focal, 0, 311.193 + 0.5], [0, focal, 254.877 + 0.5], [0, 0, 1]], dtype=torch.float64)
    intrinsics = intrinsics.repeat(2, 1, 1)
    intrinsics[1, 0, 2] += offset
    poses = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    poses[1, 0, 3] = baseline
    size = (depth.shape[0], depth.shape[1])
    image, seen = (torch.from_numpy(picture.copy()).movedim(2, 0).float() / 255 for picture in (left, right))
    return Scene(image, torch.from_numpy(depth), Cameras(intrinsics, poses, size), {"right": (1, seen)})


SCENES = {"motorcycle": motorcycle}
