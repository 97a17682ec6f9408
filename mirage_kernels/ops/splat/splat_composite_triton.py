# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of ``composite`` and its gradients, with the same bits as ``splat_composite_reference.py``.

Layers are index and weights (V, k, h, w). Indices of points that do not exist count as layers without a point.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import launch, narrow, widen
from ...backend import INTERPRETED
from . import splat_composite_reference as reference
from .splat_backward_triton import by_point, entries_of

_ALPHA, _WEIGHTED = tl.constexpr(reference.ALPHA), tl.constexpr(reference.WEIGHTED)
_NORMALIZED = tl.constexpr(reference.NORMALIZED)
_MIN_TOTAL, _LANES = tl.constexpr(reference.MIN_TOTAL), tl.constexpr(reference.SUM_LANES)

_CELLS = tl.constexpr(128 if INTERPRETED else 32)  # cells per program that moves features
_CELLS_OF_LAYERS = tl.constexpr(128)  # cells per program that moves none: one per thread
_POINTS = tl.constexpr(128 if INTERPRETED else 16)  # points per program


@triton.jit
def _layer(index, weights, at, in_bounds, points):
    """Return the point of a layer, whether it is there, and the weight, 0 if it is not."""
    point = tl.load(index + at, mask=in_bounds, other=-1)
    hit = (point >= 0) & (point < points)
    return point, hit, tl.load(weights + at, mask=hit, other=0.0)


@triton.jit
def _divisor(total):
    return tl.where(total > _MIN_TOTAL, total, _MIN_TOTAL)


@triton.jit(do_not_specialize=["tiles", "points", "layers", "cells"])
def splat_composite_kernel(
    features, index, weights, out, tiles, points, layers, cells,
    MODE: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Blend ``_CELLS`` cells of a view."""
    view = tl.program_id(0).to(tl.int64) // tiles
    cell = tl.program_id(0) % tiles * _CELLS + tl.arange(0, _CELLS)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    in_bounds = cell < cells
    sums = tl.zeros((_CELLS, BLOCK), tl.float32)
    through, total = tl.zeros((_CELLS,), tl.float32) + 1.0, tl.zeros((_CELLS,), tl.float32)
    layer = tl.zeros((), tl.int64)
    while layer < layers:
        at = (view * layers + layer) * cells + cell
        point, hit, weight = _layer(index, weights, at, in_bounds, points)
        scale = through * weight if MODE == _ALPHA else weight
        row_at = features + point[:, None] * CHANNELS + c[None, :]
        row = widen(tl.load(row_at, mask=hit[:, None] & (c < CHANNELS)[None, :], other=0.0))
        sums = tl.where(hit[:, None], sums + scale[:, None] * row, sums)
        through = tl.where(hit, through * (1.0 - weight), through)
        total = tl.where(hit, total + weight, total)
        layer += 1
    if MODE == _NORMALIZED:
        sums = tl.div_rn(sums, tl.broadcast_to(_divisor(total)[:, None], (_CELLS, BLOCK)))
    map_at = out + (view * CHANNELS + c)[:, None] * cells + cell[None, :]
    blended = tl.trans(narrow(sums, out.dtype.element_ty))
    tl.store(map_at, blended, mask=(c < CHANNELS)[:, None] & in_bounds[None, :])


@triton.jit
def _cells_of_layers(cells, all_cells, layers):
    """Return the first entries of a program's cells (V, h, w), and whether these exist."""
    cell = tl.program_id(0).to(tl.int64) * _CELLS_OF_LAYERS + tl.arange(0, _CELLS_OF_LAYERS)
    return cell // cells * layers * cells + cell % cells, cell < all_cells


@triton.jit(do_not_specialize=["points", "layers", "cells", "all_cells"])
def splat_composite_scales_kernel(index, weights, scales, points, layers, cells, all_cells, MODE: tl.constexpr):
    """Write what the features of every layer count in the end."""
    first, in_bounds = _cells_of_layers(cells, all_cells, layers)
    total = tl.zeros((_CELLS_OF_LAYERS,), tl.float32)
    through = total + 1.0
    layer = tl.zeros((), tl.int64)
    while layer < layers:
        _, hit, weight = _layer(index, weights, first + layer * cells, in_bounds, points)
        total = tl.where(hit, total + weight, total)
        if MODE != _NORMALIZED:
            scale = through * weight if MODE == _ALPHA else weight
            tl.store(scales + first + layer * cells, scale, mask=hit)
        through = tl.where(hit, through * (1.0 - weight), through)
        layer += 1
    if MODE == _NORMALIZED:
        layer = tl.zeros((), tl.int64)
        while layer < layers:
            _, hit, weight = _layer(index, weights, first + layer * cells, in_bounds, points)
            tl.store(scales + first + layer * cells, tl.div_rn(weight, _divisor(total)), mask=hit)
            layer += 1


@triton.jit(do_not_specialize=["points", "layers", "cells"])
def splat_composite_backward_features_kernel(
    grad, scales, order, starts, sums, points, layers, cells, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):
    """Sum the rows of ``grad`` (V h w, C), times their scales, over the entries of every point."""
    point = tl.program_id(0).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    first, count = entries_of(starts, point, points)
    max_count = tl.max(count, 0)
    total = tl.zeros((_POINTS, BLOCK), tl.float32)
    k = tl.zeros((), tl.int64)
    while k < max_count:
        active = k < count
        entry = tl.load(order + first + k, mask=active, other=0)
        scale = tl.load(scales + entry, mask=active, other=0.0)
        row_at = grad + (entry // (layers * cells) * cells + entry % cells)[:, None] * CHANNELS + c[None, :]
        row = widen(tl.load(row_at, mask=active[:, None] & (c < CHANNELS)[None, :], other=0.0))
        total = tl.where(active[:, None], total + row * scale[:, None], total)
        k += 1
    in_bounds = (point < points)[:, None] & (c < CHANNELS)[None, :]
    tl.store(sums + point[:, None] * CHANNELS + c[None, :], narrow(total, sums.dtype.element_ty), mask=in_bounds)


@triton.jit(do_not_specialize=["points", "layers", "cells", "all_cells"])
def splat_composite_products_kernel(
    grad, features, index, products, points, layers, cells, all_cells, CHANNELS: tl.constexpr
):
    """Write the products of ``grad`` (V h w, C) with the features of one layer of ``_CELLS`` cells.

    Lane l adds channels l, l + 16, ...; then come the channels that are left, and then the lanes.
    """
    cell = tl.program_id(0).to(tl.int64) * _CELLS + tl.arange(0, _CELLS)
    at = (cell // cells * layers + tl.program_id(1)) * cells + cell % cells
    point = tl.load(index + at, mask=cell < all_cells, other=-1)
    hit = (point >= 0) & (point < points)
    lane = tl.arange(0, _LANES)
    by_lane = tl.zeros((_CELLS, _LANES), tl.float32)
    c = tl.zeros((), tl.int32)
    while c < CHANNELS // _LANES * _LANES:
        of_lane = (c + lane)[None, :]
        g = widen(tl.load(grad + cell[:, None] * CHANNELS + of_lane, mask=hit[:, None], other=0.0))
        by_lane += g * widen(tl.load(features + point[:, None] * CHANNELS + of_lane, mask=hit[:, None], other=0.0))
        c += _LANES
    total = tl.zeros((_CELLS,), tl.float32)
    while c < CHANNELS:
        g = widen(tl.load(grad + cell * CHANNELS + c, mask=hit, other=0.0))
        total += g * widen(tl.load(features + point * CHANNELS + c, mask=hit, other=0.0))
        c += 1
    for of_sum in tl.static_range(_LANES):
        total += tl.sum(tl.where(lane[None, :] == of_sum, by_lane, 0.0), 1)
    tl.store(products + at, total, mask=cell < all_cells)


@triton.jit(do_not_specialize=["points", "layers", "cells", "all_cells"])
def splat_composite_backward_weights_kernel(
    products, index, weights, out, points, layers, cells, all_cells, MODE: tl.constexpr
):
    """Turn the products of the gradient with the features of every layer into the gradients of the weights.

    A thread has one cell, so it may read what it wrote.
    """
    first, in_bounds = _cells_of_layers(cells, all_cells, layers)
    total, product_sum = tl.zeros((_CELLS_OF_LAYERS,), tl.float32), tl.zeros((_CELLS_OF_LAYERS,), tl.float32)
    through, behind = total + 1.0, tl.zeros((_CELLS_OF_LAYERS,), tl.float32)
    layer = tl.zeros((), tl.int64)
    while layer < layers:
        at = first + layer * cells
        _, hit, weight = _layer(index, weights, at, in_bounds, points)
        product = tl.load(products + at, mask=hit, other=0.0)
        total = tl.where(hit, total + weight, total)
        product_sum = tl.where(hit, product_sum + weight * product, product_sum)
        tl.store(out + at, tl.where(hit, through if MODE == _ALPHA else product, 0.0), mask=in_bounds)
        through = tl.where(hit, through * (1.0 - weight), through)
        layer += 1
    divisor = _divisor(total)
    mean = tl.where(total > _MIN_TOTAL, tl.div_rn(product_sum, divisor), 0.0)
    if MODE != _WEIGHTED:
        while layer > 0:
            layer -= 1
            at = first + layer * cells
            _, hit, weight = _layer(index, weights, at, in_bounds, points)
            product = tl.load(products + at, mask=hit, other=0.0)
            if MODE == _ALPHA:
                tl.store(out + at, tl.load(out + at, mask=hit, other=0.0) * (product - behind), mask=hit)
                behind = tl.where(hit, weight * product + (1.0 - weight) * behind, behind)
            else:
                tl.store(out + at, tl.div_rn(product - mean, divisor), mask=hit)


def _rows(grad: Tensor) -> Tensor:
    """Return maps (V, C, h, w) as rows (V, h, w, C)."""
    return grad.movedim(1, -1).contiguous()


def composite(features: Tensor, index: Tensor, weights: Tensor, mode: int) -> Tensor:
    (points, channels), (views, layers, h, w) = features.shape, index.shape
    out = features.new_empty(views, channels, h, w)
    tiles, block = triton.cdiv(h * w, _CELLS.value), min(64, triton.next_power_of_2(max(channels, 1)))
    launch(
        splat_composite_kernel,
        (views * tiles, triton.cdiv(channels, block)),
        out.device,
        *(features.contiguous(), index.contiguous(), weights.contiguous(), out, tiles, points, layers, h * w),
        MODE=mode,
        CHANNELS=channels,
        BLOCK=block,
    )
    return out


def composite_backward_features(grad: Tensor, index: Tensor, weights: Tensor, num_points: int, mode: int) -> Tensor:
    (_, channels, h, w), layers = grad.shape, index.shape[1]
    out, scales = grad.new_empty(num_points, channels), weights.new_empty(weights.shape)
    cells, block = grad.shape[0] * h * w, min(64, triton.next_power_of_2(max(channels, 1)))
    launch(
        splat_composite_scales_kernel,
        (triton.cdiv(cells, _CELLS_OF_LAYERS.value),),
        out.device,
        *(index.contiguous(), weights.contiguous(), scales, num_points, layers, h * w, cells),
        MODE=mode,
    )
    launch(
        splat_composite_backward_features_kernel,
        (triton.cdiv(num_points, _POINTS.value), triton.cdiv(channels, block)),
        out.device,
        *(_rows(grad), scales, *by_point(index, num_points), out, num_points, layers, h * w),
        CHANNELS=channels,
        BLOCK=block,
    )
    return out


def composite_backward_weights(grad: Tensor, features: Tensor, index: Tensor, weights: Tensor, mode: int) -> Tensor:
    (views, layers, h, w), (points, channels) = index.shape, features.shape
    products, out, cells = weights.new_empty(weights.shape), weights.new_empty(weights.shape), views * h * w
    sizes = (points, layers, h * w, cells)
    index = index.contiguous()
    launch(
        splat_composite_products_kernel,
        (triton.cdiv(cells, _CELLS.value), layers),
        out.device,
        *(_rows(grad), features.contiguous(), index, products, *sizes),
        CHANNELS=channels,
    )
    launch(
        splat_composite_backward_weights_kernel,
        (triton.cdiv(cells, _CELLS_OF_LAYERS.value),),
        out.device,
        *(products, index, weights.contiguous(), out, *sizes),
        MODE=mode,
    )
    return out
