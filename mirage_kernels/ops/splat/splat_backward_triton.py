# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The gradients of splat's mode "nearest" in Triton: the reference's bits.

A stable sort brings the cells of a point together, in the (view, cell) order that sums have to run in; then every point
adds up its own. A cell is an ``entry``, its flat place in (V, h, w); those that name no point come before and after all
others in the sorted order, where no point looks.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...backend import INTERPRETED
from ...triton_common import launch, narrow, widen

_POINTS = tl.constexpr(128 if INTERPRETED else 16)  # of one program that sums features
_ROWS = tl.constexpr(256 if INTERPRETED else 128)  # and of one that sums rows of cameras


@triton.jit
def _entries_of(starts, point, points):
    """A point's first entry and how many there are."""
    first = tl.load(starts + point, mask=point < points, other=0)
    return first, tl.load(starts + point + 1, mask=point < points, other=0) - first


@triton.jit(do_not_specialize=["points"])
def splat_sum_features_kernel(grad, order, starts, sums, points, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Sums of rows ``grad`` (V h w, C)."""
    point = tl.program_id(0).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    first, count = _entries_of(starts, point, points)
    most = tl.max(count, 0)
    total = tl.zeros((_POINTS, BLOCK), tl.float32)
    k = tl.zeros((), tl.int64)
    while k < most:
        entry = tl.load(order + first + k, mask=k < count, other=0)
        there = (k < count)[:, None] & (c < CHANNELS)[None, :]
        total += widen(tl.load(grad + entry[:, None] * CHANNELS + c[None, :], mask=there, other=0.0))
        k += 1
    there = (point < points)[:, None] & (c < CHANNELS)[None, :]
    tl.store(sums + point[:, None] * CHANNELS + c[None, :], narrow(total, sums.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["points", "cells"])
def splat_sum_rows_kernel(grad, order, starts, world2cam, sums, points, cells):
    """Sums of the views' third rows, times ``grad`` (V h w,)."""
    point = tl.program_id(0).to(tl.int64) * _ROWS + tl.arange(0, _ROWS)
    first, count = _entries_of(starts, point, points)
    most = tl.max(count, 0)
    x, y, z = tl.zeros((_ROWS,), tl.float32), tl.zeros((_ROWS,), tl.float32), tl.zeros((_ROWS,), tl.float32)
    k = tl.zeros((), tl.int64)
    while k < most:
        mine = k < count
        entry = tl.load(order + first + k, mask=mine, other=0)
        g = tl.load(grad + entry, mask=mine, other=0.0)
        row = world2cam + entry // cells * 12 + 8
        x += g * tl.load(row, mask=mine, other=0.0)
        y += g * tl.load(row + 1, mask=mine, other=0.0)
        z += g * tl.load(row + 2, mask=mine, other=0.0)
        k += 1
    there = point < points
    tl.store(sums + 3 * point, x, mask=there)
    tl.store(sums + 3 * point + 1, y, mask=there)
    tl.store(sums + 3 * point + 2, z, mask=there)


def _by_point(index: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Entries (V h w,) in the order of their points, and where each point's begin, (points + 1,)."""
    point, order = index.flatten().sort(stable=True)
    return order, torch.searchsorted(point, torch.arange(points + 1, device=index.device))


def splat_backward_features(grad_features: Tensor, index: Tensor, num_points: int) -> Tensor:
    channels = grad_features.shape[1]
    out = grad_features.new_empty(num_points, channels)
    block = min(64, triton.next_power_of_2(max(channels, 1)))
    grid = (triton.cdiv(num_points, _POINTS.value), triton.cdiv(channels, block))
    args = (grad_features.movedim(1, -1).contiguous(), *_by_point(index, num_points), out, num_points)
    launch(splat_sum_features_kernel, grid, out.device, *args, CHANNELS=channels, BLOCK=block)
    return out


def splat_backward_xyz(grad_depth: Tensor, index: Tensor, world2cam: Tensor, num_points: int) -> Tensor:
    out = grad_depth.new_empty(num_points, 3)
    args = (grad_depth.contiguous(), *_by_point(index, num_points), world2cam.contiguous(), out, num_points)
    grid = (triton.cdiv(num_points, _ROWS.value),)
    launch(splat_sum_rows_kernel, grid, out.device, *args, index.shape[1] * index.shape[2])
    return out
