# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Image processors of Depth Pro and ZoeDepth, in torch alone: those of transformers need torchvision.

They are called as the ones of transformers, and their results are equal to rounding.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as nnf

if TYPE_CHECKING:
    import numpy as np

    Images = list[np.ndarray[Any, np.dtype[np.uint8]]]

MODES = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}  # by Pillow's number


@dataclass(frozen=True)
class ImageProcessor:
    """Converts images to pixel values. The fields are those of a ``preprocessor_config.json``."""

    align_corners: ClassVar[bool] = False
    size: dict[str, int]
    do_resize: bool = True
    resample: int = 2
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    image_std: tuple[float, ...] = (0.5, 0.5, 0.5)

    @classmethod
    def load(cls, folder: Path) -> ImageProcessor:
        """Read the settings of a folder.

        Raises:
            OSError: the file is missing.
            ValueError: the file is not JSON, or a setting is not supported.
        """
        values = json.loads((folder / "preprocessor_config.json").read_text())
        known = {field.name for field in fields(cls)}
        try:
            processor = cls(**{name: value for name, value in values.items() if name in known and value is not None})
            supported = {"height", "width"} <= processor.size.keys() and processor.resample in MODES
        except (AttributeError, TypeError) as error:
            raise ValueError(f"preprocessor_config.json: {error}") from None
        if not supported:
            raise ValueError(
                f"preprocessor_config.json: expected a size of height and width, and a resample of 0, 2 or 3, got "
                f"{processor.size} and {processor.resample}"
            )
        return processor

    def _rescale(self, images: Images) -> Tensor:
        """(N, 3, H, W) float32."""
        pixels = torch.stack([torch.from_numpy(image) for image in images]).movedim(-1, 1).float()
        return pixels * self.rescale_factor if self.do_rescale else pixels

    def _normalize(self, pixels: Tensor) -> Tensor:
        mean, std = (pixels.new_tensor(values)[:, None, None] for values in (self.image_mean, self.image_std))
        return (pixels - mean) / std if self.do_normalize else pixels

    def _resize(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        mode = MODES[self.resample]
        aligned = self.align_corners if mode in ("bilinear", "bicubic") else None
        return nnf.interpolate(pixels, size, mode=mode, align_corners=aligned)


@dataclass(frozen=True)
class DepthProProcessor(ImageProcessor):
    """As ``DepthProImageProcessor``: normalizes, then resizes."""

    def __call__(self, images: Images, **_: Any) -> dict[str, Tensor]:
        """Convert images (H, W, 3) of one size to ``pixel_values``."""
        pixels = self._normalize(self._rescale(images))
        if self.do_resize:
            pixels = self._resize(pixels, (self.size["height"], self.size["width"]))
        return {"pixel_values": pixels}

    def post_process_depth_estimation(
        self, outputs: Any, target_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Convert inverse depth (N, H, W) and fields of view to depth of the given sizes."""
        results = []
        for at, (inverse, size) in enumerate(zip(outputs.predicted_depth, target_sizes, strict=True)):
            if outputs.field_of_view is not None:  # the network predicts inverse depth for a width of one focal length
                inverse = inverse * (2 * torch.tan(0.5 * torch.deg2rad(outputs.field_of_view[at])))
            inverse = self._resize(inverse[None, None], size)[0, 0]
            results.append({"predicted_depth": 1 / inverse.clamp(1e-4, 1e4)})
        return results


@dataclass(frozen=True)
class ZoeDepthProcessor(ImageProcessor):
    """As ``ZoeDepthImageProcessor``: pads by reflection, resizes to multiples, then normalizes."""

    align_corners: ClassVar[bool] = True
    keep_aspect_ratio: bool = True
    ensure_multiple_of: float = 1 / 32
    do_pad: bool = True

    def __call__(self, images: Images, do_resize: bool | None = None, **_: Any) -> dict[str, Tensor]:
        """Convert images (H, W, 3) of one size to ``pixel_values``."""
        pixels = self._rescale(images)
        if self.do_pad:
            rows, columns = _padding(pixels.shape[-2]), _padding(pixels.shape[-1])
            pixels = nnf.pad(pixels, (columns, columns, rows, rows), mode="reflect")
        if self.do_resize if do_resize is None else do_resize:
            pixels = self._resize(pixels, self._resized(pixels.shape[-2], pixels.shape[-1]))
        return {"pixel_values": self._normalize(pixels)}

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        rows, columns = self.size["height"] / height, self.size["width"] / width
        if self.keep_aspect_ratio:  # of both scales that which changes less
            rows = columns = columns if abs(1 - columns) < abs(1 - rows) else rows
        multiple = self.ensure_multiple_of
        return int(round(rows * height / multiple) * multiple), int(round(columns * width / multiple) * multiple)

    def post_process_depth_estimation(
        self, outputs: Any, source_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Tensor]]:
        """Resize depth (N, H, W) to the padded sizes of the images, and remove the padding."""
        results = []
        for depth, (height, width) in zip(outputs.predicted_depth, source_sizes, strict=True):
            rows, columns = (_padding(height), _padding(width)) if self.do_pad else (0, 0)
            size = (height + 2 * rows, width + 2 * columns)
            if depth.shape != size:
                depth = nnf.interpolate(depth[None, None], size, mode="bicubic", align_corners=False)[0, 0]
            results.append({"predicted_depth": depth[rows : rows + height, columns : columns + width]})
        return results


def _padding(side: int) -> int:
    return int(math.sqrt(side / 2) * 3)


# model_type of the configuration -> the processor
PROCESSORS: dict[str, type[ImageProcessor]] = {"depth_pro": DepthProProcessor, "zoedepth": ZoeDepthProcessor}
