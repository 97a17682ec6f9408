# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of ``splat`` in mode "bilinear", with the same bits as ``splat_bilinear_reference.py``.

Sums run in the order of the points. Therefore every pair of a point and one of its four taps is stored with the cell
that blends it, and a stable sort brings the pairs of a cell together. All 4 N pairs of a view are stored, because only
the device knows which are used: about 40 bytes each during the sort. ``_PAIRS_BATCH`` limits the number of views that
are processed together.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import INFINITY, launch, narrow, project, widen
from ...backend import INTERPRETED
from ...cameras import NEAR
from . import splat_bilinear_reference as reference
from .splat_cells_triton import (
    EMPTY,
    atomic_min_key,
    bilinear_position,
    bilinear_tap,
    blend_limit,
    depth_key,
    key_depth,
    key_index,
)

_POINTS = tl.constexpr(256 if INTERPRETED else 128)  # points per program
_CELLS = tl.constexpr(128 if INTERPRETED else 16)  # cells per program
_MIN_WEIGHT = tl.constexpr(reference.MIN_WEIGHT)
_PAIRS_BATCH = 1 << 22


@triton.jit
def _taps(xyz, valid, intrinsics, world2cam, point, n, h, w, near):
    """Return the depth (P, 1) of points (P,); for their taps (P, 4) whether they are used, their cells and weights."""
    in_bounds = point < n
    x = tl.load(xyz + 3 * point, mask=in_bounds, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=in_bounds, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=in_bounds, other=0.0)
    if valid is not None:
        in_bounds = in_bounds & (tl.load(valid + point, mask=in_bounds, other=0) != 0)
    u, v, depth, _ = project(world2cam, intrinsics, x, y, z)
    some, i, j, s, t = bilinear_position(u, v, depth, near, h, w)
    some = some & in_bounds
    tap = tl.arange(0, 4)[None, :]
    active, cell, weight = bilinear_tap(some[:, None], i[:, None], j[:, None], s[:, None], t[:, None], tap, h, w)
    return depth[:, None], active, cell, weight


@triton.jit
def _view_and_points(n):
    """Return the view and the points of a program; both are folded into axis 0, the only one without a low limit."""
    blocks = tl.cdiv(n, _POINTS)
    view = (tl.program_id(0) // blocks).to(tl.int64)
    return view, (tl.program_id(0) % blocks).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)


@triton.jit(do_not_specialize=["n", "h", "w"])
def splat_bilinear_rasterize_kernel(xyz, valid, intrinsics, world2cam, keys, n, h, w, near):
    """Rasterize ``_POINTS`` points into the z-buffer of one view."""
    view, point = _view_and_points(n)
    depth, active, cell, _ = _taps(xyz, valid, intrinsics + 9 * view, world2cam + 12 * view, point, n, h, w, near)
    atomic_min_key(keys + view * h * w, cell, depth_key(depth, point[:, None]), active)


@triton.jit(do_not_specialize=["n", "first_view", "views", "h", "w"])
def splat_bilinear_pairs_kernel(
    xyz, valid, intrinsics, world2cam, keys, pairs, weights, n, first_view, views, h, w, band, near
):
    """Write the cells ``pairs`` (views, N, 4), numbered across views, and the weights of all taps.

    Taps that no cell blends get the cell after the last.
    """
    slot, point = _view_and_points(n)
    view = first_view + slot
    depth, active, cell, weight = _taps(xyz, valid, intrinsics + 9 * view, world2cam + 12 * view, point, n, h, w, near)
    key = tl.load(keys + view * h * w + cell, mask=active, other=EMPTY)
    active = active & (depth <= blend_limit(key_depth(key), band))
    at = (slot * n + point[:, None]) * 4 + tl.arange(0, 4)[None, :]
    in_bounds = (point < n)[:, None]
    tl.store(pairs + at, tl.where(active, slot.to(tl.int32) * h * w + cell, views * h * w), mask=in_bounds)
    tl.store(weights + at, weight, mask=in_bounds)


@triton.jit(do_not_specialize=["n", "first_view", "tiles"])
def splat_bilinear_blend_kernel(
    keys, weights, order, starts, rows, features, depth, index, weight, n, first_view, tiles, cells,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Blend ``_CELLS`` cells of a view and write their depth, index, weight and features."""
    slot = tl.program_id(0).to(tl.int64) // tiles
    view = first_view + slot
    cell = tl.program_id(0) % tiles * _CELLS + tl.arange(0, _CELLS)
    in_bounds = cell < cells
    first = tl.load(starts + slot * cells + cell, mask=in_bounds, other=0)
    count = tl.load(starts + slot * cells + cell + 1, mask=in_bounds, other=0) - first
    max_count = tl.max(count, 0)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total, blended = tl.zeros((_CELLS,), tl.float32), tl.zeros((_CELLS, BLOCK), tl.float32)
    k = tl.zeros((), tl.int64)
    while k < max_count:
        pair = tl.load(order + first + k, mask=k < count, other=0)
        tap_weight = tl.load(weights + pair, mask=k < count, other=0.0)
        row_at = rows + (pair // 4 % n)[:, None] * CHANNELS + c[None, :]
        row = widen(tl.load(row_at, mask=(k < count)[:, None] & (c < CHANNELS)[None, :], other=0.0))
        total += tap_weight
        blended += tap_weight[:, None] * row
        k += 1
    covered = total > _MIN_WEIGHT
    blended = tl.where(covered[:, None], tl.div_rn(blended, tl.where(covered, total, 1.0)[:, None]), 0.0)
    at = view * cells + cell
    if tl.program_id(1) == 0:
        key = tl.load(keys + at, mask=in_bounds, other=EMPTY)
        tl.store(depth + at, tl.where(covered, key_depth(key), INFINITY), mask=in_bounds)
        tl.store(index + at, tl.where(covered, key_index(key), -1), mask=in_bounds)
        tl.store(weight + at, tl.where(covered, total, 0.0), mask=in_bounds)
    map_at = features + (view * CHANNELS + c)[:, None] * cells + cell[None, :]
    values = tl.trans(narrow(blended, features.dtype.element_ty))
    tl.store(map_at, values, mask=(c < CHANNELS)[:, None] & in_bounds[None, :])


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
    n, views, channels = xyz.shape[0], world2cam.shape[0], features.shape[1]
    maps = features.new_empty(views, channels, h, w)
    depth, weight = xyz.new_empty(views, h, w), xyz.new_empty(views, h, w)
    index = xyz.new_empty(views, h, w, dtype=torch.int64)
    keys = torch.full_like(index, EMPTY.value)
    flags = None if valid is None else valid.contiguous().view(torch.uint8)
    points = (xyz.contiguous(), flags, intrinsics.contiguous(), world2cam.contiguous())
    blocks, tiles = triton.cdiv(n, _POINTS.value), triton.cdiv(h * w, _CELLS.value)
    launch(splat_bilinear_rasterize_kernel, (blocks * views,), xyz.device, *points, keys, n, h, w, float(near))
    rows, block = features.contiguous(), min(64, triton.next_power_of_2(max(channels, 1)))
    view_batch = max(1, min(_PAIRS_BATCH // (4 * max(n, 1)), (2**31 - 1) // (h * w) - 1))
    for first in range(0, views, view_batch):
        count = min(view_batch, views - first)
        pairs = torch.empty(count * n * 4, dtype=torch.int32, device=xyz.device)
        weights = xyz.new_empty(count * n * 4)
        args = (keys, pairs, weights, n, first, count, h, w, float(band), float(near))
        launch(splat_bilinear_pairs_kernel, (blocks * count,), xyz.device, *points, *args)
        pairs, order = pairs.sort(stable=True)
        cells = torch.arange(count * h * w + 1, dtype=torch.int32, device=xyz.device)
        launch(
            splat_bilinear_blend_kernel,
            (count * tiles, max(triton.cdiv(channels, block), 1)),
            xyz.device,
            *(keys, weights, order, torch.searchsorted(pairs, cells), rows, maps, depth, index, weight),
            *(n, first, tiles, h * w),
            CHANNELS=channels,
            BLOCK=block,
        )
    return maps, depth, index, weight
