# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of ``splat_sum``, with the same bits as ``splat_sum_reference.py``.

A stable sort brings the taps of a cell together, in the order of the points; one lane then sums them.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import launch
from ...backend import INTERPRETED
from .splat_backward_triton import by_point, entries_of
from .splat_cells_triton import bilinear_tap, corners_at

_POINTS = tl.constexpr(256 if INTERPRETED else 128)  # points per program
_CELLS = tl.constexpr(256 if INTERPRETED else 128)  # cells per program


@triton.jit(do_not_specialize=["n", "h", "w"])
def splat_sum_place_kernel(uv, weights, cell_of_tap, scales, n, h, w, center):
    """Compute the cells of the four taps of every point, -1 for none, and their weights, (N, 4) each."""
    point = tl.program_id(0).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    in_bounds = point < n
    u = tl.load(uv + point, mask=in_bounds, other=0.0)
    v = tl.load(uv + n + point, mask=in_bounds, other=0.0)
    weight = tl.full((_POINTS,), 1.0, tl.float32)
    if weights is not None:
        weight = tl.load(weights + point, mask=in_bounds, other=0.0)
    some, i, j, s, t = corners_at(u - center, v - center, in_bounds, h, w)
    for tap in tl.static_range(4):
        touches, cell, share = bilinear_tap(some, i, j, s, t, tap, h, w)
        tl.store(cell_of_tap + 4 * point + tap, tl.where(touches, cell, -1).to(tl.int64), mask=in_bounds)
        tl.store(scales + 4 * point + tap, share * weight, mask=in_bounds)


@triton.jit(do_not_specialize=["n", "channels", "num_cells"])
def splat_sum_taps_kernel(features, scales, order, starts, sums, n, channels, num_cells):
    """Sum one channel of the taps of every cell; after the last channel come the weights."""
    cell = tl.program_id(0).to(tl.int64) * _CELLS + tl.arange(0, _CELLS)
    channel = tl.program_id(1).to(tl.int64)
    first, count = entries_of(starts, cell, num_cells)
    max_count = tl.max(count, 0)
    total = tl.zeros((_CELLS,), tl.float32)
    k = tl.zeros((), tl.int64)
    while k < max_count:
        active = k < count
        tap = tl.load(order + first + k, mask=active, other=0)
        scale = tl.load(scales + tap, mask=active, other=0.0)
        of_channel = active & (channel < channels)
        value = tl.load(features + channel * n + tap // 4, mask=of_channel, other=1.0)
        total = tl.where(active, total + scale * value, total)
        k += 1
    tl.store(sums + channel * num_cells + cell, total, mask=cell < num_cells)


def splat_sum(uv: Tensor, features: Tensor, weights: Tensor | None, h: int, w: int, center: float) -> Tensor:
    channels, n = features.shape
    cells, scales = uv.new_empty(n, 4, dtype=torch.int64), uv.new_empty(n, 4)
    weights = None if weights is None else weights.contiguous()
    args = (uv.contiguous(), weights, cells, scales, n, h, w, float(center))
    launch(splat_sum_place_kernel, (triton.cdiv(n, _POINTS.value),), uv.device, *args)
    out = uv.new_empty(channels + 1, h, w)
    launch(
        splat_sum_taps_kernel,
        (triton.cdiv(h * w, _CELLS.value), channels + 1),
        uv.device,
        *(features.contiguous(), scales, *by_point(cells, h * w), out, n, channels, h * w),
    )
    return out
