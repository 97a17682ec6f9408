# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``splat`` with ``k`` in pure PyTorch; all backends return the same bits.

N points, V views, grid (h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..._ordered_sums import add_in_order
from ..._projection import project
from ...cameras import NEAR
from .splat_reference import EMPTY, covered_cells


def splat_layers(
    xyz: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    k: int,
    valid: Tensor | None = None,
    extents: Tensor | None = None,
    extent: float = 0.0,
    radius: float = 0.0,
    near: float = NEAR,
) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the ``k`` smallest keys of every cell, view by view.

    Args:
        extents: (N,), the extent of every point, or None for ``extent``. With a ``radius``, the radii of discs.
        extent: the extent of all points if ``extents`` is None.
        radius: as in ``splat``.
        near: points up to this depth are not rendered.
    """
    scale, minimum = (extent, 0.0) if extents is None else (1.0, -torch.inf)
    keys = torch.full((world2cam.shape[0], h * w, k), EMPTY, dtype=torch.int64, device=xyz.device)
    for v in range(len(keys)):
        camera = (intrinsics[v : v + 1], world2cam[v : v + 1], h, w)
        for cell, key in covered_cells(xyz, *camera, valid, extents, scale, minimum, radius, near):
            keys[v] = _insert(keys[v], cell, key)
    keys = keys.movedim(2, 1).contiguous().view(len(keys), k, h, w)
    hit = keys != EMPTY
    index = torch.where(hit, keys & 0xFFFFFFFF, -1)
    depth = torch.where(hit, (keys >> 32).int().view(torch.float32), torch.inf)
    if not xyz.shape[0] or not len(index):
        return depth, torch.full_like(depth, torch.inf), index
    x, y, z = _to_center(xyz, intrinsics, world2cam, index)
    if xyz.dtype != torch.float32:  # the key holds float32 depths; the returned depth has the precision of the input
        depth = torch.where(hit, z, torch.inf)
    return depth, torch.where(hit, x * x + y * y, torch.inf), index


def _insert(keys: Tensor, cell: Tensor, key: Tensor) -> Tensor:
    """Return the k smallest of the keys (h w, k) of every cell and of further pairs of a cell and a key."""
    cells, k = keys.shape
    own = torch.arange(cells, device=keys.device, dtype=torch.int64).repeat_interleave(k)
    cell, key = torch.cat([own, cell]), torch.cat([keys.flatten(), key])
    some = (cell < cells) & (key != EMPTY)
    cell, key = cell[some], key[some]
    order = key.argsort()
    order = order[cell[order].argsort(stable=True)]  # by cell, then by key
    cell, key = cell[order], key[order]
    first = torch.ones_like(cell, dtype=torch.bool)
    first[1:] = (cell[1:] != cell[:-1]) | (key[1:] != key[:-1])  # a disc may come twice to its own cell
    cell, key = cell[first], key[first]
    rank = torch.arange(len(cell), device=keys.device, dtype=torch.int64) - torch.searchsorted(cell, cell)
    kept = rank < k
    result = torch.full_like(keys, EMPTY)
    result[cell[kept], rank[kept]] = key[kept]
    return result


def _to_center(xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far the centers of cells are from the points (V, k, h, w) in them, in columns and rows, and the depths
    of these points."""
    views, _, h, w = index.shape
    points = xyz[index.clamp(min=0)].reshape(views, -1, 3)
    projected = [project(points[v], world2cam[v : v + 1], intrinsics[v : v + 1])[:3] for v in range(views)]
    u, row, depth = (torch.cat(parts).reshape(index.shape) for parts in zip(*projected, strict=True))
    i, j = (torch.arange(n, device=xyz.device, dtype=torch.int64).to(xyz.dtype) + 0.5 for n in (h, w))
    return j - u, i[:, None] - row, depth


def splat_layers_backward_xyz(
    grad_depth: Tensor, grad_distance2: Tensor, xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, index: Tensor
) -> Tensor:
    """Sum the gradients of the points in every layer in (view, layer, cell) order, in float32 (float64 for float64)."""
    hit = index >= 0
    if not len(xyz) or not len(index):
        return xyz.new_zeros(xyz.shape)
    x, y, _ = _to_center(xyz, intrinsics, world2cam, index)
    column = torch.where(hit, -2 * x * grad_distance2, 0)
    row = torch.where(hit, -2 * y * grad_distance2, 0)
    grads = _project_backward(xyz, intrinsics, world2cam, index, column, row, grad_depth)
    return add_in_order(xyz.new_zeros(xyz.shape), index[hit], torch.stack(grads, -1)[hit])


def _project_backward(
    xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, index: Tensor, grad_u: Tensor, grad_v: Tensor, grad_z: Tensor
) -> list[Tensor]:
    """Return the gradients of x, y and z from those of the projections (V, k, h, w)."""
    m = world2cam.to(xyz.dtype)[..., None, None, None]
    fx, fy = (intrinsics.to(xyz.dtype)[:, a, a, None, None, None] for a in (0, 1))
    x, y, z = xyz[index.clamp(min=0)].unbind(-1)
    px, py, pz = (((m[:, a, 0] * x + m[:, a, 1] * y) + m[:, a, 2] * z) + m[:, a, 3] for a in range(3))
    inverse = 1 / pz
    gx, gy = (grad_u * fx) * inverse, (grad_v * fy) * inverse
    gz = -(gx * (px * inverse) + gy * (py * inverse))
    return [((m[:, 0, a] * gx + m[:, 1, a] * gy) + m[:, 2, a] * gz) + m[:, 2, a] * grad_z for a in range(3)]
