# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Depth from one grid to another, without a depth that was nowhere."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, unproject


def pool_depth(depth: Tensor, cameras: Cameras, grid: tuple[int, int], *, mask: Tensor | None = None) -> Tensor:
    """The depth of latent cells as the memory takes it: the lower median of the usable pixels.

    Args:
        depth: (T, H, W) float32 z-depth; not finite or not positive where there is none.
        cameras: T cameras, over a grid of any size.
        grid: (h, w).
        mask: (T, H, W) bool, True where nothing may be taken from; a cell with any such pixel has no depth.

    Returns:
        (T, h, w) float32, +inf where there is none.
    """
    # Seen from the camera itself, z is the pooled depth, bit for bit.
    own = torch.eye(4, device=depth.device).expand(len(cameras), 4, 4)
    size = (depth.shape[1], depth.shape[2])
    seen = Cameras(cameras.rescale(size).intrinsics, own, size)
    points = unproject(depth.contiguous(), depth.new_zeros(len(depth), 0, *grid), seen, mask=mask)
    return torch.where(points.valid, points.xyz[:, 2], torch.inf).reshape(-1, *grid)


def resize_depth(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Depth (T, h, w) over another grid (H, W): every pixel takes that of the cell its centre lies in. A mean of near
    and far is a surface that is not there."""
    if depth.shape[1:] == size:
        return depth
    return nnf.interpolate(depth[:, None], size, mode="nearest-exact")[:, 0]
