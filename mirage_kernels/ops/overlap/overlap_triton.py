# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""visible and overlap in Triton: the reference's bits. The letters are those of ``overlap_reference.py``.

``visible`` writes words of 32 bits, two to a word of the result (whose lower half comes first in memory, on every GPU
and every CPU that torch runs on).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ...triton_common import inside, launch, project

_HALVES = tl.constexpr(16)  # words of 32 points of one program
_VIEWS = tl.constexpr(16)  # of one program, which reads its points once
_SETS = tl.constexpr(4)  # of a and of b that one program compares, each with each
_WORDS = tl.constexpr(128)  # at a time


@triton.jit(do_not_specialize=["n", "views", "h", "w", "groups", "halves"])
def visible_kernel(xyz, intrinsics, world2cam, valid, group, bits, n, views, h, w, groups, halves):
    """512 points in up to 16 views. Without ``group`` every point is the next bit, and words are stored; with it, bits
    are set in words that were 0. Programs of the same views follow one another along axis 0, the only one that takes
    many."""
    blocks = tl.cdiv(n, 32 * _HALVES)
    half = (tl.program_id(0) % blocks).to(tl.int64) * _HALVES + tl.arange(0, _HALVES)
    lane = tl.arange(0, 32)
    point = half[:, None] * 32 + lane[None, :]
    there = point < n
    x = tl.load(xyz + 3 * point, mask=there, other=0.0)
    y = tl.load(xyz + 3 * point + 1, mask=there, other=0.0)
    z = tl.load(xyz + 3 * point + 2, mask=there, other=0.0)
    if valid is not None:
        there = there & (tl.load(valid + point, mask=there, other=0) != 0)
    if group is not None:
        place = tl.load(group + point, mask=there, other=-1)
        there = there & (place >= 0) & (place < groups)
        bit = tl.full((1, 1), 1, tl.int32) << (place & 31).to(tl.int32)
    first = (tl.program_id(0) // blocks).to(tl.int32) * _VIEWS
    view = first
    while view < tl.minimum(first + _VIEWS, views):
        v = view.to(tl.int64)
        column, row, depth, _ = project(world2cam + 12 * v, intrinsics + 9 * v, x, y, z)
        seen = there & inside(column, row, depth, h, w)
        if group is None:
            word = tl.sum(seen.to(tl.int32) << lane[None, :], 1)
            tl.store(bits + v * halves + half, word, mask=half < halves)
        else:
            at = bits + v * halves + (place >> 5)
            # A bit that is set stays set, so an old word is as good as the newest for looking before the atomic.
            seen = seen & ((tl.load(at, mask=seen, other=0) & bit) == 0)
            tl.atomic_or(at, bit, mask=seen, sem="relaxed")
        view += 1


@triton.jit
def _count_bits(words):
    """How many bits of each int64 are set; in this form compilers see the instruction that counts them."""
    x = words.to(tl.uint64, bitcast=True)
    x = x - ((x >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((x * 0x0101010101010101) >> 56).to(tl.int32)


@triton.jit(do_not_specialize=["sets"])
def count_kernel(a, counts, sets, words):
    """The size of one set (W,)."""
    row = a + tl.program_id(0).to(tl.int64) * words
    total = tl.zeros((_WORDS,), tl.int64)
    block = 0
    while block * _WORDS < words:
        at = block * _WORDS + tl.arange(0, _WORDS)
        total += _count_bits(tl.load(row + at, mask=at < words, other=0))
        block += 1
    tl.store(counts + tl.program_id(0), tl.sum(total, 0))


@triton.jit(do_not_specialize=["num_a", "num_b", "tiles"])
def overlap_kernel(a, b, of_a, of_b, shares, num_a, num_b, tiles, words):
    """Up to 4 sets of a with up to 4 of b. ``words`` is W: whether it divides by 16 is worth a kernel of its own, with
    wide loads."""
    i = (tl.program_id(0) // tiles).to(tl.int64) * _SETS + tl.arange(0, _SETS)
    j = (tl.program_id(0) % tiles).to(tl.int64) * _SETS + tl.arange(0, _SETS)
    common = tl.zeros((_SETS, _SETS), tl.int64)
    block = 0
    while block * _WORDS < words:
        at = block * _WORDS + tl.arange(0, _WORDS)
        there = (at < words)[None, :]
        of_i = tl.load(a + i[:, None] * words + at[None, :], mask=(i < num_a)[:, None] & there, other=0)
        of_j = tl.load(b + j[:, None] * words + at[None, :], mask=(j < num_b)[:, None] & there, other=0)
        common += tl.sum(_count_bits(of_i[:, None, :] & of_j[None, :, :]), 2)
        block += 1
    there = (i < num_a)[:, None] & (j < num_b)[None, :]
    size_i = tl.load(of_a + i, mask=i < num_a, other=0)
    size_j = tl.load(of_b + j, mask=j < num_b, other=0)
    either = size_i[:, None] + size_j[None, :] - common
    # Rounded to float64, then to float32. (Only float32 needs div_rn.)
    share = (common.to(tl.float64) / tl.maximum(either, 1).to(tl.float64)).to(tl.float32)
    tl.store(shares + i[:, None] * num_b + j[None, :], share, mask=there)


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
    make = torch.empty if groups is None else torch.zeros
    bits = make(views, words, dtype=torch.int64, device=xyz.device)
    if words:
        launch(
            visible_kernel,
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
    launch(count_kernel, (sets.shape[0],), sets.device, sets, counts, *sets.shape)
    return counts


def overlap(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.contiguous(), b.contiguous()
    shares = torch.empty(a.shape[0], b.shape[0], dtype=torch.float32, device=a.device)
    tiles = triton.cdiv(b.shape[0], _SETS.value)
    grid = (triton.cdiv(a.shape[0], _SETS.value) * tiles,)
    launch(
        overlap_kernel,
        grid,
        a.device,
        *(a, b, _sizes(a), _sizes(b), shares, a.shape[0], b.shape[0], tiles, a.shape[1]),
    )
    return shares
