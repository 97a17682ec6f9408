# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of ``splat`` with ``k``, with the same bits as ``splat_layers_reference.py``.

Layer after layer is a z-buffer that takes only keys above those of the layer in front of it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import INFINITY, launch, project, transform_row
from ...backend import INTERPRETED
from ...cameras import NEAR
from .splat_backward_triton import by_point, entries_of
from .splat_cells_triton import EMPTY, key_depth, key_index
from .splat_triton import rasterize

_ENTRIES = tl.constexpr(256 if INTERPRETED else 128)  # entries of (V, k, h, w) per program
_POINTS = tl.constexpr(256 if INTERPRETED else 128)  # points per program


@triton.jit
def _to_center(u, v, cell, w):
    """Return how far the center of a cell is from (u, v), in columns and rows."""
    return ((cell % w).to(tl.float32) + 0.5) - u, ((cell // w).to(tl.float32) + 0.5) - v


@triton.jit(do_not_specialize=["entries", "views", "layers", "h", "w"])
def splat_layers_resolve_kernel(
    keys, xyz, intrinsics, world2cam, index, depth, distance2, entries, views, layers, h, w
):
    """Turn keys (k, V, h, w) into index, depth and squared distance (V, k, h, w)."""
    entry = tl.program_id(0).to(tl.int64) * _ENTRIES + tl.arange(0, _ENTRIES)
    in_bounds = entry < entries
    cell, layer = entry % (h * w), entry // (h * w) % layers
    view = tl.where(in_bounds, entry // (h * w) // layers, 0)
    key = tl.load(keys + (layer * views + view) * (h * w) + cell, mask=in_bounds, other=EMPTY)
    point = key_index(key)
    hit = in_bounds & (point >= 0)
    x = tl.load(xyz + 3 * point, mask=hit, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=hit, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=hit, other=0.0)
    u, v, _, _ = project(world2cam + 12 * view, intrinsics + 9 * view, x, y, z)
    dx, dy = _to_center(u, v, cell, w)
    tl.store(index + entry, point, mask=in_bounds)
    tl.store(depth + entry, key_depth(key), mask=in_bounds)
    tl.store(distance2 + entry, tl.where(hit, dx * dx + dy * dy, INFINITY), mask=in_bounds)


@triton.jit(do_not_specialize=["points", "layers", "h", "w"])
def splat_layers_backward_xyz_kernel(
    grad_depth, grad_distance2, xyz, intrinsics, world2cam, order, starts, sums, points, layers, h, w
):
    """Sum the gradients of the entries (V, k, h, w) of every point."""
    point = tl.program_id(0).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    in_bounds = point < points
    x = tl.load(xyz + 3 * point, mask=in_bounds, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=in_bounds, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=in_bounds, other=0.0)
    gx, gy, gz = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    first, count = entries_of(starts, point, points)
    max_count = tl.max(count, 0)
    k = tl.zeros((), tl.int64)
    while k < max_count:
        active = k < count
        entry = tl.load(order + first + k, mask=active, other=0)
        pose, pinhole = world2cam + entry // (h * w) // layers * 12, intrinsics + entry // (h * w) // layers * 9
        u, v, _, inverse = project(pose, pinhole, x, y, z)
        dx, dy = _to_center(u, v, entry % (h * w), w)
        by_distance2 = tl.load(grad_distance2 + entry, mask=active, other=0.0)
        by_depth = tl.load(grad_depth + entry, mask=active, other=0.0)
        across = ((-2.0 * dx) * by_distance2 * tl.load(pinhole)) * inverse
        down = ((-2.0 * dy) * by_distance2 * tl.load(pinhole + 4)) * inverse
        lx, ly = transform_row(pose, x, y, z) * inverse, transform_row(pose + 4, x, y, z) * inverse
        ahead = -(across * lx + down * ly)
        gx += tl.where(active, _to_world(pose, across, down, ahead, by_depth), 0.0)
        gy += tl.where(active, _to_world(pose + 1, across, down, ahead, by_depth), 0.0)
        gz += tl.where(active, _to_world(pose + 2, across, down, ahead, by_depth), 0.0)
        k += 1
    tl.store(sums + 3 * point, gx, mask=in_bounds)
    tl.store(sums + 3 * point + 1, gy, mask=in_bounds)
    tl.store(sums + 3 * point + 2, gz, mask=in_bounds)


@triton.jit
def _to_world(column, across, down, ahead, by_depth):
    """Rotate a gradient to one axis of the world and add that of the depth."""
    r0, r1, r2 = tl.load(column), tl.load(column + 4), tl.load(column + 8)
    return ((r0 * across + r1 * down) + r2 * ahead) + r2 * by_depth


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
    views = world2cam.shape[0]
    keys = torch.full((k, views, h, w), EMPTY.value, dtype=torch.int64, device=xyz.device)
    scale, minimum = (extent, 0.0) if extents is None else (1.0, -torch.inf)
    for layer in range(k):
        floors = keys[layer - 1] if layer else None
        rasterize(xyz, intrinsics, world2cam, keys[layer], floors, valid, extents, scale, minimum, radius, near)
    index = xyz.new_empty(views, k, h, w, dtype=torch.int64)
    depth, distance2 = xyz.new_empty(index.shape), xyz.new_empty(index.shape)
    launch(
        splat_layers_resolve_kernel,
        (triton.cdiv(index.numel(), _ENTRIES.value),),
        xyz.device,
        *(keys, xyz.contiguous(), intrinsics.contiguous(), world2cam.contiguous(), index, depth, distance2),
        *(index.numel(), views, k, h, w),
    )
    return depth, distance2, index


def splat_layers_backward_xyz(
    grad_depth: Tensor, grad_distance2: Tensor, xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, index: Tensor
) -> Tensor:
    points, (_, layers, h, w) = xyz.shape[0], index.shape
    out = xyz.new_empty(points, 3)
    launch(
        splat_layers_backward_xyz_kernel,
        (triton.cdiv(points, _POINTS.value) if index.shape[0] else 0,),
        xyz.device,
        *(grad_depth.contiguous(), grad_distance2.contiguous(), xyz.contiguous()),
        *(intrinsics.contiguous(), world2cam.contiguous(), *by_point(index, points), out, points, layers, h, w),
    )
    return out if index.shape[0] else out.zero_()
