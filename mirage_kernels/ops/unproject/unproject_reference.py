# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``unproject`` in pure PyTorch; all backends return the same bits.

B depth maps (H, W), features (B, C, h, w), N = B h w cells, ordered by view, row and column.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from ..._modes import POOLINGS
from ..._ordered_sums import add_in_order

MEDIAN, NEAREST, MIN, BILINEAR = (POOLINGS.index(name) for name in ("median", "nearest", "min", "bilinear"))


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
    _check_grid(h, w)
    z, _ = _pool(depth, mask, h, w, pooling, min_valid, max_masked)  # (B, h, w), NaN in cells without depth
    k = intrinsics.to(depth.dtype)[:, :, :, None, None]
    m = cam2world.to(depth.dtype)[:, :, :, None, None]
    across, down = _rays(k, h, w)
    x, y = across * z, down * z
    point = [((m[:, a, 0] * x + m[:, a, 1] * y) + m[:, a, 2] * z) + m[:, a, 3] for a in range(3)]
    values = torch.stack([*point, z * (1 / k[:, 0, 0])], -1)  # (B, h, w, 4)
    valid = values.isfinite().all(-1) & (z > 0)  # a bilinear blend of the smallest denormals may round to 0
    values = torch.where(valid[..., None], values, 0).reshape(b * h * w, 4)
    rows = torch.where(valid[:, None], features, 0).movedim(1, -1).reshape(b * h * w, c)
    return values[:, :3].contiguous(), rows.contiguous(), valid.reshape(-1), values[:, 3].contiguous()


def _rays(k: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """Return x and y, at depth 1, of the ray through the center of each cell: (B, 1, w) and (B, h, 1)."""
    columns = torch.arange(w, dtype=k.dtype, device=k.device) + 0.5
    rows = torch.arange(h, dtype=k.dtype, device=k.device)[:, None] + 0.5
    return (columns - k[:, 0, 2]) * (1 / k[:, 0, 0]), (rows - k[:, 1, 2]) * (1 / k[:, 1, 1])


def _pool(
    depth: Tensor, mask: Tensor | None, h: int, w: int, pooling: int, min_valid: int, max_masked: float
) -> tuple[Tensor, Tensor]:
    """Return depth (B, h, w), NaN in cells without depth, and the pixel it was read from (B, h, w), -1 for bilinear."""
    b, height, width = depth.shape
    usable = depth.isfinite() & (depth > 0)
    if mask is not None:
        usable = usable & ~mask
    usable_depth = torch.where(usable, depth, torch.nan).flatten(1)
    pixels, inside = _pixels_of_cells(height, width, h, w, depth.device)  # (h w, P)
    values = torch.where(inside, usable_depth[:, pixels], torch.nan)  # (B, h w, P)
    count = (~values.isnan()).sum(-1)
    masked = mask.flatten(1)[:, pixels].logical_and(inside).sum(-1) if mask is not None else torch.zeros_like(count)
    enough = (count >= min_valid) & (count > 0) & (masked.double() <= max_masked * inside.sum(-1).double())
    pixel = torch.full_like(count, -1)
    if pooling == BILINEAR:
        taps, weights = _taps(height, width, h, w, depth)
        d00, d01, d10, d11 = usable_depth[:, taps].unbind(-1)
        across, down = weights
        top, bottom = d00 * (1 - across) + d01 * across, d10 * (1 - across) + d11 * across
        z = top * (1 - down) + bottom * down
    elif pooling == NEAREST:
        under = _under(height, h, depth.device)[:, None] * width + _under(width, w, depth.device)
        z = usable_depth[:, under.reshape(-1)]
        pixel = under.reshape(1, -1).expand_as(pixel)
    elif pixels.shape[1] == 0:
        z = torch.full_like(count, torch.nan, dtype=depth.dtype)
    else:
        z = values.nanmedian(-1).values if pooling == MEDIAN else values.nan_to_num(torch.inf).amin(-1)
        first = (values == z[..., None]).int().argmax(-1, keepdim=True)
        pixel = pixels.expand(b, -1, -1).gather(2, first)[..., 0]
    return torch.where(enough, z, torch.nan).reshape(b, h, w), pixel.reshape(b, h, w)


def _check_grid(h: int, w: int) -> None:
    if min(h, w) < 1:
        raise ValueError(f"unproject: expected a grid of at least one cell, got {h}x{w}")


def _run(cells: int, pixels: int) -> list[range]:
    """Return the range of pixels of each cell: pixel r belongs to cell ((2 r + 1) cells) // (2 pixels)."""
    starts = [max(0, -((cells - 2 * pixels * i) // (2 * cells))) for i in range(cells + 1)]
    return [range(a, b) for a, b in pairwise(starts)]


def _pixels_of_cells(height: int, width: int, h: int, w: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the flat pixels of every cell (h w, P), row-major within a cell, and which of the P entries are used."""

    def padded(runs: list[range]) -> tuple[Tensor, Tensor]:
        longest = max(len(run) for run in runs)
        table = torch.tensor(
            [[*run, *[0] * (longest - len(run))] for run in runs], dtype=torch.int64, device="cpu"
        ).reshape(len(runs), longest)
        used = torch.tensor(
            [[k < len(run) for k in range(longest)] for run in runs], dtype=torch.bool, device="cpu"
        ).reshape(len(runs), longest)
        return table, used

    rows, rows_used = padded(_run(h, height))
    columns, columns_used = padded(_run(w, width))
    pixels = rows[:, None, :, None] * width + columns[None, :, None, :]
    used = rows_used[:, None, :, None] & columns_used[None, :, None, :]
    return pixels.reshape(h * w, -1).to(device), used.reshape(h * w, -1).to(device)


def _under(pixels: int, cells: int, device: torch.device) -> Tensor:
    """Return the pixel under the center of each cell."""
    return (2 * torch.arange(cells, device=device, dtype=torch.int64) + 1) * pixels // (2 * cells)


def _taps(height: int, width: int, h: int, w: int, like: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return the bilinear taps of every cell center.

    Returns:
        Flat pixels (h w, 4) in the order 00, 01, 10, 11; weights of the second column and of the second row, (h w,).
    """

    def axis(pixels: int, cells: int) -> tuple[Tensor, Tensor, Tensor]:
        position = (2 * torch.arange(cells, device=like.device, dtype=torch.int64) + 1) * pixels - cells
        before = position // (2 * cells)
        remainder = position - before * 2 * cells
        first, after = before.clamp(min=0), (before + 1).clamp(max=pixels - 1)
        # A tap of weight 0 is not read, because its depth may be invalid.
        # Divided by a tensor: on a GPU the division by a number is a multiplication by its inverse.
        weight = remainder.to(like.dtype) / torch.full((), 2 * cells, dtype=like.dtype, device=like.device)
        return first, torch.where(remainder == 0, first, after), weight

    top, bottom, down = (x[:, None].expand(h, w).reshape(-1) for x in axis(height, h))
    left, right, across = (x.expand(h, w).reshape(-1) for x in axis(width, w))
    taps = [top * width + left, top * width + right, bottom * width + left, bottom * width + right]
    return torch.stack(taps, -1), (across, down)


def unproject_backward_features(grad: Tensor, valid: Tensor, b: int, h: int, w: int) -> Tensor:
    """Copy the gradients of valid points to their cells; the others get 0."""
    _check_grid(h, w)
    return torch.where(valid[:, None], grad, 0).reshape(b, h, w, grad.shape[1]).movedim(-1, 1).contiguous()


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
    """Add the gradient of each valid cell to the pixel it was read from, or to its four taps, in cell order."""
    _check_grid(h, w)
    b, height, width = depth.shape
    k = intrinsics.to(depth.dtype)[:, :, :, None, None]
    m = cam2world.to(depth.dtype)[:, :, :, None, None]
    gx, gy, gz = grad_xyz.reshape(b, h, w, 3).unbind(-1)
    cx, cy, cz = ((m[:, 0, a] * gx + m[:, 1, a] * gy) + m[:, 2, a] * gz for a in range(3))
    across, down = _rays(k, h, w)
    dz = ((across * cx + down * cy) + cz) + grad_footprint.reshape(b, h, w) * (1 / k[:, 0, 0])
    base = torch.arange(b, device=depth.device, dtype=torch.int64)[:, None] * height * width
    if pooling == BILINEAR:
        taps, (right, bottom) = _taps(height, width, h, w, depth)
        left, top = 1 - right, 1 - bottom
        weights = torch.stack([left * top, right * top, left * bottom, right * bottom], -1)
        pixel = base[:, :, None] + taps  # (B, h w, 4)
        rows = dz.reshape(b, h * w, 1) * weights
    else:
        _, source = _pool(depth, mask, h, w, pooling, min_valid, max_masked)
        pixel = (base + source.reshape(b, h * w))[..., None]
        rows = dz.reshape(b, h * w, 1)
    keep = valid.reshape(b, h * w)
    sums = depth.new_zeros(b * height * width)
    return add_in_order(sums, pixel[keep].flatten(), rows[keep].flatten()).reshape(depth.shape)
