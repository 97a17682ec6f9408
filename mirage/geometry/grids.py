# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of depth maps and masks between grids, with the cell assignment of :func:`mirage_kernels.unproject`.

Depths are never averaged: the mean of a near and a far surface is a surface that does not exist.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, Points, Pooling, check, pool_depth, unproject

MAX_DEPTH = 1e12  # the memory holds points within 1e18, in world units


def unproject_depth(
    depth: Tensor,
    cameras: Cameras,
    grid: tuple[int, int],
    *,
    pooling: Pooling = "median",
) -> Points:
    """Unproject depth maps without features.

    Args:
        depth: (T, H, W) float32 z-depth in world units; not finite or not positive where invalid.
        cameras: T cameras over (H, W).
        grid: (h, w) of the cells.
        pooling: see :func:`mirage_kernels.unproject`.

    Returns:
        T * h * w points with zero channels.
    """
    features = depth.new_zeros(len(depth), 0, *grid)
    return unproject(depth.contiguous(), features, cameras, pooling=pooling)


def resize_depth(depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize depth maps with nearest-neighbor sampling at pixel centers.

    Args:
        depth: (T, h, w) depth.
        size: (H, W) of the result.

    Returns:
        (T, H, W); the same tensor if the size does not change.
    """
    if depth.shape[1:] == size:
        return depth
    return nnf.interpolate(depth[:, None], size, mode="nearest-exact")[:, 0]


class Cells(NamedTuple):
    """The points at which the cells of a frame would be written.

    Attributes:
        xyz: (h, w, 3) float32 in world units.
        depth: (h, w) float32 z-depth in world units; +inf where a cell has none.
    """

    xyz: Tensor
    depth: Tensor


def masked_cells(mask: Tensor, grid: tuple[int, int], max_masked: float = 0.0) -> Tensor:
    """Find the cells in which more than a fraction of the pixels is masked.

    Args:
        mask: (H, W) bool.
        grid: (h, w) of the cells.
        max_masked: fraction of a cell's pixels, 0 to 1. With 0, a single pixel masks its cell. (Sampling the mask at
            cell centers or corners instead misses a quarter to a half of the cells that an object touches.)

    Returns:
        (h, w) bool. Cells that contain no pixel are not masked.
    """
    depth = torch.ones(1, *mask.shape, device=mask.device, dtype=torch.float32)
    masked = ~pool_depth(depth, grid, mask=mask[None], max_masked=max_masked)[0].isfinite()
    if mask.shape[0] >= grid[0] and mask.shape[1] >= grid[1]:
        return masked
    return masked & pool_depth(depth, grid)[0].isfinite()


def cells_of(depth: Tensor, camera: Cameras, grid: tuple[int, int]) -> Cells:
    """Unproject a depth map to the points at which the memory would write its cells.

    Args:
        depth: (H, W) float32 z-depth in world units; not finite or not positive where invalid.
        camera: one camera over (H, W).
        grid: (h, w) of the cells.

    Returns:
        Positions and depths of the cells.
    """
    points = unproject_depth(depth[None], camera, grid)
    _, z, _ = camera.project(points.xyz)
    return Cells(points.xyz.reshape(*grid, 3), torch.where(points.valid, z[0], torch.inf).reshape(grid))


def flat_index(uv: Tensor, inside: Tensor, width: int) -> Tensor:
    """Compute the index of the cell that contains each projected point, into flattened maps of ``width`` columns.

    Args:
        uv: (..., 2) float32 coordinates in cells, as :meth:`mirage_kernels.Cameras.project` returns them.
        inside: (...) bool, True where the point lies inside the view.
        width: columns of the map.

    Returns:
        (...) int64, ``row * width + column``; 0 where the point is not inside.
    """
    column, row = torch.where(inside[..., None], uv, 0).long().unbind(-1)
    return row * width + column


def valid_depth(depth: Tensor) -> Tensor:
    """Return a bool mask of the shape of ``depth``, True where depth is finite and positive."""
    return depth.isfinite() & (depth > 0)


def usable_depth(depth: Tensor) -> Tensor:
    """Return depth with 0 where it is invalid or out of any scene: many files have the largest number for the sky.

    Args:
        depth: of any shape; not finite or not positive where invalid.

    Example:
        >>> usable_depth(torch.tensor([2.0, torch.inf, 3.4e38, -1.0])).tolist()
        [2.0, 0.0, 0.0, 0.0]
    """
    return torch.where((depth > 1 / MAX_DEPTH) & (depth < MAX_DEPTH), depth, 0)


def nearest_around(depth: Tensor, radius: int = 1) -> Tensor:
    """Compute the minimum depth in a square window around each cell.

    Args:
        depth: (..., h, w) depth; +inf where there is none.
        radius: cells on each side; the window is ``2 * radius + 1`` cells wide.

    Returns:
        (..., h, w); +inf where the whole window has no depth.

    Raises:
        TypeError, ValueError: the radius is not an integer, or negative.
    """
    radius = check.integer("radius", radius, 0)
    planes = depth.reshape(-1, 1, *depth.shape[-2:])
    return -nnf.max_pool2d(-planes, 2 * radius + 1, 1, radius).reshape(depth.shape)


def grow(mask: Tensor, radius: int) -> Tensor:
    """Dilate a mask with a square window.

    Args:
        mask: (H, W) bool.
        radius: pixels on each side; 0 returns the mask itself.

    Returns:
        (H, W) bool.

    Raises:
        TypeError, ValueError: the radius is not an integer, or negative.
    """
    radius = check.integer("radius", radius, 0)
    if radius == 0:
        return mask
    return nnf.max_pool2d(mask[None, None].float(), 2 * radius + 1, 1, radius)[0, 0] > 0
