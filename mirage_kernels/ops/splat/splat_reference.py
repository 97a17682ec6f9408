# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``splat`` in pure PyTorch; all backends return the same bits.

N points, V views, C channels, grid (h, w).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..._ordered_sums import add_in_order
from ...cameras import NEAR, inside, project

EMPTY = torch.iinfo(torch.int64).max
_PAIRS_BATCH = 1 << 22  # (point, cell) pairs held in memory


def splat(
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None = None,
    extents: Tensor | None = None,
    extent: float = 0.0,
    min_extent: float = 0.0,
    radius: float = 0.0,
    boxes0: Tensor | None = None,
    boxes1: Tensor | None = None,
    boxes2: Tensor | None = None,
    near: float = NEAR,
) -> tuple[Tensor, Tensor, Tensor]:
    """Render with a z-buffer that is a ``scatter_reduce(amin)`` over packed (depth, index) keys, view by view.

    Args:
        extents: (N,); the extent of a point is ``extent * max(extents[i], min_extent)``, or ``extent * min_extent``
            where ``extents[i]`` is NaN. With a ``radius``, the radii of discs.
        extent: the extent of all points if ``extents`` is None.
        radius: cells; above 0, points are discs of this radius, or with ``extents`` of radii up to this, and NaN is 0.
        boxes0, boxes1, boxes2: bounding boxes of runs of points, which only the native kernels use, to skip runs.
        near: points up to this depth are not rendered.
    """
    n, views, channels = xyz.shape[0], world2cam.shape[0], features.shape[1]
    # The last slot takes the points that are not rendered.
    keys = torch.full((views, h * w + 1), EMPTY, dtype=torch.int64, device=xyz.device)
    for v in range(views):
        camera = (intrinsics[v : v + 1], world2cam[v : v + 1], h, w)
        for cell, key in covered_cells(xyz, *camera, valid, extents, extent, min_extent, radius, near):
            keys[v].scatter_reduce_(0, cell, key, "amin")
    keys = keys[:, :-1].reshape(views, h, w)
    hit = keys != EMPTY
    index = torch.where(hit, keys & 0xFFFFFFFF, -1)
    depth = torch.where(hit, (keys >> 32).int().view(torch.float32), torch.inf)
    if n == 0:
        return features.new_zeros(views, channels, h, w), depth, index
    if xyz.dtype != torch.float32:  # the key holds float32 depths; the returned depth has the precision of the input
        depth = torch.where(hit, _depth_of(xyz, world2cam, index), torch.inf)
    winners = features.index_select(0, index.clamp(min=0).flatten()).reshape(views, h * w, channels)
    winners = torch.where(hit.reshape(views, h * w, 1), winners, 0)
    return winners.transpose(1, 2).reshape(views, channels, h, w).contiguous(), depth, index


def covered_cells(
    xyz: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    extents: Tensor | None,
    extent: float,
    min_extent: float,
    radius: float,
    near: float,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the cells that points cover in one view, and the keys of these points, a batch of pairs at a time.

    Every pair of a cell and a point comes once; a disc's own cell may come twice. Cell h w stands for no cell.
    """
    u, row, depth, inverse = (x[0] for x in project(xyz, world2cam, intrinsics))
    order = torch.arange(xyz.shape[0], device=xyz.device, dtype=torch.int64)
    key = (depth.float().view(torch.int32).long() << 32) | order
    rendered = (depth > near) & (depth < torch.inf)
    if valid is not None:
        rendered = rendered & valid
    in_cell = rendered & inside(u, row, depth, (h, w))
    if radius > 0:
        # Slightly larger than the disc, so that rounding loses none of its cells: see cells_around in splat.h.
        size = torch.full_like(depth, radius)
        if extents is not None:
            size = torch.where(extents > 0, extents, 0).to(depth.dtype).clamp(max=radius)
        reach = size * 1.001 + 2**-7
        columns = _centers_within(u, reach + w * 2**-20, w, rendered)
        rows = _centers_within(row, reach + h * 2**-20, h, rendered)
        yield from _cells_of_ranges(key, rows, columns, (h, w), (row, u, size))
    elif extents is not None or extent > 0:
        reach = torch.full_like(depth, extent) if extents is None else _scaled(extent, extents, min_extent, depth)
        half = reach * inverse  # negative or NaN: covers no cell center
        columns = _centers_within(u, half * intrinsics[0, 0, 0], w, rendered)
        rows = _centers_within(row, half * intrinsics[0, 1, 1], h, rendered)
        in_cell = in_cell & ~((rows[0] <= rows[1]) & (columns[0] <= columns[1]))
        yield from _cells_of_ranges(key, rows, columns, (h, w))
    yield torch.where(in_cell, row.long() * w + u.long(), h * w), key


def _depth_of(xyz: Tensor, world2cam: Tensor, index: Tensor) -> Tensor:
    x, y, z = xyz[index.clamp(min=0)].unbind(-1)
    m = world2cam.to(xyz.dtype)[:, 2, :, None, None]
    return ((m[:, 0] * x + m[:, 1] * y) + m[:, 2] * z) + m[:, 3]


def _scaled(scale: float, extents: Tensor, minimum: float, like: Tensor) -> Tensor:
    """Return ``scale * max(extents, minimum)`` in the dtype of ``like``; NaN counts as ``minimum``."""
    extents = extents.to(like.dtype)
    return torch.where(extents > minimum, extents, minimum) * torch.full_like(extents, scale)


def _centers_within(at: Tensor, reach: Tensor, size: int, rendered: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and last of the cells 0 .. size - 1 whose centers are within ``reach`` of ``at``.

    If there is none, or the point is not ``rendered``, first > last.
    """
    lo, hi = (at - reach) - 0.5, (at + reach) - 0.5
    some = rendered & (lo <= size - 1) & (hi >= 0)
    first = torch.where(some, lo, 0).clamp(min=0).ceil().long()
    last = torch.where(some, hi, 0).clamp(max=size - 1).floor().long()
    return torch.where(some, first, 1), torch.where(some, last, 0)


def _cells_of_ranges(
    key: Tensor,
    rows: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
    grid: tuple[int, int],
    disc: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the cells in the rows and columns of every point, and the key of the point, a batch of pairs at a time.

    With ``disc`` (v, u, radius), only the cells whose centers are within the disc; cell h w stands for the others.
    """
    h, w = grid
    some = (rows[0] <= rows[1]) & (columns[0] <= columns[1])
    width = columns[1] - columns[0] + 1
    area = torch.where(some, (rows[1] - rows[0] + 1) * width, 0)
    end = area.cumsum(0)
    total = int(end[-1]) if end.numel() else 0  # waits for the device: the number of pairs depends on the data
    for start in range(0, total, _PAIRS_BATCH):
        pair = torch.arange(start, min(start + _PAIRS_BATCH, total), device=key.device, dtype=torch.int64)
        point = torch.searchsorted(end, pair, right=True)
        k = pair - (end[point] - area[point])
        i, j = rows[0][point] + k // width[point], columns[0][point] + k % width[point]
        cell = i * w + j
        if disc is not None:
            x, y = (j.to(disc[1].dtype) + 0.5) - disc[1][point], (i.to(disc[0].dtype) + 0.5) - disc[0][point]
            radius = disc[2][point]
            cell = torch.where(x * x + y * y <= radius * radius, cell, h * w)
        yield cell, key[point]


def splat_backward_features(grad_features: Tensor, index: Tensor, num_points: int) -> Tensor:
    """Sum gradients in (view, cell) order, in float32 (float64 for float64), rounded once."""
    grad = grad_features.to(torch.promote_types(grad_features.dtype, torch.float32))
    hit = index >= 0
    sums = grad.new_zeros(num_points, grad.shape[1])
    rows = grad.movedim(1, -1)[hit]
    return add_in_order(sums, index[hit], rows).to(grad_features.dtype)


def splat_backward_xyz(grad_depth: Tensor, index: Tensor, world2cam: Tensor, num_points: int) -> Tensor:
    """Propagate gradients of depth = r20 x + r21 y + r22 z + t2: every cell adds its gradient times (r20, r21, r22)."""
    hit = index >= 0
    directions = world2cam[:, None, None, 2, :3].to(grad_depth.dtype).expand(*index.shape, 3)
    rows = grad_depth[hit][:, None] * directions[hit]
    return add_in_order(grad_depth.new_zeros(num_points, 3), index[hit], rows)
