# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Depth maps and masks from one grid to another, by the rule of :func:`mirage_kernels.unproject`.

Near and far are never averaged: the mean of two surfaces is a surface that does not exist.
"""

from __future__ import annotations

from typing import NamedTuple

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


class Cells(NamedTuple):
    """The points that a frame's cells would be remembered as.

    Attributes:
        xyz: (h, w, 3) float32, world units.
        depth: (h, w) float32; +inf where there is none.
    """

    xyz: Tensor
    depth: Tensor


def masked_cells(mask: Tensor, grid: tuple[int, int], max_masked: float = 0.0) -> Tensor:
    """The cells (h, w) with more than a share of their pixels in ``mask`` (H, W) bool.

    With 0, any pixel puts its cell out: taking the pixel under a cell's centre or corner instead misses a quarter to a
    half of the cells that a thing touches.
    """
    depth = torch.ones(1, *mask.shape, device=mask.device)
    camera = Cameras(torch.eye(3), torch.eye(4), (mask.shape[0], mask.shape[1])).to(mask.device)
    nothing = depth.new_zeros(1, 0, *grid)
    free = unproject(depth, nothing, camera, mask=mask[None], max_masked=max_masked).valid
    if mask.shape[0] >= grid[0] and mask.shape[1] >= grid[1]:
        return ~free.reshape(grid)
    return (unproject(depth, nothing, camera).valid & ~free).reshape(grid)  # a cell without pixels has none masked


def cells_of(depth: Tensor, camera: Cameras, grid: tuple[int, int]) -> Cells:
    """The cells of a depth map (H, W) as the memory would take them in."""
    points = unproject(depth[None].contiguous(), depth.new_zeros(1, 0, *grid), camera)
    _, z, _ = camera.project(points.xyz)
    return Cells(points.xyz.reshape(*grid, 3), torch.where(points.valid, z[0], torch.inf).reshape(grid))


def valid_depth(depth: Tensor) -> Tensor:
    """Where depth is finite and positive."""
    return depth.isfinite() & (depth > 0)


def nearest_around(depth: Tensor, radius: int = 1) -> Tensor:
    """The smallest of the depths (..., h, w) within ``radius``; +inf stands for none."""
    planes = depth.reshape(-1, 1, *depth.shape[-2:])
    return -nnf.max_pool2d(-planes, 2 * radius + 1, 1, radius).reshape(depth.shape)


def grow(mask: Tensor, radius: int) -> Tensor:
    """``mask`` (H, W) and everything within ``radius`` pixels of it, in a square."""
    if radius == 0:
        return mask
    return nnf.max_pool2d(mask[None, None].float(), 2 * radius + 1, 1, radius)[0, 0] > 0
