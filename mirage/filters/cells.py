# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""From pixels to cells, by the rule of :func:`mirage_kernels.unproject`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, unproject


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


def complete(marked: Tensor, depth: Tensor, share: float, tolerance: float = 0.05) -> Tensor:
    """Marked cells (h, w), with the whole of every thing of which more than a share is marked.

    A thing is what hangs together in depth (h, w): neighbours within a share ``tolerance`` of one another.
    """
    count = depth.numel()
    label = torch.arange(count, device=depth.device).reshape(depth.shape)
    down = (depth[1:] - depth[:-1]).abs() <= tolerance * torch.minimum(depth[1:], depth[:-1])
    right = (depth[:, 1:] - depth[:, :-1]).abs() <= tolerance * torch.minimum(depth[:, 1:], depth[:, :-1])
    while True:  # every cell takes the lowest number that its neighbours know, and that of the cell of that number
        low = label.clone()
        low[1:] = torch.where(down, torch.minimum(low[1:], label[:-1]), low[1:])
        low[:-1] = torch.where(down, torch.minimum(low[:-1], label[1:]), low[:-1])
        low[:, 1:] = torch.where(right, torch.minimum(low[:, 1:], label[:, :-1]), low[:, 1:])
        low[:, :-1] = torch.where(right, torch.minimum(low[:, :-1], label[:, 1:]), low[:, :-1])
        low = low.flatten()[low]
        if torch.equal(low, label):
            break
        label = low
    of_thing = torch.bincount(label.flatten(), weights=marked.flatten().double(), minlength=count)
    size = torch.bincount(label.flatten(), minlength=count)
    return marked | (of_thing > share * size)[label]
