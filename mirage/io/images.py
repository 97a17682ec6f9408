# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Images to look at: PNG files, contact sheets, masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor


def to_bytes(picture: Tensor) -> np.ndarray:
    """(3, H, W) or (H, W), 0 to 1, to (H, W, 3) or (H, W) uint8."""
    values = (picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    return values.movedim(0, -1).contiguous().numpy() if values.dim() == 3 else values.contiguous().numpy()


def write_picture(path: str | Path, picture: Tensor) -> None:
    Image.fromarray(to_bytes(picture)).save(path, format="PNG")


def enlarge(cells: Tensor, stride: int) -> Tensor:
    """(..., h, w) cells as (..., h stride, w stride) pixels."""
    return cells.repeat_interleave(stride, -2).repeat_interleave(stride, -1)


def show_holes(picture: Tensor, mask: Tensor, square: int = 8) -> Tensor:
    """(3, H, W) with a grey chequerboard where ``mask`` (H, W) is False."""
    rows, columns = (torch.arange(side, device=picture.device) // square for side in picture.shape[-2:])
    board = 0.25 + 0.15 * ((rows[:, None] + columns) % 2).to(picture)
    return torch.where(mask, picture, board)


def beside(left: Tensor, right: Tensor, gap: int = 8) -> Tensor:
    """Two pictures (..., 3, H, W) side by side on white."""
    space = left.new_ones(*left.shape[:-1], gap)
    return torch.cat([left, space, right], -1)


def contact_sheet(rows: list[list[Tensor]], labels: list[list[str]], width: int = 360, gap: int = 6) -> Tensor:
    """Pictures (3, H, W) in rows, each with a label over it, as one picture (3, H', W')."""
    height = round(width * rows[0][0].shape[1] / rows[0][0].shape[2])
    bar = 18
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (gap + columns * (width + gap), gap + len(rows) * (bar + height + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    for r, (row, names) in enumerate(zip(rows, labels, strict=True)):
        for c, (picture, name) in enumerate(zip(row, names, strict=True)):
            x, y = gap + c * (width + gap), gap + r * (bar + height + gap)
            draw.text((x, y + 3), name, fill="black")
            sheet.paste(
                Image.fromarray(to_bytes(picture)).resize((width, height), Image.Resampling.LANCZOS), (x, y + bar)
            )
    return torch.from_numpy(np.asarray(sheet).copy()).movedim(2, 0).float() / 255
