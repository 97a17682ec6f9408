# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of ``splat_offsets`` and ``splat_blend``, with the same bits as ``splat_blend_reference.py``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import INFINITY, is_finite, launch, narrow, project, widen
from ...backend import INTERPRETED
from .splat_blend_reference import MIN_WEIGHT

_CELLS = tl.constexpr(256 if INTERPRETED else 128)  # cells per program
_CHANNELS = 16  # channels per program, at most


@triton.jit(do_not_specialize=["n", "h", "w"])
def splat_offsets_kernel(xyz, index, intrinsics, world2cam, offsets, n, h, w):
    """Write where the points of ``_CELLS`` cells of a view lie. Views and blocks of cells are folded into axis 0."""
    cells = h * w
    blocks = tl.cdiv(cells, _CELLS)
    v = (tl.program_id(0) // blocks).to(tl.int64)
    cell = tl.program_id(0) % blocks * _CELLS + tl.arange(0, _CELLS)
    active = cell < cells
    point = tl.load(index + v * cells + cell, mask=active, other=-1)
    some = (point >= 0) & (point < n)
    x = tl.load(xyz + 3 * point, mask=some, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=some, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=some, other=0.0)
    across, down, _, _ = project(world2cam + 12 * v, intrinsics + 9 * v, x, y, z)
    at = offsets + 2 * v * cells + cell
    tl.store(at, tl.where(some, across - ((cell % w).to(tl.float32) + 0.5), 0.0), mask=active)
    tl.store(at + cells, tl.where(some, down - ((cell // w).to(tl.float32) + 0.5), 0.0), mask=active)


@triton.jit(do_not_specialize=["h", "w"])
def splat_blend_kernel(
    features, offsets, depth, out, h, w, band, min_weight, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):
    """Blend ``BLOCK`` channels of ``_CELLS`` cells of a view. Views and blocks of cells are folded into axis 0."""
    cells = h * w
    blocks = tl.cdiv(cells, _CELLS)
    v = (tl.program_id(0) // blocks).to(tl.int64)
    cell = tl.program_id(0) % blocks * _CELLS + tl.arange(0, _CELLS)
    active = cell < cells
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    own_depth = tl.load(depth + v * cells + cell, mask=active, other=INFINITY)
    maps = features + (v * CHANNELS + c.to(tl.int64))[:, None] * cells + cell[None, :]
    total, sums = tl.zeros((_CELLS,), tl.float32), tl.zeros((BLOCK, _CELLS), tl.float32)
    for n in tl.static_range(9):
        down, across = n // 3 - 1, n % 3 - 1
        i, j = cell // w + down, cell % w + across
        on_grid = active & (i >= 0) & (i < h) & (j >= 0) & (j < w)
        at = offsets + 2 * v * cells + cell + down * w + across
        x = tl.load(at, mask=on_grid, other=1.0)
        y = tl.load(at + cells, mask=on_grid, other=1.0)
        z = tl.load(depth + v * cells + cell + down * w + across, mask=on_grid, other=INFINITY)
        counts = on_grid & (tl.abs(x) <= 0.5) & (tl.abs(y) <= 0.5) & is_finite(own_depth) & is_finite(z)
        counts = counts & (tl.abs(z - own_depth) <= own_depth * band)
        x, y = tl.abs(x + across), tl.abs(y + down)
        weight = tl.where(counts & (x < 1.0) & (y < 1.0), (1.0 - x) * (1.0 - y), 0.0)
        total += weight
        some = (weight > 0)[None, :] & (c < CHANNELS)[:, None]
        values = widen(tl.load(maps + down * w + across, mask=some, other=0.0))
        sums += tl.where(some, values * weight[None, :], 0.0)
    in_bounds = active[None, :] & (c < CHANNELS)[:, None]
    own = widen(tl.load(maps, mask=in_bounds, other=0.0))
    inverse = tl.div_rn(1.0, tl.where(total > min_weight, total, 1.0))
    blended = tl.where((total > min_weight)[None, :], sums * inverse[None, :], own)
    to = out + (v * CHANNELS + c.to(tl.int64))[:, None] * cells + cell[None, :]
    tl.store(to, narrow(blended, out.dtype.element_ty), mask=in_bounds)


def splat_offsets(xyz: Tensor, index: Tensor, intrinsics: Tensor, world2cam: Tensor) -> Tensor:
    views, h, w = index.shape
    offsets = xyz.new_empty(views, 2, h, w)
    tensors = (tensor.contiguous() for tensor in (xyz, index, intrinsics, world2cam))
    grid = (views * triton.cdiv(h * w, _CELLS.value),)
    launch(splat_offsets_kernel, grid, xyz.device, *tensors, offsets, xyz.shape[0], h, w)
    return offsets


def splat_blend(features: Tensor, offsets: Tensor, depth: Tensor, band: float) -> Tensor:
    views, channels, h, w = features.shape
    out = torch.empty_like(features, memory_format=torch.contiguous_format)
    block = min(_CHANNELS, triton.next_power_of_2(max(channels, 1)))
    launch(
        splat_blend_kernel,
        (views * triton.cdiv(h * w, _CELLS.value), triton.cdiv(channels, block)),
        features.device,
        *(features.contiguous(), offsets.contiguous(), depth.contiguous(), out, h, w, float(band), MIN_WEIGHT),
        CHANNELS=channels,
        BLOCK=block,
    )
    return out
