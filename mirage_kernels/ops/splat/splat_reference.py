# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""splat in pure PyTorch: what the native kernels must equal bit for bit. N points, V views, C channels, grid (h, w)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...cameras import NEAR, inside, project
from ...ordered_sums import add_in_order

EMPTY = torch.iinfo(torch.int64).max
_PAIRS_AT_ONCE = 1 << 22  # (point, cell) pairs held in memory


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
    least_extent: float = 0.0,
    radius: float = 0.0,
    *boxes: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The z-buffer is a ``scatter_reduce(amin)`` over packed (depth, index) keys, one view after the other.

    Args:
        extents: (N,); a point's extent is ``extent * max(extents[i], least_extent)``, where a NaN gives way.
        extent: for all points where there are no ``extents``.
        radius: cells; used where there are no extents.
        boxes: where runs of 64, 64^2 and 64^3 points lie, (B, 7) each: least and greatest x, y, z and largest
            extent. They only tell native kernels where not to look; nothing is looked for elsewhere.
    """
    n, views, channels = xyz.shape[0], world2cam.shape[0], features.shape[1]
    # One slot more than there are cells: what is not drawn goes there.
    keys = torch.full((views, h * w + 1), EMPTY, dtype=torch.int64, device=xyz.device)
    order = torch.arange(n, device=xyz.device)
    for v in range(views):
        u, row, depth, inverse = (x[0] for x in project(xyz, world2cam[v : v + 1], intrinsics[v : v + 1]))
        key = (depth.float().view(torch.int32).long() << 32) | order
        own = inside(u, row, depth, (h, w))
        if valid is not None:
            own = own & valid
        drawn = (depth > NEAR) & (depth < torch.inf)
        if valid is not None:
            drawn = drawn & valid
        if extents is not None or extent > 0:
            reach = torch.full_like(depth, extent) if extents is None else _scaled(extent, extents, least_extent, depth)
            half = reach * inverse  # negative or NaN: covers no centre
            columns = _centres_within(u, half * intrinsics[v, 0, 0], w, drawn)
            rows = _centres_within(row, half * intrinsics[v, 1, 1], h, drawn)
            own = own & ~((rows[0] <= rows[1]) & (columns[0] <= columns[1]))
            _scatter_cells(keys[v], key, rows, columns, w)
        elif radius > 0:
            # A little wider than the disc, so that rounding loses none of its cells: see cells_around in splat.h.
            size = torch.tensor(radius, dtype=depth.dtype, device=depth.device)
            reach = size * 1.001 + 2**-7
            columns = _centres_within(u, reach + w * 2**-20, w, drawn)
            rows = _centres_within(row, reach + h * 2**-20, h, drawn)
            _scatter_cells(keys[v], key, rows, columns, w, (row, u, size))
        cell = torch.where(own, row.long() * w + u.long(), h * w)
        keys[v].scatter_reduce_(0, cell, key, "amin")
    keys = keys[:, :-1].reshape(views, h, w)
    hit = keys != EMPTY
    index = torch.where(hit, keys & 0xFFFFFFFF, -1)
    depth = torch.where(hit, (keys >> 32).int().view(torch.float32), torch.inf)
    if n == 0:
        return features.new_zeros(views, channels, h, w), depth, index
    if xyz.dtype != torch.float32:  # the key orders float32 depths; the depth handed out is the input's own precision
        depth = torch.where(hit, _depth_of(xyz, world2cam, index), torch.inf)
    winners = features.index_select(0, index.clamp(min=0).flatten()).reshape(views, h * w, channels)
    winners = torch.where(hit.reshape(views, h * w, 1), winners, 0)
    return winners.transpose(1, 2).reshape(views, channels, h, w).contiguous(), depth, index


def _depth_of(xyz: Tensor, world2cam: Tensor, index: Tensor) -> Tensor:
    x, y, z = xyz[index.clamp(min=0)].unbind(-1)
    m = world2cam.to(xyz.dtype)[:, 2, :, None, None]
    return ((m[:, 0] * x + m[:, 1] * y) + m[:, 2] * z) + m[:, 3]


def _scaled(extent: float, extents: Tensor, least: float, like: Tensor) -> Tensor:
    """``extent * max(extents, least)`` in ``like``'s dtype; NaN gives ``least``."""
    own = extents.to(like.dtype)
    return torch.where(own > least, own, least) * torch.full_like(own, extent)


def _centres_within(at: Tensor, reach: Tensor, size: int, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """First and last of the cells 0 .. size - 1 whose centres lie within ``reach`` of ``at``; first > last if none."""
    lo, hi = (at - reach) - 0.5, (at + reach) - 0.5
    some = drawn & (lo <= size - 1) & (hi >= 0)
    first = torch.where(some, lo, 0).clamp(min=0).ceil().long()
    last = torch.where(some, hi, 0).clamp(max=size - 1).floor().long()
    return torch.where(some, first, 1), torch.where(some, last, 0)


def _scatter_cells(
    keys: Tensor,
    key: Tensor,
    rows: tuple[Tensor, Tensor],
    columns: tuple[Tensor, Tensor],
    w: int,
    disc: tuple[Tensor, Tensor, Tensor] | None = None,
) -> None:
    """Lower ``keys`` (h w + 1,) by every pair of a point and a cell of its rows and columns; with ``disc`` (v, u,
    radius), of those only the ones whose centres lie within the disc."""
    some = (rows[0] <= rows[1]) & (columns[0] <= columns[1])
    width = columns[1] - columns[0] + 1
    area = torch.where(some, (rows[1] - rows[0] + 1) * width, 0)
    end = area.cumsum(0)
    total = int(end[-1]) if end.numel() else 0  # waits for the device: the number of pairs depends on the data
    for start in range(0, total, _PAIRS_AT_ONCE):
        pair = torch.arange(start, min(start + _PAIRS_AT_ONCE, total), device=key.device)
        point = torch.searchsorted(end, pair, right=True)
        k = pair - (end[point] - area[point])
        i, j = rows[0][point] + k // width[point], columns[0][point] + k % width[point]
        cell = i * w + j
        if disc is not None:
            x, y = (j.to(disc[1].dtype) + 0.5) - disc[1][point], (i.to(disc[0].dtype) + 0.5) - disc[0][point]
            cell = torch.where(x * x + y * y <= disc[2] * disc[2], cell, keys.shape[0] - 1)
        keys.scatter_reduce_(0, cell, key[point], "amin")


def splat_backward_features(grad_features: Tensor, index: Tensor, num_points: int) -> Tensor:
    """Sums in (view, cell) order, in float32 (float64 for float64), rounded once."""
    grad = grad_features.to(torch.promote_types(grad_features.dtype, torch.float32))
    hit = index >= 0
    sums = grad.new_zeros(num_points, grad.shape[1])
    rows = grad.movedim(1, -1)[hit]
    return add_in_order(sums, index[hit], rows).to(grad_features.dtype)


def splat_backward_xyz(grad_depth: Tensor, index: Tensor, world2cam: Tensor, num_points: int) -> Tensor:
    """depth = r20 x + r21 y + r22 z + t2, so a cell hands its gradient to its point along the view's third row."""
    hit = index >= 0
    directions = world2cam[:, None, None, 2, :3].to(grad_depth.dtype).expand(*index.shape, 3)
    rows = grad_depth[hit][:, None] * directions[hit]
    return add_in_order(grad_depth.new_zeros(num_points, 3), index[hit], rows)
