# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernels of ``visible`` and ``overlap``, with the same bits as ``overlap_reference.py``.

``visible`` writes words of 32 bits, two for every word of the result. The lower half comes first in memory on every GPU
and CPU that torch supports.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import inside, launch, project

_HALVES = tl.constexpr(16)  # 32-bit words, of 32 points each, per program
_VIEWS = tl.constexpr(16)  # views per program, which loads its points once
_SETS = tl.constexpr(4)  # sets of a, and of b, per program
_WORDS = tl.constexpr(128)  # words per iteration


@triton.jit(do_not_specialize=["n", "views", "h", "w", "groups", "halves"])
def overlap_visible_kernel(xyz, intrinsics, world2cam, valid, group, bits, n, views, h, w, groups, halves):
    """Project 512 points into up to 16 views and set the bits of the visible ones.

    Without ``group``, bit n is that of point n and whole words are stored; with ``group``, bits are set by atomics in
    words that were 0. Views and blocks of points are folded into axis 0, the only one without a low limit.
    """
    blocks = tl.cdiv(n, 32 * _HALVES)
    half = (tl.program_id(0) % blocks).to(tl.int64) * _HALVES + tl.arange(0, _HALVES)
    lane = tl.arange(0, 32)
    point = half[:, None] * 32 + lane[None, :]
    in_bounds = point < n
    x = tl.load(xyz + 3 * point, mask=in_bounds, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=in_bounds, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=in_bounds, other=0.0)
    if valid is not None:
        in_bounds = in_bounds & (tl.load(valid + point, mask=in_bounds, other=0) != 0)
    if group is not None:
        group_of_point = tl.load(group + point, mask=in_bounds, other=-1)
        in_bounds = in_bounds & (group_of_point >= 0) & (group_of_point < groups)
        bit = tl.full((1, 1), 1, tl.int32) << (group_of_point & 31).to(tl.int32)
    first = (tl.program_id(0) // blocks).to(tl.int32) * _VIEWS
    view = first
    while view < tl.minimum(first + _VIEWS, views):
        v = view.to(tl.int64)
        column, row, depth, _ = project(world2cam + 12 * v, intrinsics + 9 * v, x, y, z)
        in_view = in_bounds & inside(column, row, depth, h, w)
        if group is None:
            word = tl.sum(in_view.to(tl.int32) << lane[None, :], 1)
            tl.store(bits + v * halves + half, word, mask=half < halves)
        else:
            at = bits + v * halves + (group_of_point >> 5)
            # Bits are only ever set, so a stale word is sufficient to skip an atomic.
            in_view = in_view & ((tl.load(at, mask=in_view, other=0) & bit) == 0)
            tl.atomic_or(at, bit, mask=in_view, sem="relaxed")
        view += 1


@triton.jit
def _count_bits(words):
    """Count the set bits of each int64. Compilers turn this form into one popc instruction."""
    x = words.to(tl.uint64, bitcast=True)
    x = x - ((x >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((x * 0x0101010101010101) >> 56).to(tl.int32)


@triton.jit(do_not_specialize=["sets"])
def overlap_count_bits_kernel(a, counts, sets, words):
    """Count the elements of one set (W,)."""
    row = a + tl.program_id(0).to(tl.int64) * words
    total = tl.zeros((_WORDS,), tl.int64)
    block = 0
    while block * _WORDS < words:
        at = block * _WORDS + tl.arange(0, _WORDS)
        total += _count_bits(tl.load(row + at, mask=at < words, other=0))
        block += 1
    tl.store(counts + tl.program_id(0), tl.sum(total, 0))


@triton.jit(do_not_specialize=["num_a", "num_b", "tiles"])
def overlap_iou_kernel(a, b, size_a, size_b, iou, num_a, num_b, tiles, words):
    """Compare up to 4 sets of a with up to 4 of b.

    ``words`` is specialized: a multiple of 16 compiles to a kernel with vector loads.
    """
    i = (tl.program_id(0) // tiles).to(tl.int64) * _SETS + tl.arange(0, _SETS)
    j = (tl.program_id(0) % tiles).to(tl.int64) * _SETS + tl.arange(0, _SETS)
    common = tl.zeros((_SETS, _SETS), tl.int64)
    block = 0
    while block * _WORDS < words:
        at = block * _WORDS + tl.arange(0, _WORDS)
        in_bounds = (at < words)[None, :]
        words_i = tl.load(a + i[:, None] * words + at[None, :], mask=(i < num_a)[:, None] & in_bounds, other=0)
        words_j = tl.load(b + j[:, None] * words + at[None, :], mask=(j < num_b)[:, None] & in_bounds, other=0)
        common += tl.sum(_count_bits(words_i[:, None, :] & words_j[None, :, :]), 2)
        block += 1
    in_bounds = (i < num_a)[:, None] & (j < num_b)[None, :]
    size_i = tl.load(size_a + i, mask=i < num_a, other=0)
    size_j = tl.load(size_b + j, mask=j < num_b, other=0)
    union = size_i[:, None] + size_j[None, :] - common
    # Rounded to float64, then to float32. Division in float64 is correctly rounded without div_rn.
    quotient = (common.to(tl.float64) / tl.maximum(union, 1).to(tl.float64)).to(tl.float32)
    tl.store(iou + i[:, None] * num_b + j[None, :], quotient, mask=in_bounds)


def visible(
    xyz: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    groups: Tensor | None,
    num_groups: int,
) -> Tensor:
    n, views, words = xyz.shape[0], world2cam.shape[0], (num_groups + 63) // 64
    allocate = torch.empty if groups is None else torch.zeros
    bits = allocate(views, words, dtype=torch.int64, device=xyz.device)
    if words:
        launch(
            overlap_visible_kernel,
            (triton.cdiv(n, 32 * _HALVES.value) * triton.cdiv(views, _VIEWS.value),),
            xyz.device,
            *(xyz.contiguous(), intrinsics.contiguous(), world2cam.contiguous()),
            None if valid is None else valid.contiguous().view(torch.uint8),
            None if groups is None else groups.contiguous(),
            *(bits.view(torch.int32), n, views, h, w, num_groups, 2 * words),
        )
    return bits


def _sizes(sets: Tensor) -> Tensor:
    counts = sets.new_empty(sets.shape[0])
    launch(overlap_count_bits_kernel, (sets.shape[0],), sets.device, sets, counts, *sets.shape)
    return counts


def overlap(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.contiguous(), b.contiguous()
    iou = torch.empty(a.shape[0], b.shape[0], dtype=torch.float32, device=a.device)
    tiles = triton.cdiv(b.shape[0], _SETS.value)
    grid = (triton.cdiv(a.shape[0], _SETS.value) * tiles,)
    launch(
        overlap_iou_kernel,
        grid,
        a.device,
        *(a, b, _sizes(a), _sizes(b), iou, a.shape[0], b.shape[0], tiles, a.shape[1]),
    )
    return iou
