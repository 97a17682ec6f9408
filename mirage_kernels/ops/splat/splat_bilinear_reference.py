# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``splat`` in mode "bilinear" in pure PyTorch.

All backends return the same bits, except for the gradient of ``xyz``. N points, V views, C channels, grid (h, w).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..._ordered_sums import add_in_order
from ...cameras import NEAR, project
from .splat_reference import EMPTY

MIN_WEIGHT = 1e-4
_VALUES_BATCH = 1 << 25  # (pair, channel) values held in memory
_COLUMN_OF_TAP, _ROW_OF_TAP = (0, 1, 0, 1), (0, 0, 1, 1)  # in the order of their cells


class _Pairs(NamedTuple):
    """P pairs of a point and one of its up to four taps, sorted by point and then by cell."""

    point: Tensor
    tap: Tensor
    cell: Tensor
    weight: Tensor


def splat_bilinear(
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    band: float,
    near: float = NEAR,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Blend features. Sums run in the order of the points, in float32 (float64 for float64 points), rounded once."""
    views, channels = world2cam.shape[0], features.shape[1]
    blended = features.new_zeros(views, channels, h, w)
    depth = xyz.new_full((views, h, w), torch.inf)
    index = torch.full((views, h, w), -1, dtype=torch.int64, device=xyz.device)
    weight = xyz.new_zeros(views, h, w)
    for v in range(views):
        pairs, z = _taps(xyz, intrinsics[v : v + 1], world2cam[v : v + 1], h, w, valid, near)
        key = (z.float().view(torch.int32).long() << 32) | torch.arange(len(z), device=z.device, dtype=torch.int64)
        keys = torch.full((h * w,), EMPTY, dtype=torch.int64, device=xyz.device)
        keys.scatter_reduce_(0, pairs.cell, key[pairs.point], "amin")
        winner = torch.where(keys != EMPTY, keys & 0xFFFFFFFF, len(z))
        nearest = torch.cat([z, z.new_full((1,), torch.inf)])[winner]
        pairs = _within(pairs, z, nearest, band)
        sums = add_in_order(z.new_zeros(h * w), pairs.cell, pairs.weight)
        covered = sums > MIN_WEIGHT
        total = z.new_zeros(h * w, channels)
        for part in _parts(pairs, channels):
            add_in_order(total, part.cell, part.weight[:, None] * features[part.point].to(z.dtype))
        mean = torch.where(covered[:, None], total / sums[:, None], 0).to(features.dtype)
        blended[v] = mean.T.reshape(channels, h, w)
        depth[v] = torch.where(covered, nearest, torch.inf).reshape(h, w)
        index[v] = torch.where(covered, winner, -1).reshape(h, w)
        weight[v] = torch.where(covered, sums, 0).reshape(h, w)
    return blended, depth, index, weight


def _taps(
    xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int, valid: Tensor | None, near: float
) -> tuple[_Pairs, Tensor]:
    """Return the taps of all points in one view, and the depth of every point."""
    u, v, z, _ = (x[0] for x in project(xyz, world2cam, intrinsics))
    a, b = u - 0.5, v - 0.5
    some = (z > near) & (z < torch.inf) & (a >= -1) & (a < w) & (b >= -1) & (b < h)
    if valid is not None:
        some = some & valid
    a, b = torch.where(some, a, 0), torch.where(some, b, 0)
    j, i = a.floor(), b.floor()
    s, t = a - j, b - i
    across = torch.stack([1 - s, s], 1)[:, _COLUMN_OF_TAP]
    down = torch.stack([1 - t, t], 1)[:, _ROW_OF_TAP]
    weight = across * down
    column = torch.stack([j.long(), j.long() + 1], 1)[:, _COLUMN_OF_TAP]
    row = torch.stack([i.long(), i.long() + 1], 1)[:, _ROW_OF_TAP]
    tapped = some[:, None] & (weight > 0) & (row >= 0) & (row < h) & (column >= 0) & (column < w)
    point, tap = tapped.nonzero().unbind(1)  # waits for the device: the number of pairs depends on the data
    return _Pairs(point, tap, (row * w + column)[tapped], weight[tapped]), z


def _within(pairs: _Pairs, z: Tensor, nearest: Tensor, band: float) -> _Pairs:
    """Keep the pairs whose point is within the depth band of its cell; none in cells whose nearest depth is inf."""
    limit = torch.where(nearest < torch.inf, (1 + torch.full_like(nearest, band)) * nearest, 0)
    kept = z[pairs.point] <= limit[pairs.cell]
    return _Pairs(*(x[kept] for x in pairs))


def _parts(pairs: _Pairs, channels: int) -> list[_Pairs]:
    size = max(1, _VALUES_BATCH // max(1, channels))
    return [_Pairs(*(x[at : at + size] for x in pairs)) for at in range(0, len(pairs.point), size)]


def splat_bilinear_backward_features(
    grad_features: Tensor,
    xyz: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    valid: Tensor | None,
    depth: Tensor,
    weight: Tensor,
    band: float,
    near: float = NEAR,
) -> Tensor:
    """Propagate the gradient of every cell to its points, times weight / sum of weights.

    Sums run in (view, cell) order, in float32 (float64 for float64), rounded once.
    """
    _, channels, h, w = grad_features.shape
    grad = grad_features.to(torch.promote_types(grad_features.dtype, torch.float32)).flatten(2)
    sums = grad.new_zeros(xyz.shape[0], channels)
    for v in range(grad.shape[0]):
        pairs, z = _taps(xyz, intrinsics[v : v + 1], world2cam[v : v + 1], h, w, valid, near)
        for part in _parts(_within(pairs, z, depth[v].flatten(), band), channels):
            fraction = part.weight / weight[v].flatten()[part.cell]
            add_in_order(sums, part.point, fraction[:, None] * grad[v].T[part.cell])
    return sums.to(grad_features.dtype)


def splat_bilinear_backward_xyz(
    grad_features: Tensor,
    blended: Tensor,
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    valid: Tensor | None,
    depth: Tensor,
    weight: Tensor,
    band: float,
    near: float = NEAR,
) -> Tensor:
    """Propagate gradients through the weights: d map / d weight = (feature - map) / sum of weights.

    The set of points that a cell blends is taken as constant.
    """
    _, channels, h, w = grad_features.shape
    grad, maps = grad_features.to(xyz.dtype).flatten(2), blended.to(xyz.dtype).flatten(2)
    sums = xyz.new_zeros(xyz.shape)
    for v in range(grad.shape[0]):
        k, m = intrinsics[v : v + 1], world2cam[v : v + 1]
        pairs, z = _taps(xyz, k, m, h, w, valid, near)
        a, b, _, _ = (x[0] - 0.5 for x in project(xyz, m, k))
        for part in _parts(_within(pairs, z, depth[v].flatten(), band), channels):
            change = features[part.point].to(xyz.dtype) - maps[v].T[part.cell]
            by_weight = (grad[v].T[part.cell] * change).sum(1) / weight[v].flatten()[part.cell]
            s, t = (x[part.point] - x[part.point].floor() for x in (a, b))
            right, low = part.tap % 2 == 1, part.tap >= 2
            by_u = torch.where(right, by_weight, -by_weight) * torch.where(low, t, 1 - t)
            by_v = torch.where(low, by_weight, -by_weight) * torch.where(right, s, 1 - s)
            rows = _project_backward(xyz[part.point], k[0].to(xyz.dtype), m[0].to(xyz.dtype), by_u, by_v)
            add_in_order(sums, part.point, rows)
    return sums


def _project_backward(xyz: Tensor, k: Tensor, m: Tensor, by_u: Tensor, by_v: Tensor) -> Tensor:
    """Return the gradient of points (P, 3) from the gradient of their projections (u, v) in a view."""
    local = xyz @ m[:, :3].T + m[:, 3]
    inverse = 1 / local[:, 2]
    x, y = by_u * k[0, 0] * inverse, by_v * k[1, 1] * inverse
    z = -(x * (local[:, 0] * inverse) + y * (local[:, 1] * inverse))
    return torch.stack([x, y, z], 1) @ m[:, :3]
