# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Rendering of a memory of cosine coefficients more finely than by whole cells."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mirage_kernels import Cameras, VoxelCache

from ...io.images import enlarge
from ...memory import LatentSpatialMemory

PATCH = 4  # pixels: side of a patch, at least, or else half a cell
STRIP = 8  # rows of patches that are evaluated at once
UNMOVED = 1e-3  # of a cell: how much a block may move, or change its size, without being rendered again


def place_blocks(cache: VoxelCache, row: Tensor, camera: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Find where the blocks of rows appear in a view.

    Args:
        cache: the rows.
        row: (h, w) int64, rows; negative values are read as row 0.
        camera: one camera over (h, w).

    Returns:
        (h, w) float32 each: column and row of the block's center, and its side, in cells of the grid.
    """
    index = row.clamp(min=0)
    uv, z, _ = camera.project(cache.xyz[index.flatten()])
    side = cache.footprint[index] * (camera.intrinsics[0, 0, 0] / z[0].reshape(index.shape))
    return uv[0, :, 0].reshape(index.shape), uv[0, :, 1].reshape(index.shape), side


def is_unmoved(cache: VoxelCache, row: Tensor, camera: Cameras) -> Tensor:
    """Find the cells that show a block at the place and the size at which it was written.

    Args:
        cache: the rows.
        row: (h, w) int64, the row that each cell shows; -1 in holes.
        camera: one camera over (h, w).

    Returns:
        (h, w) bool; False in holes.
    """
    if len(cache) == 0:
        return torch.zeros_like(row, dtype=torch.bool)
    column, line, side = place_blocks(cache, row, camera)
    columns, lines = _centers(row)
    change = torch.stack([column - columns, line - lines, side - 1]).abs().amax(0)
    return (row >= 0) & (change < UNMOVED)


def _centers(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Columns (w,) and rows (h, 1) of the centers of cells (h, w)."""
    h, w = cells.shape
    return torch.arange(w, device=cells.device, dtype=torch.float32) + 0.5, (
        torch.arange(h, device=cells.device, dtype=torch.float32) + 0.5
    )[:, None]


def render_patches(
    memory: LatentSpatialMemory, row: Tensor, camera: Cameras, block: int, frequencies: list[tuple[int, int]]
) -> Tensor:
    """Render an image from a memory of cosine coefficients, in patches that are smaller than a cell.

    Args:
        memory: its channels are the coefficients of ``frequencies``, for one color after the other.
        row: (h, w) int64, the row that each cell shows; -1 in holes. Patches without a row of their own show it too.
        camera: one camera over (h, w).
        block: side of a cell in pixels.
        frequencies: (i, j) of each coefficient.

    Returns:
        (colors, h * block, w * block); zero in holes.
    """
    parts = max(n for n in range(1, max(block // PATCH, 2) + 1) if block % n == 0)
    fine = camera.rescale((row.shape[0] * parts, row.shape[1] * parts))
    cell_row = enlarge(row, parts)
    found = memory.read(fine, latents=False, finer=True).row[0]
    patch_row = torch.where((found >= 0) & (cell_row >= 0), found, cell_row)
    columns, lines = _centers(patch_row)
    column, line, side = place_blocks(memory.cache, patch_row, memory.history.to_local(fine))
    pixels = ((torch.arange(block // parts, device=row.device, dtype=torch.float32) + 0.5) * (parts / block) - 0.5)[
        :, None, None
    ]
    # Angles are 0 at the beginning of a block and pi at its end; beyond them, its border continues.
    angles = [
        (((start - center) / side + 0.5) * math.pi + pixels * (math.pi / side)).clamp(0, math.pi)
        for start, center in ((lines, line), (columns, column))
    ]
    stored = memory.cache.feature_maps(patch_row[None])[0].float()
    scale = torch.tensor(
        [math.sqrt((2 if i else 1) * (2 if j else 1)) / block for i, j in frequencies],
        dtype=torch.float32,
        device="cpu",
    )
    coefficients = stored.reshape(-1, len(frequencies), *patch_row.shape) * scale.to(row.device)[:, None, None]
    # A few rows of patches at a time stay in the processor's cache.
    strips = [slice(start, start + STRIP) for start in range(0, len(lines), STRIP)]
    parts_of_image = [
        evaluate(coefficients[:, :, at], (angles[0][:, at], angles[1][:, at]), frequencies) for at in strips
    ]
    return torch.cat(parts_of_image, 1)


def evaluate(coefficients: Tensor, angles: tuple[Tensor, Tensor], frequencies: list[tuple[int, int]]) -> Tensor:
    """Evaluate cosine series at a grid of positions for each of the maps' cells.

    Args:
        coefficients: (colors, K, h, w), of the cosines without the scale of a block.
        angles: of the rows and the columns of positions, (p, h, w) each: 0 at the beginning and pi at the end of a
            block.
        frequencies: (i, j) of each of the K coefficients.

    Returns:
        (colors, h * p, w * p).
    """
    cosines = [_cosines(angle, 1 + max(f[axis] for f in frequencies)) for axis, angle in enumerate(angles)]
    colors, _, h, w = coefficients.shape
    p = len(angles[0])
    total = coefficients.new_zeros(colors, p, p, h, w)
    for j, across in enumerate(cosines[1]):
        down = coefficients.new_zeros(colors, p, h, w)
        for k, (i, other) in enumerate(frequencies):
            if other == j:
                down.addcmul_(coefficients[:, k, None], cosines[0][i])
        total.addcmul_(down[:, :, None], across)
    return total.permute(0, 3, 1, 4, 2).reshape(colors, h * p, w * p)


def _cosines(angle: Tensor, count: int) -> list[Tensor]:
    """cos(k * angle) for k = 0 to ``count`` - 1, by Chebyshev's recurrence."""
    first = angle.cos()
    found = [torch.ones_like(first), first]
    while len(found) < count:
        found.append(2 * first * found[-1] - found[-2])
    return found[:count]
