# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""splat's mode "bilinear" in Triton: the reference's bits. The letters are those of ``splat_bilinear_reference.py``.

Sums run in the order of the points, so every pair of a point and one of its four corners is written down with the cell
that mixes it, and a stable sort brings a cell's pairs together. There are 4 N of them a view whether or not they count,
because only the device knows how many do: about 40 bytes each while they are sorted, for as many views at once as
``_PAIRS_AT_ONCE`` allows.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...backend import INTERPRETED
from ...triton_common import INFINITY, launch, narrow, project, widen
from . import splat_bilinear_reference as reference
from .splat_cells_triton import EMPTY, blend_limit, corners_of, depth_key, key_depth, key_index, lower, touch

_POINTS = tl.constexpr(256 if INTERPRETED else 128)  # of one program that draws them
_CELLS = tl.constexpr(128 if INTERPRETED else 16)  # of one program that mixes them
_LEAST_WEIGHT = tl.constexpr(reference.LEAST_WEIGHT)
_PAIRS_AT_ONCE = 1 << 22


@triton.jit
def _touched(xyz, valid, intrinsics, world2cam, point, n, h, w):
    """Depth (P, 1) of points (P,); whether they touch their corners, the cells and the weights, (P, 4)."""
    there = point < n
    x = tl.load(xyz + 3 * point, mask=there, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=there, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=there, other=0.0)
    if valid is not None:
        there = there & (tl.load(valid + point, mask=there, other=0) != 0)
    u, v, depth, _ = project(world2cam, intrinsics, x, y, z)
    some, i, j, s, t = corners_of(u, v, depth, h, w)
    some = some & there
    corner = tl.arange(0, 4)[None, :]
    mine, cell, weight = touch(some[:, None], i[:, None], j[:, None], s[:, None], t[:, None], corner, h, w)
    return depth[:, None], mine, cell, weight


@triton.jit
def _view_and_points(n):
    """Of a program: programs of a view follow one another along axis 0, the only one that takes many."""
    blocks = tl.cdiv(n, _POINTS)
    view = (tl.program_id(0) // blocks).to(tl.int64)
    return view, (tl.program_id(0) % blocks).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)


@triton.jit(do_not_specialize=["n", "h", "w"])
def splat_bilinear_draw_kernel(xyz, valid, intrinsics, world2cam, keys, n, h, w):
    """The nearest point of every cell: ``_POINTS`` points into one view."""
    view, point = _view_and_points(n)
    depth, mine, cell, _ = _touched(xyz, valid, intrinsics + 9 * view, world2cam + 12 * view, point, n, h, w)
    lower(keys + view * h * w, cell, depth_key(depth, point[:, None]), mine)


@triton.jit(do_not_specialize=["n", "first_view", "views", "h", "w"])
def splat_bilinear_pairs_kernel(
    xyz, valid, intrinsics, world2cam, keys, pairs, weights, n, first_view, views, h, w, band
):
    """Cells ``pairs`` (views, N, 4), counted on from view to view, and weights of the points' corners; the cell after
    the last where a corner is mixed by none."""
    place, point = _view_and_points(n)
    view = first_view + place
    depth, mine, cell, weight = _touched(xyz, valid, intrinsics + 9 * view, world2cam + 12 * view, point, n, h, w)
    key = tl.load(keys + view * h * w + cell, mask=mine, other=EMPTY)
    mine = mine & (depth <= blend_limit(key_depth(key), band))
    at = (place * n + point[:, None]) * 4 + tl.arange(0, 4)[None, :]
    there = (point < n)[:, None]
    tl.store(pairs + at, tl.where(mine, place.to(tl.int32) * h * w + cell, views * h * w), mask=there)
    tl.store(weights + at, weight, mask=there)


@triton.jit(do_not_specialize=["n", "first_view", "tiles"])
def splat_bilinear_mix_kernel(
    keys, weights, order, starts, rows, features, depth, index, weight, n, first_view, tiles, cells,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Depth, index, weight and features of ``_CELLS`` cells of a view."""
    place = tl.program_id(0).to(tl.int64) // tiles
    view = first_view + place
    cell = tl.program_id(0) % tiles * _CELLS + tl.arange(0, _CELLS)
    there = cell < cells
    first = tl.load(starts + place * cells + cell, mask=there, other=0)
    count = tl.load(starts + place * cells + cell + 1, mask=there, other=0) - first
    most = tl.max(count, 0)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total, mixed = tl.zeros((_CELLS,), tl.float32), tl.zeros((_CELLS, BLOCK), tl.float32)
    k = tl.zeros((), tl.int64)
    while k < most:
        pair = tl.load(order + first + k, mask=k < count, other=0)
        share = tl.load(weights + pair, mask=k < count, other=0.0)
        row_at = rows + (pair // 4 % n)[:, None] * CHANNELS + c[None, :]
        row = widen(tl.load(row_at, mask=(k < count)[:, None] & (c < CHANNELS)[None, :], other=0.0))
        total += share
        mixed += share[:, None] * row
        k += 1
    known = total > _LEAST_WEIGHT
    mixed = tl.where(known[:, None], tl.div_rn(mixed, tl.where(known, total, 1.0)[:, None]), 0.0)
    at = view * cells + cell
    if tl.program_id(1) == 0:
        key = tl.load(keys + at, mask=there, other=EMPTY)
        tl.store(depth + at, tl.where(known, key_depth(key), INFINITY), mask=there)
        tl.store(index + at, tl.where(known, key_index(key), -1), mask=there)
        tl.store(weight + at, tl.where(known, total, 0.0), mask=there)
    map_at = features + (view * CHANNELS + c)[:, None] * cells + cell[None, :]
    values = tl.trans(narrow(mixed, features.dtype.element_ty))
    tl.store(map_at, values, mask=(c < CHANNELS)[:, None] & there[None, :])


def splat_bilinear(
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    band: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    n, views, channels = xyz.shape[0], world2cam.shape[0], features.shape[1]
    out = features.new_empty(views, channels, h, w)
    depth, weight = xyz.new_empty(views, h, w), xyz.new_empty(views, h, w)
    index = xyz.new_empty(views, h, w, dtype=torch.int64)
    keys = torch.full_like(index, EMPTY.value)
    flags = None if valid is None else valid.contiguous().view(torch.uint8)
    points = (xyz.contiguous(), flags, intrinsics.contiguous(), world2cam.contiguous())
    blocks, tiles = triton.cdiv(n, _POINTS.value), triton.cdiv(h * w, _CELLS.value)
    launch(splat_bilinear_draw_kernel, (blocks * views,), xyz.device, *points, keys, n, h, w)
    rows, block = features.contiguous(), min(64, triton.next_power_of_2(max(channels, 1)))
    at_once = max(1, min(_PAIRS_AT_ONCE // (4 * max(n, 1)), (2**31 - 1) // (h * w) - 1))
    for first in range(0, views, at_once):
        count = min(at_once, views - first)
        pairs = torch.empty(count * n * 4, dtype=torch.int32, device=xyz.device)
        weights = xyz.new_empty(count * n * 4)
        args = (keys, pairs, weights, n, first, count, h, w, float(band))
        launch(splat_bilinear_pairs_kernel, (blocks * count,), xyz.device, *points, *args)
        pairs, order = pairs.sort(stable=True)
        cells = torch.arange(count * h * w + 1, dtype=torch.int32, device=xyz.device)
        launch(
            splat_bilinear_mix_kernel,
            (count * tiles, max(triton.cdiv(channels, block), 1)),
            xyz.device,
            *(keys, weights, order, torch.searchsorted(pairs, cells), rows, out, depth, index, weight),
            *(n, first, tiles, h * w),
            CHANNELS=channels,
            BLOCK=block,
        )
    return out, depth, index, weight
