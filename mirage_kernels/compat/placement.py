# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Where in a latent cell a point lies: as the released code of LatentSpatialMemory has it, or at the center."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as nnf

Placement = Literal["release", "exact"]
PLACEMENTS: tuple[Placement, ...] = ("release", "exact")
OFFSETS = {"release": 0.5, "exact": 0.0}  # cells, added to the principal point


def resample_depth(depths: Tensor, mask: Tensor | None, grid: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """Resample depth to the latent grid as the released code does: bilinearly, across edges and holes.

    Args:
        depths: (T, H, W) float32.
        mask: (T, H, W) bool, pixels to exclude; the one that is nearest to a cell's corner excludes the cell.
        grid: (h, w).

    Returns:
        The depths (T, h, w), and the mask (T, h, w) or None.
    """
    small = nnf.interpolate(depths[:, None], grid, mode="bilinear", align_corners=False)[:, 0]
    if mask is not None:
        mask = nnf.interpolate(mask[:, None].to(torch.uint8), grid, mode="nearest")[:, 0] > 0
    return small, mask
