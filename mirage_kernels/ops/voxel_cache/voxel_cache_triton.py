# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton implementation of ``voxel_cache``, with the same bits as ``voxel_cache_reference.py``, state included.

PyTorch sorts the points and computes running counts, with the sort and scan of the GPU. The tensors of a plan are
allocated for N points and truncated once the device has returned the number of voxels.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import INFINITY, inside, launch, narrow, project, widen
from ...backend import INTERPRETED
from .voxel_cache_commit_triton import (
    COPIES,
    SEGMENTS,
    SUMS,
    voxel_cache_copy_kernel,
    voxel_cache_quantize_kernel,
    voxel_cache_sum_kernel,
    voxel_cache_write_kernel,
)
from .voxel_cache_index_reference import RUNS
from .voxel_cache_index_triton import (
    BOXES,
    PROBES,
    voxel_cache_build_boxes_kernel,
    voxel_cache_build_level_kernel,
    voxel_cache_enter_kernel,
)
from .voxel_cache_plan_triton import (
    POINTS,
    voxel_cache_encode_kernel,
    voxel_cache_find_starts_kernel,
    voxel_cache_look_up_kernel,
    voxel_cache_number_kernel,
    voxel_cache_segment_kernel,
)
from .voxel_cache_reference import LATEST, MEAN, Plan, insert_with, plan_with

_ROWS = tl.constexpr(1024 if INTERPRETED else 128)  # rows per program that carves
_CELLS = tl.constexpr(64)  # cells per program that decodes
_INFINITY_BITS, _AVERAGED_BITS = 0x7F800000, 0x75000000  # of float32: infinity, and MAX_AVERAGED of the reference


@triton.jit(do_not_specialize=["rows", "views", "h", "w"])
def voxel_cache_carve_kernel(xyz, depth, intrinsics, world2cam, keep, rows, views, h, w, factor):
    """Flag the rows that no depth map sees through."""
    row = tl.program_id(0).to(tl.int64) * _ROWS + tl.arange(0, _ROWS)
    in_bounds = row < rows
    x = tl.load(xyz + 3 * row, mask=in_bounds, other=0.0)
    y = tl.load(xyz + 3 * row + 1, mask=in_bounds, other=0.0)
    z = tl.load(xyz + 3 * row + 2, mask=in_bounds, other=0.0)
    kept = in_bounds
    view = 0
    while view < views:
        v = tl.cast(view, tl.int64)
        across, down, far, _ = project(world2cam + 12 * v, intrinsics + 9 * v, x, y, z)
        in_view = kept & inside(across, down, far, h, w)
        pixel = (v * h + tl.where(in_view, down, 0.0).to(tl.int64)) * w + tl.where(in_view, across, 0.0).to(tl.int64)
        surface = tl.load(depth + pixel, mask=in_view, other=0.0)
        kept = kept & ~(in_view & (surface < INFINITY) & (surface > 0) & (surface > far * factor))
        view += 1
    tl.store(keep + row, kept.to(tl.uint8), mask=in_bounds)


@triton.jit(do_not_specialize=["rows", "tiles"])
def voxel_cache_decode_kernel(
    features, scales, counts, index, out, rows, tiles, cells, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):
    """Gather a tile of (V, C, h w) from rows; cells whose index is not a row get zeros.

    ``cells`` = h w is specialized: a multiple of 16 compiles to a kernel with vector stores.
    """
    v = tl.program_id(0).to(tl.int64) // tiles
    cell = tl.program_id(0) % tiles * _CELLS + tl.arange(0, _CELLS)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    row = tl.load(index + v * cells + cell, mask=cell < cells, other=-1)
    in_range = (row >= 0) & (row < rows)
    values = tl.load(
        features + row[:, None] * CHANNELS + c[None, :], mask=in_range[:, None] & (c < CHANNELS)[None, :], other=0
    )
    values = widen(values)
    if scales is not None:
        values = values * tl.load(scales + row, mask=in_range, other=0.0)[:, None]
    if counts is not None:
        values = tl.div_rn(values, tl.load(counts + row, mask=in_range, other=1).to(tl.float32)[:, None])
    values = tl.where(in_range[:, None], values, 0.0)
    at = out + v * CHANNELS * cells + c.to(tl.int64)[:, None] * cells + cell[None, :]
    values = narrow(tl.trans(values), out.dtype.element_ty)
    tl.store(at, values, mask=(c < CHANNELS)[:, None] & (cell < cells)[None, :])


def _block_of(channels: int) -> int:
    return int(min(64, triton.next_power_of_2(max(channels, 1))))


def _plan(
    xyz: Tensor,
    features: Tensor,
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

    def empty(size: int, dtype: torch.dtype = torch.int32) -> Tensor:
        return torch.empty(size, dtype=dtype, device=xyz.device)

    counts = torch.zeros(4, dtype=torch.int64, device=xyz.device)
    if n == 0:
        return Plan(empty(0, torch.int64), torch.zeros_like(empty(1)), empty(0), empty(0), empty(0)), counts.cpu()[:2]
    grid = (triton.cdiv(n, POINTS.value),)
    grid_and_end = (triton.cdiv(n + 1, POINTS.value),)
    flags = None if valid is None else valid.contiguous().view(torch.uint8)
    width = None if footprint is None else footprint.contiguous()
    codes = empty(n, torch.int64)
    points = (xyz.contiguous(), features.contiguous(), flags, width, codes, counts, n, inverse_size, default_footprint)
    rejected_from = _AVERAGED_BITS + 1 if fusion == MEAN else _INFINITY_BITS
    channels = features.shape[1]
    of_channels = {"CHANNELS": channels, "BLOCK": _block_of(channels)}
    launch(voxel_cache_encode_kernel, grid, xyz.device, *points, rejected_from, **of_channels)
    codes, by_code = torch.sort(codes, stable=True)
    is_start = empty(n + 1)
    launch(voxel_cache_find_starts_kernel, grid_and_end, xyz.device, codes, is_start, n)
    position = is_start.cumsum(0, dtype=torch.int32)
    order, starts, key, winner = empty(n), empty(n + 1), empty(n, torch.int64), empty(n)
    ranked = fusion != LATEST and width is not None
    rank = torch.full_like(codes, torch.iinfo(torch.int64).max) if ranked else None
    segments = (codes, by_code, position, width, order, starts, key, winner, rank, n)
    launch(voxel_cache_segment_kernel, grid_and_end, xyz.device, *segments, LAST=fusion == LATEST)
    row, is_new = empty(n), empty(n)
    state = (keys.contiguous(), footprint_rows.contiguous(), table.contiguous())
    sizes = (n, rows, len(table), default_footprint)
    found = (key, position, rank, width, *state, row, winner, is_new, *sizes)
    grid_of_probes = (triton.cdiv(n, PROBES.value),)
    launch(voxel_cache_look_up_kernel, grid_of_probes, xyz.device, *found, LAST=fusion == LATEST, num_warps=1)
    new_count = is_new.cumsum(0, dtype=torch.int32)
    launch(voxel_cache_number_kernel, grid, xyz.device, position, starts, new_count, row, counts, n, rows)
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
    width = None if footprint is None else footprint.contiguous()
    features, block = features.contiguous(), _block_of(channels)
    of_channels = {"CHANNELS": channels, "BLOCK": block}
    copies, sums, blocks = triton.cdiv(n, COPIES.value), triton.cdiv(n, SUMS.value), triton.cdiv(channels, block)
    if fusion == MEAN:
        added = (order, starts, row, count, features, features_rows, n, rows)  # before the counts change
        launch(voxel_cache_sum_kernel, (sums, blocks), device, *added, **of_channels, num_warps=1)
    elif scale is not None:
        replaced = (row, winner, features, features_rows, scale, n)
        launch(voxel_cache_quantize_kernel, (sums,), device, *replaced, **of_channels, num_warps=1)
    else:
        launch(
            voxel_cache_copy_kernel, (copies, blocks), device, row, winner, features, features_rows, n, **of_channels
        )
    launch(
        voxel_cache_write_kernel,
        (triton.cdiv(n, SEGMENTS.value),),
        device,
        *(starts, key, row, winner, xyz.contiguous(), width),
        *(keys, xyz_rows, footprint_rows, count, stamp_rows, boxes0),
        *(n, rows, stamp, default_footprint),
    )
    enter_rows(table, key, row, n, rows)
    _build_levels((boxes0, boxes1, boxes2), rows + n)


voxel_cache_insert = insert_with(_plan, voxel_cache_commit)
voxel_cache_plan = plan_with(_plan)


def enter_rows(table: Tensor, key: Tensor, row: Tensor | None, n: int, rows: int) -> None:
    """Enter those of n rows that are not below ``rows``; if ``row`` is None they are 0, 1, 2, ..."""
    args = (key, row, table.view(torch.uint32), n, rows, len(table))
    launch(voxel_cache_enter_kernel, (triton.cdiv(n, PROBES.value),), table.device, *args, num_warps=1)


def _build_levels(levels: tuple[Tensor, ...], rows: int) -> None:
    """Compute the boxes of the higher levels from those of the first level.

    All levels are enlarged by the same inserts, so a box is the union of the boxes below it.
    """
    for below, boxes, run in zip(levels, levels[1:], RUNS[1:], strict=False):
        used = min(triton.cdiv(rows, run), len(boxes))
        grid = (triton.cdiv(used, BOXES.value),)
        launch(voxel_cache_build_level_kernel, grid, boxes.device, below, boxes, len(below), used, num_warps=1)


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
    launch(voxel_cache_build_boxes_kernel, grid, xyz.device, xyz, footprint, boxes0, rows, len(boxes0), num_warps=1)
    _build_levels((boxes0, boxes1, boxes2), len(keys))


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
    """Test every row, which costs less, at 12 bytes per row, than a test of the bounding boxes."""
    keep = torch.empty(rows, dtype=torch.bool, device=xyz.device)
    inputs = (xyz.contiguous(), depth.contiguous(), intrinsics.contiguous(), world2cam.contiguous())
    sizes = (rows, *depth.shape, factor)
    launch(
        voxel_cache_carve_kernel, (triton.cdiv(rows, _ROWS.value),), xyz.device, *inputs, keep.view(torch.uint8), *sizes
    )
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
    launch(voxel_cache_decode_kernel, grid, out.device, *args, CHANNELS=channels, BLOCK=block)
    return out
