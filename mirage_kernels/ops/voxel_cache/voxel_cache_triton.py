# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""voxel_cache in Triton: the reference's bits, state included. The letters are those of ``voxel_cache_reference.py``.

PyTorch sorts the points and counts flags: it has the GPU's own sort and scan. What a plan is made of has room for every
point until the device has said, once, how many voxels there are.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...backend import INTERPRETED
from ...triton_common import INFINITY, inside, launch, narrow, project, widen
from .voxel_cache_commit_triton import (
    COPIES,
    SEGMENTS,
    SUMS,
    copy_kernel,
    quantise_kernel,
    sum_kernel,
    write_kernel,
)
from .voxel_cache_index_reference import RUNS
from .voxel_cache_index_triton import BOXES, PROBES, enter_kernel, level_kernel, page_kernel
from .voxel_cache_plan_triton import (
    POINTS,
    cut_kernel,
    encode_kernel,
    look_up_kernel,
    number_kernel,
    segment_kernel,
)
from .voxel_cache_reference import LATEST, MEAN, Plan, insert_with

_ROWS = tl.constexpr(1024 if INTERPRETED else 128)  # of one program that carves
_CELLS = tl.constexpr(64)  # of one program that decodes


@triton.jit(do_not_specialize=["rows", "views", "h", "w"])
def carve_kernel(xyz, depth, intrinsics, world2cam, keep, rows, views, h, w, factor):
    """Which rows no depth map sees through."""
    row = tl.program_id(0).to(tl.int64) * _ROWS + tl.arange(0, _ROWS)
    mine = row < rows
    x = tl.load(xyz + 3 * row, mask=mine, other=0.0)
    y = tl.load(xyz + 3 * row + 1, mask=mine, other=0.0)
    z = tl.load(xyz + 3 * row + 2, mask=mine, other=0.0)
    kept = mine
    view = 0
    while view < views:
        v = tl.cast(view, tl.int64)
        across, down, far, _ = project(world2cam + 12 * v, intrinsics + 9 * v, x, y, z)
        seen = kept & inside(across, down, far, h, w)
        pixel = (v * h + tl.where(seen, down, 0.0).to(tl.int64)) * w + tl.where(seen, across, 0.0).to(tl.int64)
        shown = tl.load(depth + pixel, mask=seen, other=0.0)
        kept = kept & ~(seen & (shown < INFINITY) & (shown > 0) & (shown > far * factor))
        view += 1
    tl.store(keep + row, kept.to(tl.uint8), mask=mine)


@triton.jit(do_not_specialize=["rows", "tiles"])
def decode_kernel(
    features, scales, counts, index, out, rows, tiles, cells, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):
    """A tile of (V, C, h w) from rows; zeros where the index names none. ``cells`` is h w: whether it divides by 16 is
    worth a kernel of its own, with wide stores."""
    v = tl.program_id(0).to(tl.int64) // tiles
    cell = tl.program_id(0) % tiles * _CELLS + tl.arange(0, _CELLS)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.load(index + v * cells + cell, mask=cell < cells, other=-1)
    there = (row >= 0) & (row < rows)
    values = tl.load(
        features + row[:, None] * CHANNELS + c[None, :], mask=there[:, None] & (c < CHANNELS)[None, :], other=0
    )
    values = widen(values)
    if scales is not None:
        values = values * tl.load(scales + row, mask=there, other=0.0)[:, None]
    if counts is not None:
        values = tl.div_rn(values, tl.load(counts + row, mask=there, other=1).to(tl.float32)[:, None])
    values = tl.where(there[:, None], values, 0.0)
    at = out + v * CHANNELS * cells + c.to(tl.int64)[:, None] * cells + cell[None, :]
    values = narrow(tl.trans(values), out.dtype.element_ty)
    tl.store(at, values, mask=(c < CHANNELS)[:, None] & (cell < cells)[None, :])


def _block_of(channels: int) -> int:
    return int(min(64, triton.next_power_of_2(max(channels, 1))))


def _plan(
    xyz: Tensor,
    valid: Tensor | None,
    footprint: Tensor | None,
    keys: Tensor,
    footprint_rows: Tensor,
    table: Tensor,
    rows: int,
    inverse_size: float,
    default_footprint: float,
    fusion: int,
) -> tuple[Plan, Tensor]:
    n = len(xyz)

    def room(size: int, dtype: torch.dtype = torch.int32) -> Tensor:
        return torch.empty(size, dtype=dtype, device=xyz.device)

    counts = torch.zeros(4, dtype=torch.int64, device=xyz.device)
    if n == 0:
        return Plan(room(0, torch.int64), torch.zeros_like(room(1)), room(0), room(0), room(0)), counts.cpu()[:2]
    grid = (triton.cdiv(n, POINTS.value),)
    grid_and_end = (triton.cdiv(n + 1, POINTS.value),)
    flags = None if valid is None else valid.contiguous().view(torch.uint8)
    wide = None if footprint is None else footprint.contiguous()
    codes = room(n, torch.int64)
    points = (xyz.contiguous(), flags, wide, codes, counts, n, inverse_size, default_footprint)
    launch(encode_kernel, grid, xyz.device, *points)
    codes, by_code = torch.sort(codes, stable=True)
    cuts = room(n + 1)
    launch(cut_kernel, grid_and_end, xyz.device, codes, cuts, n)
    place = cuts.cumsum(0, dtype=torch.int32)
    order, starts, key, winner = room(n), room(n + 1), room(n, torch.int64), room(n)
    ranked = fusion != LATEST and wide is not None
    rank = torch.full_like(codes, torch.iinfo(torch.int64).max) if ranked else None
    segments = (codes, by_code, place, wide, order, starts, key, winner, rank, n)
    launch(segment_kernel, grid_and_end, xyz.device, *segments, LAST=fusion == LATEST)
    row, fresh = room(n), room(n)
    state = (keys.contiguous(), footprint_rows.contiguous(), table.contiguous())
    sizes = (n, rows, len(table), default_footprint)
    found = (key, place, rank, wide, *state, row, winner, fresh, *sizes)
    grid_of_probes = (triton.cdiv(n, PROBES.value),)
    launch(look_up_kernel, grid_of_probes, xyz.device, *found, LAST=fusion == LATEST, num_warps=1)
    fresh = fresh.cumsum(0, dtype=torch.int32)
    launch(number_kernel, grid, xyz.device, place, starts, fresh, row, counts, n, rows)
    counts = counts.cpu()  # waits for the device
    s, k = counts[2:].tolist()
    return Plan(key[:s], starts[: s + 1], row[:s], winner[:s], order[:k]), counts[:2]


def voxel_cache_commit(
    words: Tensor,
    kept: int,
    segments: int,
    xyz: Tensor,
    features: Tensor,
    keys: Tensor,
    xyz_rows: Tensor,
    footprint_rows: Tensor,
    features_rows: Tensor,
    stamp_rows: Tensor,
    table: Tensor,
    boxes0: Tensor,
    boxes1: Tensor,
    boxes2: Tensor,
    rows: int,
    stamp: int,
    default_footprint: float,
    fusion: int,
    footprint: Tensor | None = None,
    scale: Tensor | None = None,
    count: Tensor | None = None,
) -> None:
    key, starts, row, winner, order = Plan.unpack(words, kept, segments)
    n, channels, device = segments, features.shape[1], xyz.device
    wide = None if footprint is None else footprint.contiguous()
    launch(
        write_kernel,
        (triton.cdiv(n, SEGMENTS.value),),
        device,
        *(starts, key, row, winner, xyz.contiguous(), wide),
        *(keys, xyz_rows, footprint_rows, count, stamp_rows, boxes0),
        *(n, rows, stamp, default_footprint),
    )
    features, block = features.contiguous(), _block_of(channels)
    of_channels = {"CHANNELS": channels, "BLOCK": block}
    copies, sums, blocks = triton.cdiv(n, COPIES.value), triton.cdiv(n, SUMS.value), triton.cdiv(channels, block)
    if fusion == MEAN:
        added = (order, starts, row, features, features_rows, n, rows)
        launch(sum_kernel, (sums, blocks), device, *added, **of_channels, num_warps=1)
    elif scale is not None:
        replaced = (row, winner, features, features_rows, scale, n)
        launch(quantise_kernel, (sums,), device, *replaced, **of_channels, num_warps=1)
    else:
        launch(copy_kernel, (copies, blocks), device, row, winner, features, features_rows, n, **of_channels)
    enter_rows(table, key, row, n, rows)
    _grow_levels((boxes0, boxes1, boxes2), rows + n)


voxel_cache_insert = insert_with(_plan, voxel_cache_commit)


def enter_rows(table: Tensor, key: Tensor, row: Tensor | None, n: int, rows: int) -> None:
    """Enter n rows, but for those below ``rows``; where they are not given they are 0, 1, 2, ..."""
    args = (key, row, table.view(torch.uint32), n, rows, len(table))
    launch(enter_kernel, (triton.cdiv(n, PROBES.value),), table.device, *args, num_warps=1)


def _grow_levels(levels: tuple[Tensor, ...], rows: int) -> None:
    """Make the higher levels from the first, as far as there are rows. (A box holds what those below it hold, no more
    and no less, because all levels began to grow at the same time.)"""
    for below, boxes, run in zip(levels, levels[1:], RUNS[1:], strict=False):
        used = min(triton.cdiv(rows, run), len(boxes))
        grid = (triton.cdiv(used, BOXES.value),)
        launch(level_kernel, grid, boxes.device, below, boxes, len(below), used, num_warps=1)


def voxel_cache_index(
    keys: Tensor,
    xyz: Tensor,
    footprint: Tensor,
    table: Tensor,
    boxes0: Tensor,
    boxes1: Tensor,
    boxes2: Tensor,
    rows: int,
) -> None:
    table.fill_(-1)
    enter_rows(table, keys, None, rows, 0)
    grid = (triton.cdiv(len(boxes0), BOXES.value),)
    launch(page_kernel, grid, xyz.device, xyz, footprint, boxes0, rows, len(boxes0), num_warps=1)
    _grow_levels((boxes0, boxes1, boxes2), len(keys))


def voxel_cache_carve(
    xyz: Tensor,
    depth: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    boxes0: Tensor,
    boxes1: Tensor,
    boxes2: Tensor,
    rows: int,
    factor: float,
) -> Tensor:
    """Looks at every row: at 12 bytes each that costs less than asking which boxes a camera sees."""
    keep = torch.empty(rows, dtype=torch.bool, device=xyz.device)
    inputs = (xyz.contiguous(), depth.contiguous(), intrinsics.contiguous(), world2cam.contiguous())
    sizes = (rows, *depth.shape, factor)
    launch(carve_kernel, (triton.cdiv(rows, _ROWS.value),), xyz.device, *inputs, keep.view(torch.uint8), *sizes)
    return keep


def voxel_cache_decode(
    features: Tensor, scale: Tensor | None, count: Tensor | None, index: Tensor, like: Tensor
) -> Tensor:
    views, h, w = index.shape
    rows, channels = features.shape
    out = like.new_empty(views, channels, h, w)
    tiles, block = triton.cdiv(h * w, _CELLS.value), _block_of(channels)
    grid = (views * tiles, triton.cdiv(channels, block))
    args = (features, scale, count, index.contiguous(), out, rows, tiles, h * w)
    launch(decode_kernel, grid, out.device, *args, CHANNELS=channels, BLOCK=block)
    return out
