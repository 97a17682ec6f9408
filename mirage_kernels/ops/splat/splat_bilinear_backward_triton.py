# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of the gradients of ``splat`` in mode "bilinear".

The gradient of features has the same bits as ``splat_bilinear_reference.py``. Every point visits its cells in
(view, cell) order, which is the order of the sums, so nothing has to be sorted.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import INFINITY, launch, narrow, project, transform_row, widen
from ...backend import INTERPRETED
from ...cameras import NEAR
from .splat_cells_triton import bilinear_position, bilinear_tap, blend_limit

_POINTS = tl.constexpr(256 if INTERPRETED else 16)  # points per program


@triton.jit
def _load_points(xyz, valid, n):
    """Return indices and coordinates of the points of a program, and whether they are valid."""
    point = tl.program_id(0).to(tl.int64) * _POINTS + tl.arange(0, _POINTS)
    in_bounds = point < n
    x = tl.load(xyz + 3 * point, mask=in_bounds, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=in_bounds, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=in_bounds, other=0.0)
    if valid is not None:
        in_bounds = in_bounds & (tl.load(valid + point, mask=in_bounds, other=0) != 0)
    return point, x, y, z, in_bounds


@triton.jit
def _blended_tap(some, i, j, s, t, z, tap, first, depth, weight, band, h, w):
    """Return, for one tap of every point: whether its cell blends the point, the cell, the weight of the tap and the
    sum of the weights of the cell. ``first`` is the first cell of the view."""
    active, cell, tap_weight = bilinear_tap(some, i, j, s, t, tap, h, w)
    at = first + cell
    active = active & (z <= blend_limit(tl.load(depth + at, mask=active, other=INFINITY), band))
    return active, at, tap_weight, tl.load(weight + at, mask=active, other=1.0)


@triton.jit(do_not_specialize=["n", "views", "h", "w"])
def splat_bilinear_backward_features_kernel(
    grad, xyz, intrinsics, world2cam, valid, depth, weight, sums, n, views, h, w, band, near,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the gradient of features: the sum of rows ``grad`` (V h w, C) times the normalized weights."""
    point, x, y, z, in_bounds = _load_points(xyz, valid, n)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((_POINTS, BLOCK), tl.float32)
    view = tl.zeros((), tl.int64)
    while view < views:
        u, v, to_point, _ = project(world2cam + 12 * view, intrinsics + 9 * view, x, y, z)
        some, i, j, s, t = bilinear_position(u, v, to_point, near, h, w)
        some = some & in_bounds
        if tl.max(some.to(tl.int32), 0) != 0:
            for tap in tl.static_range(4):
                active, at, tap_weight, weight_sum = _blended_tap(
                    some, i, j, s, t, to_point, tap, view * h * w, depth, weight, band, h, w
                )
                row_at = grad + at[:, None] * CHANNELS + c[None, :]
                row = widen(tl.load(row_at, mask=active[:, None] & (c < CHANNELS)[None, :], other=0.0))
                total += tl.where(active, tl.div_rn(tap_weight, weight_sum), 0.0)[:, None] * row
        view += 1
    active = (point < n)[:, None] & (c < CHANNELS)[None, :]
    tl.store(sums + point[:, None] * CHANNELS + c[None, :], narrow(total, sums.dtype.element_ty), mask=active)


@triton.jit(do_not_specialize=["n", "views", "h", "w"])
def splat_bilinear_backward_xyz_kernel(
    grad, maps, rows, xyz, intrinsics, world2cam, valid, depth, weight, sums, n, views, h, w, band, near,
    CHANNELS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the gradient of points through their weights: d loss / d weight = grad * (row - map) / sum of weights."""
    point, x, y, z, in_bounds = _load_points(xyz, valid, n)
    gx, gy, gz = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    view = tl.zeros((), tl.int64)
    while view < views:
        pinhole, pose = intrinsics + 9 * view, world2cam + 12 * view
        u, v, to_point, inverse = project(pose, pinhole, x, y, z)
        some, i, j, s, t = bilinear_position(u, v, to_point, near, h, w)
        some = some & in_bounds
        if tl.max(some.to(tl.int32), 0) != 0:
            by_u, by_v = tl.zeros_like(x), tl.zeros_like(x)
            for tap in tl.static_range(4):
                active, at, _, weight_sum = _blended_tap(
                    some, i, j, s, t, to_point, tap, view * h * w, depth, weight, band, h, w
                )
                change = tl.div_rn(_weight_gradient(grad, maps, rows, active, at, point, CHANNELS, BLOCK), weight_sum)
                by_u += (change if tap % 2 == 1 else -change) * (t if tap // 2 == 1 else 1.0 - t)
                by_v += (change if tap // 2 == 1 else -change) * (s if tap % 2 == 1 else 1.0 - s)
            across, down = by_u * tl.load(pinhole) * inverse, by_v * tl.load(pinhole + 4) * inverse
            lx, ly = transform_row(pose, x, y, z) * inverse, transform_row(pose + 4, x, y, z) * inverse
            ahead = -(across * lx + down * ly)
            gx += tl.where(some, _rotate_to_world(pose, across, down, ahead), 0.0)
            gy += tl.where(some, _rotate_to_world(pose + 1, across, down, ahead), 0.0)
            gz += tl.where(some, _rotate_to_world(pose + 2, across, down, ahead), 0.0)
        view += 1
    active = point < n
    tl.store(sums + 3 * point, gx, mask=active)
    tl.store(sums + 3 * point + 1, gy, mask=active)
    tl.store(sums + 3 * point + 2, gz, mask=active)


@triton.jit
def _weight_gradient(grad, maps, rows, active, at, point, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Return sum(grad * (row - map)) over all channels.

    The difference is computed before the product, because it is small where the sum is divided by a small weight.
    """
    total = tl.zeros((_POINTS,), tl.float32)
    first = tl.zeros((), tl.int32)
    while first < CHANNELS:
        c = first + tl.arange(0, BLOCK)
        in_bounds = active[:, None] & (c < CHANNELS)[None, :]
        by = widen(tl.load(grad + at[:, None] * CHANNELS + c[None, :], mask=in_bounds, other=0.0))
        map_row = widen(tl.load(maps + at[:, None] * CHANNELS + c[None, :], mask=in_bounds, other=0.0))
        row = widen(tl.load(rows + point[:, None] * CHANNELS + c[None, :], mask=in_bounds, other=0.0))
        total += tl.sum(by * (row - map_row), 1)
        first += BLOCK
    return total


@triton.jit
def _rotate_to_world(column, x, y, z):
    """Rotate (x, y, z) from the camera to one axis of the world; ``column`` points to the first number of that axis."""
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
    near: float = NEAR,
) -> Tensor:
    (views, channels, h, w), n = grad_features.shape, xyz.shape[0]
    result = grad_features.new_empty(n, channels)
    block = min(64, triton.next_power_of_2(max(channels, 1)))
    launch(
        splat_bilinear_backward_features_kernel,
        (triton.cdiv(n, _POINTS.value), triton.cdiv(channels, block)),
        xyz.device,
        *(_rows(grad_features), xyz.contiguous(), intrinsics.contiguous(), world2cam.contiguous(), _bytes(valid)),
        *(depth.contiguous(), weight.contiguous(), result, n, views, h, w, float(band), float(near)),
        CHANNELS=channels,
        BLOCK=block,
    )
    return result


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
    near: float = NEAR,
) -> Tensor:
    (views, channels, h, w), n = grad_features.shape, xyz.shape[0]
    result = xyz.new_empty(n, 3)
    launch(
        splat_bilinear_backward_xyz_kernel,
        (triton.cdiv(n, _POINTS.value),),
        xyz.device,
        *(_rows(grad_features), _rows(blended), features.contiguous(), xyz.contiguous(), intrinsics.contiguous()),
        *(world2cam.contiguous(), _bytes(valid), depth.contiguous(), weight.contiguous(), result),
        *(n, views, h, w, float(band), float(near)),
        CHANNELS=channels,
        BLOCK=min(64, triton.next_power_of_2(max(channels, 1))),
    )
    return result
