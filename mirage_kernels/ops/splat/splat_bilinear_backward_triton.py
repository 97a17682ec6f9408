# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The gradients of splat's mode "bilinear" in Triton; those of features have the reference's bits. A point meets its
cells in (view, cell) order, which is the order sums have to run in: nothing has to be sorted."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...backend import INTERPRETED
from ...triton_common import INFINITY, launch, narrow, project, transform_row, widen
from .splat_cells_triton import blend_limit, corners_of, touch

_POINTS = tl.constexpr(256 if INTERPRETED else 16)  # of one program


@triton.jit
def _load_points(xyz, valid, n):
    """Their indices, coordinates, and whether they are drawn at all."""
    point = tl.program_id(0).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    there = point < n
    x = tl.load(xyz + 3 * point, mask=there, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=there, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=there, other=0.0)
    if valid is not None:
        there = there & (tl.load(valid + point, mask=there, other=0) != 0)
    return point, x, y, z, there


@triton.jit
def _mixed_by(some, i, j, s, t, z, corner, first, depth, weight, band, h, w):
    """Of one corner of every point: whether its cell mixes the point, which of all cells it is, its weight and the
    cell's. ``first`` is the view's first cell."""
    mine, cell, share = touch(some, i, j, s, t, corner, h, w)
    at = first + cell
    mine = mine & (z <= blend_limit(tl.load(depth + at, mask=mine, other=INFINITY), band))
    return mine, at, share, tl.load(weight + at, mask=mine, other=1.0)


@triton.jit(do_not_specialize=["n", "views", "h", "w"])
def splat_bilinear_spread_kernel(
    grad, xyz, intrinsics, world2cam, valid, depth, weight, sums, n, views, h, w, band,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The features' gradient: rows ``grad`` (V h w, C) by the points' shares."""
    point, x, y, z, there = _load_points(xyz, valid, n)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((_POINTS, BLOCK), tl.float32)
    view = tl.zeros((), tl.int64)
    while view < views:
        u, v, to_point, _ = project(world2cam + 12 * view, intrinsics + 9 * view, x, y, z)
        some, i, j, s, t = corners_of(u, v, to_point, h, w)
        some = some & there
        if tl.max(some.to(tl.int32), 0) != 0:
            for corner in tl.static_range(4):
                mine, at, share, whole = _mixed_by(
                    some, i, j, s, t, to_point, corner, view * h * w, depth, weight, band, h, w
                )
                row_at = grad + at[:, None] * CHANNELS + c[None, :]
                row = widen(tl.load(row_at, mask=mine[:, None] & (c < CHANNELS)[None, :], other=0.0))
                total += tl.where(mine, tl.div_rn(share, whole), 0.0)[:, None] * row
        view += 1
    mine = (point < n)[:, None] & (c < CHANNELS)[None, :]
    tl.store(sums + point[:, None] * CHANNELS + c[None, :], narrow(total, sums.dtype.element_ty), mask=mine)


@triton.jit(do_not_specialize=["n", "views", "h", "w"])
def splat_bilinear_pull_kernel(
    grad, shown, rows, xyz, intrinsics, world2cam, valid, depth, weight, sums, n, views, h, w, band,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The points' gradient through their weights: a cell's by a weight is grad * (row - shown) / sum of weights."""
    point, x, y, z, there = _load_points(xyz, valid, n)
    gx, gy, gz = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    view = tl.zeros((), tl.int64)
    while view < views:
        pinhole, pose = intrinsics + 9 * view, world2cam + 12 * view
        u, v, to_point, inverse = project(pose, pinhole, x, y, z)
        some, i, j, s, t = corners_of(u, v, to_point, h, w)
        some = some & there
        if tl.max(some.to(tl.int32), 0) != 0:
            by_u, by_v = tl.zeros_like(x), tl.zeros_like(x)
            for corner in tl.static_range(4):
                mine, at, _, whole = _mixed_by(
                    some, i, j, s, t, to_point, corner, view * h * w, depth, weight, band, h, w
                )
                change = tl.div_rn(_along(grad, shown, rows, mine, at, point, CHANNELS, BLOCK), whole)
                by_u += (change if corner % 2 == 1 else -change) * (t if corner // 2 == 1 else 1.0 - t)
                by_v += (change if corner // 2 == 1 else -change) * (s if corner % 2 == 1 else 1.0 - s)
            across, down = by_u * tl.load(pinhole) * inverse, by_v * tl.load(pinhole + 4) * inverse
            lx, ly = transform_row(pose, x, y, z) * inverse, transform_row(pose + 4, x, y, z) * inverse
            ahead = -(across * lx + down * ly)
            gx += tl.where(some, _turned_back(pose, across, down, ahead), 0.0)
            gy += tl.where(some, _turned_back(pose + 1, across, down, ahead), 0.0)
            gz += tl.where(some, _turned_back(pose + 2, across, down, ahead), 0.0)
        view += 1
    mine = point < n
    tl.store(sums + 3 * point, gx, mask=mine)
    tl.store(sums + 3 * point + 1, gy, mask=mine)
    tl.store(sums + 3 * point + 2, gz, mask=mine)


@triton.jit
def _along(grad, shown, rows, mine, at, point, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """sum(grad * (row - shown)) over all channels. The difference comes first, for it is small where the sum is
    divided by a small weight."""
    total = tl.zeros((_POINTS,), tl.float32)
    first = tl.zeros((), tl.int32)
    while first < CHANNELS:
        c = first + tl.arange(0, BLOCK)
        there = mine[:, None] & (c < CHANNELS)[None, :]
        by = widen(tl.load(grad + at[:, None] * CHANNELS + c[None, :], mask=there, other=0.0))
        map_row = widen(tl.load(shown + at[:, None] * CHANNELS + c[None, :], mask=there, other=0.0))
        row = widen(tl.load(rows + point[:, None] * CHANNELS + c[None, :], mask=there, other=0.0))
        total += tl.sum(by * (row - map_row), 1)
        first += BLOCK
    return total


@triton.jit
def _turned_back(column, x, y, z):
    """One axis of the world of a camera's (x, y, z); ``column`` points at the first of the pose's three numbers."""
    return (tl.load(column) * x + tl.load(column + 4) * y) + tl.load(column + 8) * z


def _rows(maps: Tensor) -> Tensor:
    return maps.movedim(1, -1).contiguous()


def _bytes(flags: Tensor | None) -> Tensor | None:
    return None if flags is None else flags.contiguous().view(torch.uint8)


def splat_bilinear_backward_features(
    grad_features: Tensor,
    xyz: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    valid: Tensor | None,
    depth: Tensor,
    weight: Tensor,
    band: float,
) -> Tensor:
    (views, channels, h, w), n = grad_features.shape, xyz.shape[0]
    out = grad_features.new_empty(n, channels)
    block = min(64, triton.next_power_of_2(max(channels, 1)))
    launch(
        splat_bilinear_spread_kernel,
        (triton.cdiv(n, _POINTS.value), triton.cdiv(channels, block)),
        xyz.device,
        *(_rows(grad_features), xyz.contiguous(), intrinsics.contiguous(), world2cam.contiguous(), _bytes(valid)),
        *(depth.contiguous(), weight.contiguous(), out, n, views, h, w, float(band)),
        CHANNELS=channels,
        BLOCK=block,
    )
    return out


def splat_bilinear_backward_xyz(
    grad_features: Tensor,
    blended: Tensor,
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    valid: Tensor | None,
    depth: Tensor,
    weight: Tensor,
    band: float,
) -> Tensor:
    (views, channels, h, w), n = grad_features.shape, xyz.shape[0]
    out = xyz.new_empty(n, 3)
    launch(
        splat_bilinear_pull_kernel,
        (triton.cdiv(n, _POINTS.value),),
        xyz.device,
        *(_rows(grad_features), _rows(blended), features.contiguous(), xyz.contiguous(), intrinsics.contiguous()),
        *(world2cam.contiguous(), _bytes(valid), depth.contiguous(), weight.contiguous(), out),
        *(n, views, h, w, float(band)),
        CHANNELS=channels,
        BLOCK=min(64, triton.next_power_of_2(max(channels, 1))),
    )
    return out
