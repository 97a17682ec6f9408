# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of ``splat`` in mode "nearest", with the same bits as ``splat_reference.py``.

Points update a z-buffer of packed (depth, index) keys by 64-bit atomics; then every cell copies the features of its
winner. Bounding boxes are ignored.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import GRID_LIMITS, launch, on_grid, project
from ...backend import INTERPRETED
from ...cameras import NEAR
from . import splat_reference as reference
from .splat_cells_triton import (
    EMPTY,
    atomic_min_key,
    cell_of_point,
    cells_around,
    covered_cells,
    depth_key,
    disc_covers,
    in_front,
    key_depth,
    key_index,
)
from .splat_clouds_reference import count_clouds, has_own_masks

POINT, SQUARE, DISC, OWN_DISC = (tl.constexpr(i) for i in range(4))  # discs of one radius, and of one each

_POINTS = tl.constexpr(256 if INTERPRETED else 128)  # points per program, which is one warp
_CELLS_PER_LANE = tl.constexpr(16)  # cells of a point that its own lane rasterizes
_CELLS = tl.constexpr(64)  # cells per program that resolves the z-buffer
_PROGRAMS = 1024  # number of programs that occupies a large GPU


@triton.jit
def first_row(offsets, cloud, rows, size):
    """Return where the rows of a cloud begin: at an offset, or after ``cloud`` clouds of ``size`` rows."""
    row = cloud * size
    if offsets is not None:
        row = tl.minimum(tl.maximum(tl.load(offsets + cloud), 0), rows)
    return row


@triton.jit(
    do_not_specialize=["first_group", "num_rows", "n", "of_cloud", "of_group", "mask_rows", "view_batch", "h", "w"]
)
def splat_rasterize_kernel(
    xyz, valid, extents, offsets, intrinsics, world2cam, keys, floors, first_group, num_rows, n, of_cloud, of_group,
    mask_rows, view_batch, h, w, extent, min_extent, radius, near, SHAPE: tl.constexpr,
):  # fmt: skip
    """Rasterize ``_POINTS`` points into the z-buffers of ``view_batch`` views.

    Programs along axis 2 take groups of ``of_group`` views, which see the same points: those of cloud
    ``view // of_cloud``. ``mask_rows`` is the number of points in the mask of a view, 0 if views share masks. With
    ``floors``, which has the shape of ``keys``, a cell takes only keys that are larger than its floor.
    """
    view = (tl.program_id(2) + first_group) * of_group
    cloud = (view // of_cloud).to(tl.int64)
    first = first_row(offsets, cloud, num_rows, n)
    count = first_row(offsets, cloud + 1, num_rows, n) - first
    point = tl.program_id(0).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    in_bounds = point < count
    start = xyz + 3 * first
    x = tl.load(start + 3 * point, mask=in_bounds, other=0.0)
    y = tl.load(start + 3 * point + 1, mask=in_bounds, other=0.0)
    z = tl.load(start + 3 * point + 2, mask=in_bounds, other=0.0)
    if extents is None:
        size = radius if SHAPE == DISC else extent
    else:
        size = tl.load(extents + first + point, mask=in_bounds, other=0.0)
        if SHAPE == OWN_DISC:
            size = tl.where(size > 0, size, 0.0)
            size = tl.where(size < radius, size, radius)
        else:
            size = tl.where(size > min_extent, size, min_extent) * extent
    if valid is not None:
        flags = valid + tl.where(mask_rows > 0, view.to(tl.int64) * mask_rows, first)
        in_bounds = in_bounds & (tl.load(flags + point, mask=in_bounds, other=0) != 0)
    last = tl.minimum(view + (tl.program_id(1) + 1) * view_batch, view + of_group)
    view += tl.program_id(1) * view_batch
    last = tl.where(tl.program_id(0).to(tl.int64) * _POINTS < count, last, view)  # programs beyond a short cloud
    while view < last:
        at, pinhole = view.to(tl.int64), intrinsics + 9 * view.to(tl.int64)
        u, v, depth, inverse = project(world2cam + 12 * at, pinhole, x, y, z)
        rendered = in_bounds & in_front(depth, near)
        in_cell = rendered & on_grid(u, v, h, w)
        key, cells, above = depth_key(depth, point), keys + at * h * w, floors
        if floors is not None:
            above = floors + at * h * w
        if SHAPE != SQUARE:
            i, j = cell_of_point(u, v, in_cell)
            _add_key(cells, above, i * w + j, key, in_cell)
        if SHAPE == SQUARE:
            i0, j0, width, area = covered_cells(u, v, inverse, pinhole, size, rendered, in_cell, h, w)
            _rasterize_cells(cells, above, key, i0, j0, width, area, u, v, size, w, SHAPE)
        if SHAPE >= DISC:
            i0, j0, width, area = cells_around(u, v, size, rendered, h, w)
            _rasterize_cells(cells, above, key, i0, j0, width, area, u, v, size, w, SHAPE)
        view += 1


@triton.jit
def _rasterize_cells(keys, floors, key, i0, j0, width, area, u, v, radius, w, SHAPE: tl.constexpr):
    """Rasterize points with many cells.

    Every lane rasterizes the first ``_CELLS_PER_LANE`` cells of its point. The remaining cells of larger points are
    distributed over all lanes, point by point.
    """
    max_area = tl.max(area, 0)
    step = 0
    while step < tl.minimum(max_area, _CELLS_PER_LANE):
        _rasterize_cell(keys, floors, key, i0 + step // width, j0 + step % width, step < area, u, v, radius, w, SHAPE)
        step += 1
    lane = tl.arange(0, _POINTS)
    while max_area > _CELLS_PER_LANE:
        chosen = lane == tl.argmax(area, 0)
        large_key, large_u, large_v = _select(chosen, key), _select(chosen, u), _select(chosen, v)
        large_radius = radius
        if SHAPE == OWN_DISC:
            large_radius = _select(chosen, radius)
        large_i0, large_j0, large_width = _select(chosen, i0), _select(chosen, j0), _select(chosen, width)
        step = tl.zeros((), tl.int32) + _CELLS_PER_LANE
        while step < max_area:
            k = step + lane
            i, j = large_i0 + k // large_width, large_j0 + k % large_width
            _rasterize_cell(keys, floors, large_key, i, j, k < max_area, large_u, large_v, large_radius, w, SHAPE)
            step += _POINTS
        area = tl.where(chosen, 0, area)
        max_area = tl.max(area, 0)


@triton.jit
def _rasterize_cell(keys, floors, key, i, j, active, u, v, radius, w, SHAPE: tl.constexpr):
    if SHAPE >= DISC:
        active = active & disc_covers(u, v, radius, i, j)
    _add_key(keys, floors, i * w + j, key, active)


@triton.jit
def _add_key(keys, floors, cell, key, active):
    if floors is not None:
        active = active & (key > tl.load(floors + cell, mask=active, other=0))
    atomic_min_key(keys, cell, key, active)


@triton.jit
def _select(chosen, values):
    """Return the chosen one of the values."""
    return tl.sum(tl.where(chosen, values, tl.zeros_like(values)), 0)


@triton.jit(do_not_specialize=["tiles", "num_rows", "n", "of_cloud"])
def splat_resolve_kernel(
    keys, rows, offsets, features, depth, index, tiles, cells, num_rows, n, of_cloud, CHANNELS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write depth, index and features of ``_CELLS`` cells of a view.

    ``cells`` = h w is specialized: a multiple of 16 compiles to a kernel with vector stores.
    """
    view = tl.program_id(0).to(tl.int64) // tiles
    cell = tl.program_id(0) % tiles * _CELLS + tl.arange(0, _CELLS)
    in_bounds = cell < cells
    key = tl.load(keys + view * cells + cell, mask=in_bounds, other=EMPTY)
    point = key_index(key)
    if tl.program_id(1) == 0:
        tl.store(depth + view * cells + cell, key_depth(key), mask=in_bounds)
        tl.store(index + view * cells + cell, point, mask=in_bounds)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = first_row(offsets, view // of_cloud, num_rows, n) + point
    row_at = rows + row[:, None] * CHANNELS + c[None, :]
    values = tl.load(row_at, mask=(point >= 0)[:, None] & (c < CHANNELS)[None, :], other=0)
    map_at = features + (view * CHANNELS + c)[:, None] * cells + cell[None, :]
    tl.store(map_at, tl.trans(values), mask=(c < CHANNELS)[:, None] & in_bounds[None, :])


def _bits(features: Tensor) -> Tensor:
    """Reinterpret features as integers, so that they are copied bit for bit."""
    return features.contiguous().view({2: torch.int16, 4: torch.int32}[features.element_size()])


def rasterize(
    xyz: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    keys: Tensor,
    floors: Tensor | None,
    valid: Tensor | None,
    extents: Tensor | None,
    extent: float,
    min_extent: float,
    radius: float,
    near: float,
    offsets: Tensor | None = None,
) -> None:
    """Rasterize points, of one cloud or several, into ``keys`` (V, h, w), by minimum.

    With ``floors`` (V, h, w), a cell takes only keys above its floor. Other arguments are those of ``splat_clouds``.
    """
    views, h, w = keys.shape
    clouds, own_masks = max(count_clouds(xyz, offsets), 1), has_own_masks(xyz, valid)
    rows = math.prod(xyz.shape[:-1])
    n, of_cloud = rows // clouds, max(views // clouds, 1)
    of_group = 1 if own_masks else of_cloud
    shape = SQUARE if extents is not None or extent > 0 else POINT
    if radius > 0:
        shape = DISC if extents is None else OWN_DISC
    blocks, groups = triton.cdiv(n if offsets is None else rows, _POINTS.value), views // of_group
    view_batch = min(max(blocks * views // _PROGRAMS, 1), of_group)
    tensors = (
        xyz.contiguous(),
        None if valid is None else valid.contiguous().view(torch.uint8),
        None if extents is None else extents.contiguous(),
        *(offsets, intrinsics.contiguous(), world2cam.contiguous(), keys, floors),
    )
    for first_group in range(0, groups, GRID_LIMITS[2]):
        launch(
            splat_rasterize_kernel,
            (blocks, triton.cdiv(of_group, view_batch), min(groups - first_group, GRID_LIMITS[2])),
            xyz.device,
            *tensors,
            *(first_group, rows, n, of_cloud, of_group, n if own_masks else 0, view_batch, h, w),
            *(float(extent), float(min_extent), float(radius), float(near)),
            SHAPE=shape.value,
            num_warps=1,
        )


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
    shape = (valid, extents, None, extent, min_extent, radius, near)
    return rasterize_and_resolve(xyz, features, intrinsics, world2cam, h, w, *shape)


def rasterize_and_resolve(
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    extents: Tensor | None,
    offsets: Tensor | None,
    extent: float,
    min_extent: float,
    radius: float,
    near: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Launch the kernels, for one cloud or several, whose arguments are those of ``splat_clouds``."""
    views, channels = world2cam.shape[0], features.shape[-1]
    rows, clouds = math.prod(xyz.shape[:-1]), max(count_clouds(xyz, offsets), 1)
    n, of_cloud = rows // clouds, max(views // clouds, 1)
    offsets = None if offsets is None else offsets.contiguous()
    out = features.new_empty(views, channels, h, w)
    depth, index = xyz.new_empty(views, h, w), xyz.new_empty(views, h, w, dtype=torch.int64)
    keys = torch.full_like(index, reference.EMPTY)
    rasterize(xyz, intrinsics, world2cam, keys, None, valid, extents, extent, min_extent, radius, near, offsets)
    tiles, block = triton.cdiv(h * w, _CELLS.value), min(64, triton.next_power_of_2(max(channels, 1)))
    launch(
        splat_resolve_kernel,
        (views * tiles, max(triton.cdiv(channels, block), 1)),
        xyz.device,
        *(keys, _bits(features), offsets, _bits(out), depth, index, tiles, h * w, rows, n, of_cloud),
        CHANNELS=channels,
        BLOCK=block,
    )
    return out, depth, index


splat_plain = splat
