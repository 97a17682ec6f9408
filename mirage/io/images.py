# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Writing images, and composing images for display."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mirage_kernels import atomic_write

from ..errors import missing_package

if TYPE_CHECKING:
    from PIL import Image


def to_bytes(image: Tensor) -> np.ndarray:
    """Convert an image to an array of bytes.

    Args:
        image: (3, H, W) or (H, W) floats; values are clamped to 0 to 1.

    Returns:
        (H, W, 3) or (H, W) uint8.
    """
    values = (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    return values.movedim(0, -1).contiguous().numpy() if values.dim() == 3 else values.contiguous().numpy()


def to_pil(image: Tensor) -> Image.Image:
    """Convert an image to a PIL image.

    Args:
        image: (3, H, W) or (H, W) floats; values are clamped to 0 to 1.

    Returns:
        An RGB or grayscale image.

    Raises:
        ImportError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise missing_package("converting images", "Pillow", "pipeline") from error
    return Image.fromarray(to_bytes(image))


def write_image(path: str | Path, image: Tensor) -> None:
    """Write an image as PNG. The file is replaced atomically.

    Args:
        path: the file, with any suffix.
        image: (3, H, W) or (H, W) floats; values are clamped to 0 to 1.

    Raises:
        ImportError: Pillow is not installed.
    """
    pixels = to_pil(image)
    with atomic_write(path) as partial:
        pixels.save(partial, format="PNG")


def enlarge(cells: Tensor, stride: int) -> Tensor:
    """Repeat cells to pixels.

    Args:
        cells: (..., h, w).
        stride: width and height of a cell in pixels.

    Returns:
        (..., h * stride, w * stride).
    """
    return cells.repeat_interleave(stride, -2).repeat_interleave(stride, -1)


def show_holes(image: Tensor, mask: Tensor, square: int = 8) -> Tensor:
    """Draw a gray checkerboard into the holes of an image.

    Args:
        image: (3, H, W), values 0 to 1.
        mask: (H, W) bool, False in holes.
        square: size of the squares in pixels.

    Returns:
        (3, H, W).
    """
    rows, columns = (torch.arange(side, device=image.device, dtype=torch.int64) // square for side in image.shape[-2:])
    board = 0.25 + 0.15 * ((rows[:, None] + columns) % 2).to(image)
    return torch.where(mask, image, board)


def side_by_side(left: Tensor, right: Tensor, gap: int = 8) -> Tensor:
    """Join two images horizontally, with a white gap.

    Args:
        left, right: (..., 3, H, W), values 0 to 1.
        gap: width of the gap in pixels.

    Returns:
        (..., 3, H, 2 * W + gap).
    """
    space = left.new_ones(*left.shape[:-1], gap)
    return torch.cat([left, space, right], -1)


def contact_sheet(rows: list[list[Tensor]], labels: list[list[str]], width: int = 360, gap: int = 6) -> Tensor:
    """Arrange images in rows, with a label above each.

    Args:
        rows: images (3, H, W), values 0 to 1, in rows.
        labels: a text for each image.
        width: width in pixels that images are resized to.
        gap: space between images in pixels.

    Returns:
        (3, H', W') float32, values 0 to 1.

    Raises:
        ImportError: Pillow is not installed.
        ValueError: the numbers of images and labels differ.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError as error:
        raise missing_package("a contact sheet", "Pillow", "pipeline") from error
    height = round(width * rows[0][0].shape[1] / rows[0][0].shape[2])
    label_height = 18
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (gap + columns * (width + gap), gap + len(rows) * (label_height + height + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    for r, (row, texts) in enumerate(zip(rows, labels, strict=True)):
        for c, (image, text) in enumerate(zip(row, texts, strict=True)):
            x, y = gap + c * (width + gap), gap + r * (label_height + height + gap)
            draw.text((x, y + 3), text, fill="black")
            sheet.paste(to_pil(image).resize((width, height), Image.Resampling.LANCZOS), (x, y + label_height))
    return torch.from_numpy(np.asarray(sheet).copy()).movedim(2, 0).float() / 255
