# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of ``unproject``, with the same bits as ``unproject_reference.py``.

One warp pools and unprojects four cells; cells of up to 16x16 pixels are held in registers. Features are transposed in
tiles, so that loads and stores are contiguous.
"""

from __future__ import annotations

import struct

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import is_finite, launch, transform_row
from ...backend import INTERPRETED
from . import unproject_reference as reference
from .unproject_pool_triton import CELLS, SIDE, locate, pool, taps

_BILINEAR = tl.constexpr(reference.BILINEAR)
_TILE = tl.constexpr(64)  # cells per tile of features
_PIXELS = tl.constexpr(1024 if INTERPRETED else 128)  # pixels per program that gathers gradients


@triton.jit(do_not_specialize=["n", "height", "width", "h", "w", "max_rows", "max_columns", "min_valid", "max_masked"])
def unproject_lift_kernel(
    depth, mask, intrinsics, cam2world, xyz, footprint, valid, n, height, width, h, w, max_rows, max_columns,
    min_valid, max_masked, POOLING: tl.constexpr, FITS: tl.constexpr,
):  # fmt: skip
    """Write points, footprints and valid of ``CELLS`` cells."""
    cell = tl.program_id(0).to(tl.int64) * CELLS + tl.arange(0, CELLS)
    active = cell < n
    b, i, j = locate(tl.minimum(cell, n - 1), h, w)
    z, _ = pool(
        depth, mask, b, i, j, height, width, h, w, max_rows, max_columns, min_valid, max_masked, POOLING, FITS, False
    )
    across, down, inverse = _ray(intrinsics + 9 * b, i, j)
    x, y = across * z, down * z
    pose = cam2world + 16 * b
    px, py, pz = transform_row(pose, x, y, z), transform_row(pose + 4, x, y, z), transform_row(pose + 8, x, y, z)
    size = z * inverse
    valid_cell = (z > 0) & is_finite(px) & is_finite(py) & is_finite(pz) & is_finite(size)
    tl.store(xyz + 3 * cell, tl.where(valid_cell, px, 0.0), mask=active)
    tl.store(xyz + 3 * cell + 1, tl.where(valid_cell, py, 0.0), mask=active)
    tl.store(xyz + 3 * cell + 2, tl.where(valid_cell, pz, 0.0), mask=active)
    tl.store(footprint + cell, tl.where(valid_cell, size, 0.0), mask=active)
    tl.store(valid + cell, valid_cell.to(tl.uint8), mask=active)


@triton.jit
def _ray(k, i, j):
    """Return x and y, at depth 1, of the ray through the center of each cell, and 1 / fx."""
    inverse = tl.div_rn(1.0, tl.load(k))
    across = ((j.to(tl.float32) + 0.5) - tl.load(k + 2)) * inverse
    down = ((i.to(tl.float32) + 0.5) - tl.load(k + 5)) * tl.div_rn(1.0, tl.load(k + 4))
    return across, down, inverse


@triton.jit(do_not_specialize=["tiles"])
def unproject_features_kernel(
    maps, rows, valid, tiles, cells, CHANNELS: tl.constexpr, BLOCK: tl.constexpr, TO_MAPS: tl.constexpr
):
    """Copy a tile of (B, C, h w) to (N, C), or back; cells that are not valid get zeros.

    ``cells`` = h w is specialized: a multiple of 16 compiles to a kernel with vector loads.
    """
    b = tl.program_id(0).to(tl.int64) // tiles
    cell = tl.program_id(0) % tiles * _TILE + tl.arange(0, _TILE)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    valid_cell = tl.load(valid + b * cells + cell, mask=cell < cells, other=0) != 0
    map_at = maps + b * CHANNELS * cells + c.to(tl.int64)[:, None] * cells + cell[None, :]
    row_at = rows + (b * cells + cell)[:, None] * CHANNELS + c[None, :]
    map_in_bounds = (c < CHANNELS)[:, None] & (cell < cells)[None, :]
    row_in_bounds = (cell < cells)[:, None] & (c < CHANNELS)[None, :]
    if TO_MAPS:
        values = tl.load(row_at, mask=row_in_bounds & valid_cell[:, None], other=0.0)
        tl.store(map_at, tl.trans(values), mask=map_in_bounds)
    else:
        values = tl.load(map_at, mask=map_in_bounds, other=0.0)
        values = tl.where(valid_cell[None, :], values, tl.zeros_like(values))
        tl.store(row_at, tl.trans(values), mask=row_in_bounds)


@triton.jit(do_not_specialize=["n", "height", "width", "h", "w", "max_rows", "max_columns", "min_valid", "max_masked"])
def unproject_backward_kernel(
    grad_xyz, grad_footprint, valid, depth, mask, intrinsics, cam2world, out, n, height, width, h, w, max_rows,
    max_columns, min_valid, max_masked, POOLING: tl.constexpr, FITS: tl.constexpr,
):  # fmt: skip
    """Write d loss / d depth of ``CELLS`` cells to the pixels they were read from, each of which belongs to one cell.

    With bilinear pooling, write it to (N,), one value per cell.
    """
    cell = tl.program_id(0).to(tl.int64) * CELLS + tl.arange(0, CELLS)
    active = cell < n
    cell = tl.minimum(cell, n - 1)
    b, i, j = locate(cell, h, w)
    gx, gy, gz = tl.load(grad_xyz + 3 * cell), tl.load(grad_xyz + 3 * cell + 1), tl.load(grad_xyz + 3 * cell + 2)
    m = cam2world + 16 * b
    cx = (tl.load(m) * gx + tl.load(m + 4) * gy) + tl.load(m + 8) * gz
    cy = (tl.load(m + 1) * gx + tl.load(m + 5) * gy) + tl.load(m + 9) * gz
    cz = (tl.load(m + 2) * gx + tl.load(m + 6) * gy) + tl.load(m + 10) * gz
    across, down, inverse = _ray(intrinsics + 9 * b, i, j)
    dz = ((across * cx + down * cy) + cz) + tl.load(grad_footprint + cell) * inverse
    if POOLING == _BILINEAR:
        tl.store(out + cell, dz, mask=active)
    else:
        _, pixel = pool(
            depth, mask, b, i, j, height, width, h, w, max_rows, max_columns, min_valid, max_masked, POOLING, FITS,
            True,
        )  # fmt: skip
        active = active & (tl.load(valid + cell) != 0) & (pixel >= 0)
        # A sum that starts at 0 is never -0.
        tl.store(out + b * height * width + pixel, dz + 0.0, mask=active)


@triton.jit(do_not_specialize=["n", "height", "width", "h", "w", "max_rows", "max_columns"])
def unproject_gather_kernel(dz, valid, out, n, height, width, h, w, max_rows, max_columns):
    """Sum the gradients of the cells that have a bilinear tap on a pixel, in the order of the cells.

    ``n`` is the number of pixels of all maps. Up to ``max_rows`` by ``max_columns`` cells have a tap on a pixel.
    """
    pixel = tl.program_id(0).to(tl.int64) * _PIXELS + tl.arange(0, _PIXELS)
    b, r, c = locate(pixel, height, width)
    first_i, last_i = _cells_with_tap(r, h, height)
    first_j, last_j = _cells_with_tap(c, w, width)
    total = tl.zeros((_PIXELS,), tl.float32)
    step = 0
    while step < max_rows * max_columns:
        i, j = first_i + step // max_columns, first_j + step % max_columns
        top, bottom, down = taps(i, h, height)
        left, right, across = taps(j, w, width)
        cell = (b * h + i) * w + j
        active = (pixel < n) & (i < last_i) & (j < last_j)
        active = active & (tl.load(valid + cell, mask=active, other=0) != 0)
        grad = tl.load(dz + cell, mask=active, other=0.0)
        total = tl.where(active & (top == r) & (left == c), total + grad * ((1.0 - across) * (1.0 - down)), total)
        total = tl.where(active & (top == r) & (right == c), total + grad * (across * (1.0 - down)), total)
        total = tl.where(active & (bottom == r) & (left == c), total + grad * ((1.0 - across) * down), total)
        total = tl.where(active & (bottom == r) & (right == c), total + grad * (across * down), total)
        step += 1
    tl.store(out + pixel, total, mask=pixel < n)


@triton.jit
def _cells_with_tap(r, cells, pixels):
    """Return the cells first..last - 1 whose center, at (i + 1/2) pixels / cells - 1/2, is within one pixel of r."""
    first = tl.maximum(2 * cells * (r - 1) + cells + pixels - 1, 0) // (2 * pixels)
    last = tl.minimum((2 * cells * (r + 1) + cells + pixels - 1) // (2 * pixels), cells)
    return first, last


def _bits_of_float64(x: float) -> int:
    """Return the bits of a float64 as an integer, because kernels receive Python floats as float32."""
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


def _bytes(flags: Tensor | None) -> Tensor | None:
    return None if flags is None else flags.contiguous().view(torch.uint8)


def _largest_cell(height: int, width: int, h: int, w: int) -> tuple[int, int]:
    """Return the maximum number of rows and columns of pixels of a cell."""
    return triton.cdiv(height, h), triton.cdiv(width, w)


def _fits_window(height: int, width: int, h: int, w: int) -> bool:
    return bool(max(_largest_cell(height, width, h, w)) <= SIDE.value)


def _copy_features(maps: Tensor, rows: Tensor, valid: Tensor, to_maps: bool) -> None:
    b, c, h, w = maps.shape
    tiles = triton.cdiv(h * w, _TILE.value)
    block = min(64, triton.next_power_of_2(max(c, 1)))
    grid = (b * tiles, triton.cdiv(c, block))
    args = (maps, rows, valid.contiguous().view(torch.uint8), tiles, h * w)
    launch(unproject_features_kernel, grid, maps.device, *args, CHANNELS=c, BLOCK=block, TO_MAPS=to_maps)


def unproject(
    depth: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    cam2world: Tensor,
    mask: Tensor | None,
    pooling: int,
    min_valid: int,
    max_masked: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    b, c, h, w = features.shape
    height, width = depth.shape[1:]
    n = b * h * w
    xyz, footprint = depth.new_empty(n, 3), depth.new_empty(n)
    rows, valid = features.new_empty(n, c), depth.new_empty(n, dtype=torch.bool)
    launch(
        unproject_lift_kernel,
        (triton.cdiv(n, CELLS.value),),
        depth.device,
        *(depth.contiguous(), _bytes(mask), intrinsics.contiguous(), cam2world.contiguous()),
        *(xyz, footprint, valid.view(torch.uint8)),
        *(n, height, width, h, w, *_largest_cell(height, width, h, w), min_valid, _bits_of_float64(max_masked)),
        POOLING=pooling,
        FITS=_fits_window(height, width, h, w),
        num_warps=1,
    )
    _copy_features(features.contiguous(), rows, valid, to_maps=False)
    return xyz, rows, valid, footprint


def unproject_backward_features(grad: Tensor, valid: Tensor, b: int, h: int, w: int) -> Tensor:
    out = grad.new_empty(b, grad.shape[1], h, w)
    _copy_features(out, grad.contiguous(), valid, to_maps=True)
    return out


def unproject_backward_depth(
    grad_xyz: Tensor,
    grad_footprint: Tensor,
    valid: Tensor,
    depth: Tensor,
    intrinsics: Tensor,
    cam2world: Tensor,
    mask: Tensor | None,
    h: int,
    w: int,
    pooling: int,
    min_valid: int,
    max_masked: float,
) -> Tensor:
    b, height, width = depth.shape
    n = b * h * w
    bilinear = pooling == reference.BILINEAR
    sums = torch.empty_like(depth, memory_format=torch.contiguous_format) if bilinear else depth.new_zeros(depth.shape)
    out = depth.new_empty(n) if bilinear else sums
    flags = valid.contiguous().view(torch.uint8)
    launch(
        unproject_backward_kernel,
        (triton.cdiv(n, CELLS.value),),
        depth.device,
        *(grad_xyz.contiguous(), grad_footprint.contiguous(), flags, depth.contiguous(), _bytes(mask)),
        *(intrinsics.contiguous(), cam2world.contiguous(), out),
        *(n, height, width, h, w, *_largest_cell(height, width, h, w), min_valid, _bits_of_float64(max_masked)),
        POOLING=pooling,
        FITS=_fits_window(height, width, h, w),
        num_warps=1,
    )
    if bilinear:
        max_cells = triton.cdiv(2 * h, height) + 1, triton.cdiv(2 * w, width) + 1
        grid = (triton.cdiv(sums.numel(), _PIXELS.value),)
        sizes = (sums.numel(), height, width, h, w, *max_cells)
        launch(unproject_gather_kernel, grid, depth.device, out, flags, sums, *sizes)
    return sums
