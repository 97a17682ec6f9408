# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of the gradients of ``splat`` in mode "nearest", with the same bits as ``splat_reference.py``.

A stable sort of the index map brings the cells of a point together, in the (view, cell) order of the sums. One lane
then sums the cells of a point. A cell is an ``entry``, its flat position in (V, h, w). Entries whose index is out of
range are sorted to the ends, outside the range of every point.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import launch, narrow, widen
from ...backend import INTERPRETED

_POINTS = tl.constexpr(128 if INTERPRETED else 16)  # points per program that sums features
_ROWS = tl.constexpr(256 if INTERPRETED else 128)  # points per program that sums rows of cameras


@triton.jit
def entries_of(starts, point, points):
    """Return the first entry of a point and the number of its entries."""
    first = tl.load(starts + point, mask=point < points, other=0)
    return first, tl.load(starts + point + 1, mask=point < points, other=0) - first


@triton.jit(do_not_specialize=["points"])
def splat_backward_features_kernel(grad, order, starts, sums, points, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Sum the rows of ``grad`` (V h w, C) of every point."""
    point = tl.program_id(0).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    first, count = entries_of(starts, point, points)
    max_count = tl.max(count, 0)
    total = tl.zeros((_POINTS, BLOCK), tl.float32)
    k = tl.zeros((), tl.int64)
    while k < max_count:
        entry = tl.load(order + first + k, mask=k < count, other=0)
        in_bounds = (k < count)[:, None] & (c < CHANNELS)[None, :]
        total += widen(tl.load(grad + entry[:, None] * CHANNELS + c[None, :], mask=in_bounds, other=0.0))
        k += 1
    in_bounds = (point < points)[:, None] & (c < CHANNELS)[None, :]
    tl.store(sums + point[:, None] * CHANNELS + c[None, :], narrow(total, sums.dtype.element_ty), mask=in_bounds)


@triton.jit(do_not_specialize=["points", "cells"])
def splat_backward_xyz_kernel(grad, order, starts, world2cam, sums, points, cells):
    """Sum ``grad`` (V h w,) times the third row of the view's pose over the cells of every point."""
    point = tl.program_id(0).to(tl.int64) * _ROWS + tl.arange(0, _ROWS)
    first, count = entries_of(starts, point, points)
    max_count = tl.max(count, 0)
    x, y, z = tl.zeros((_ROWS,), tl.float32), tl.zeros((_ROWS,), tl.float32), tl.zeros((_ROWS,), tl.float32)
    k = tl.zeros((), tl.int64)
    while k < max_count:
        active = k < count
        entry = tl.load(order + first + k, mask=active, other=0)
        g = tl.load(grad + entry, mask=active, other=0.0)
        row = world2cam + entry // cells * 12 + 8
        x += g * tl.load(row, mask=active, other=0.0)
        y += g * tl.load(row + 1, mask=active, other=0.0)
        z += g * tl.load(row + 2, mask=active, other=0.0)
        k += 1
    in_bounds = point < points
    tl.store(sums + 3 * point, x, mask=in_bounds)
    tl.store(sums + 3 * point + 1, y, mask=in_bounds)
    tl.store(sums + 3 * point + 2, z, mask=in_bounds)


def by_point(index: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Return the entries (V h w,) sorted by point, and the start of every point's entries (points + 1,)."""
    point, order = index.flatten().sort(stable=True)
    return order, torch.searchsorted(point, torch.arange(points + 1, device=index.device, dtype=torch.int64))


def splat_backward_features(grad_features: Tensor, index: Tensor, num_points: int) -> Tensor:
    channels = grad_features.shape[1]
    out = grad_features.new_empty(num_points, channels)
    block = min(64, triton.next_power_of_2(max(channels, 1)))
    grid = (triton.cdiv(num_points, _POINTS.value), triton.cdiv(channels, block))
    args = (grad_features.movedim(1, -1).contiguous(), *by_point(index, num_points), out, num_points)
    launch(splat_backward_features_kernel, grid, out.device, *args, CHANNELS=channels, BLOCK=block)
    return out


def splat_backward_xyz(grad_depth: Tensor, index: Tensor, world2cam: Tensor, num_points: int) -> Tensor:
    out = grad_depth.new_empty(num_points, 3)
    args = (grad_depth.contiguous(), *by_point(index, num_points), world2cam.contiguous(), out, num_points)
    grid = (triton.cdiv(num_points, _ROWS.value),)
    launch(splat_backward_xyz_kernel, grid, out.device, *args, index.shape[1] * index.shape[2])
    return out
