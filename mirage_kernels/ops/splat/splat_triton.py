# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""splat's mode "nearest" in Triton: the reference's bits. The letters are those of ``splat_reference.py``.

A z-buffer of packed (depth, index) keys is lowered by 64-bit atomics; then every cell takes the features of its winner.
Boxes are not looked at: they only tell where points cannot be.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...backend import INTERPRETED
from ...triton_common import inside, launch, project
from . import splat_reference as reference
from .splat_cells_triton import (
    EMPTY,
    cells_around,
    covered_cells,
    depth_key,
    disc_covers,
    key_depth,
    key_index,
    lower,
    own_cell,
)

POINT, SQUARE, DISC = (tl.constexpr(i) for i in range(3))

_POINTS = tl.constexpr(256 if INTERPRETED else 128)  # of one program, which is one warp
_FEW = tl.constexpr(16)  # cells of a point that its own lane draws
_CELLS = tl.constexpr(64)  # of one program that fills them
_PROGRAMS = 1024  # that keep a large GPU busy


@triton.jit(do_not_specialize=["n", "views", "at_once", "h", "w"])
def splat_draw_kernel(
    xyz, valid, extents, intrinsics, world2cam, keys, n, views, at_once, h, w, extent, least_extent, radius,
    SHAPE: tl.constexpr,
):  # fmt: skip
    """``_POINTS`` points into ``at_once`` views."""
    point = tl.program_id(0).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    there = point < n
    x = tl.load(xyz + 3 * point, mask=there, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=there, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=there, other=0.0)
    if extents is None:
        size = extent
    else:
        size = tl.load(extents + point, mask=there, other=0.0)
        size = tl.where(size > least_extent, size, least_extent) * extent
    if valid is not None:
        there = there & (tl.load(valid + point, mask=there, other=0) != 0)
    view = tl.program_id(1) * at_once
    last = tl.minimum(view + at_once, views)
    while view < last:
        at, pinhole = view.to(tl.int64), intrinsics + 9 * view.to(tl.int64)
        u, v, depth, inverse = project(world2cam + 12 * at, pinhole, x, y, z)
        own = there & inside(u, v, depth, h, w)
        key, cells = depth_key(depth, point), keys + at * h * w
        if SHAPE != SQUARE:
            i, j = own_cell(u, v, own)
            lower(cells, i * w + j, key, own)
        if SHAPE == SQUARE:
            i0, j0, width, area = covered_cells(u, v, depth, inverse, pinhole, size, own, h, w)
            _draw_cells(cells, key, i0, j0, width, tl.where(there, area, 0), u, v, radius, w, SHAPE)
        if SHAPE == DISC:
            i0, j0, width, area = cells_around(u, v, depth, radius, h, w)
            _draw_cells(cells, key, i0, j0, width, tl.where(there, area, 0), u, v, radius, w, SHAPE)
        view += 1


@triton.jit
def _draw_cells(keys, key, i0, j0, width, area, u, v, radius, w, SHAPE: tl.constexpr):
    """Every lane draws the first ``_FEW`` cells of its point; what is left of larger ones all lanes draw together, one
    point after the other."""
    most = tl.max(area, 0)
    step = 0
    while step < tl.minimum(most, _FEW):
        _draw_cell(keys, key, i0 + step // width, j0 + step % width, step < area, u, v, radius, w, SHAPE)
        step += 1
    lane = tl.arange(0, _POINTS)
    while most > _FEW:
        chosen = lane == tl.argmax(area, 0)
        the_key, the_u, the_v = _of(chosen, key), _of(chosen, u), _of(chosen, v)
        the_i0, the_j0, the_width = _of(chosen, i0), _of(chosen, j0), _of(chosen, width)
        step = tl.zeros((), tl.int32) + _FEW
        while step < most:
            k = step + lane
            i, j = the_i0 + k // the_width, the_j0 + k % the_width
            _draw_cell(keys, the_key, i, j, k < most, the_u, the_v, radius, w, SHAPE)
            step += _POINTS
        area = tl.where(chosen, 0, area)
        most = tl.max(area, 0)


@triton.jit
def _draw_cell(keys, key, i, j, mine, u, v, radius, w, SHAPE: tl.constexpr):
    if SHAPE == DISC:
        mine = mine & disc_covers(u, v, radius, i, j)
    lower(keys, i * w + j, key, mine)


@triton.jit
def _of(chosen, values):
    """The one that is chosen."""
    return tl.sum(tl.where(chosen, values, tl.zeros_like(values)), 0)


@triton.jit(do_not_specialize=["tiles"])
def splat_resolve_kernel(keys, rows, features, depth, index, tiles, cells, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Depth, index and features of ``_CELLS`` cells of a view. ``cells`` is h w: whether it divides by 16 is worth a
    kernel of its own, with wide stores."""
    view = tl.program_id(0).to(tl.int64) // tiles
    cell = tl.program_id(0) % tiles * _CELLS + tl.arange(0, _CELLS)
    there = cell < cells
    key = tl.load(keys + view * cells + cell, mask=there, other=EMPTY)
    point = key_index(key)
    if tl.program_id(1) == 0:
        tl.store(depth + view * cells + cell, key_depth(key), mask=there)
        tl.store(index + view * cells + cell, point, mask=there)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row_at = rows + point[:, None] * CHANNELS + c[None, :]
    values = tl.load(row_at, mask=(point >= 0)[:, None] & (c < CHANNELS)[None, :], other=0)
    map_at = features + (view * CHANNELS + c)[:, None] * cells + cell[None, :]
    tl.store(map_at, tl.trans(values), mask=(c < CHANNELS)[:, None] & there[None, :])


def _bits(features: Tensor) -> Tensor:
    """Features are copied, not interpreted."""
    return features.contiguous().view({2: torch.int16, 4: torch.int32}[features.element_size()])


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
    n, views, channels = xyz.shape[0], world2cam.shape[0], features.shape[1]
    out = features.new_empty(views, channels, h, w)
    depth, index = xyz.new_empty(views, h, w), xyz.new_empty(views, h, w, dtype=torch.int64)
    keys = torch.full_like(index, reference.EMPTY)
    shape = SQUARE if extents is not None or extent > 0 else DISC if radius > 0 else POINT
    blocks = triton.cdiv(n, _POINTS.value)
    at_once = min(max(blocks * views // _PROGRAMS, 1), max(views, 1))
    launch(
        splat_draw_kernel,
        (blocks, triton.cdiv(views, at_once)),
        xyz.device,
        xyz.contiguous(),
        None if valid is None else valid.contiguous().view(torch.uint8),
        None if extents is None else extents.contiguous(),
        *(intrinsics.contiguous(), world2cam.contiguous(), keys),
        *(n, views, at_once, h, w, float(extent), float(least_extent), float(radius)),
        SHAPE=shape.value,
        num_warps=1,
    )
    tiles, block = triton.cdiv(h * w, _CELLS.value), min(64, triton.next_power_of_2(max(channels, 1)))
    launch(
        splat_resolve_kernel,
        (views * tiles, max(triton.cdiv(channels, block), 1)),
        xyz.device,
        *(keys, _bits(features), _bits(out), depth, index, tiles, h * w),
        CHANNELS=channels,
        BLOCK=block,
    )
    return out, depth, index


splat_plain = splat
