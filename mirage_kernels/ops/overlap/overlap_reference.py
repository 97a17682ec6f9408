# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementations of ``visible`` and ``overlap`` in pure PyTorch; all backends return the same bits.

N points in G groups, V views, W = ceil(G / 64) words; sets a (A, W) and b (B, W).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...cameras import inside, project

_WORDS_BATCH = 1 << 22  # words of b held in memory


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
    """Compute one flag per group, view by view, and pack 64 flags into a word."""
    views, words = world2cam.shape[0], (num_groups + 63) // 64
    bits = torch.empty(views, words, dtype=torch.int64, device=xyz.device)
    for v in range(views):
        u, row, depth, _ = (x[0] for x in project(xyz, world2cam[v : v + 1], intrinsics[v : v + 1]))
        in_view = inside(u, row, depth, (h, w))
        if valid is not None:
            in_view = in_view & valid
        # The last flag takes the points without a group.
        flags = torch.zeros(words * 64 + 1, dtype=torch.bool, device=xyz.device)
        if groups is None:
            flags[:num_groups] = in_view
        else:
            in_view = in_view & (groups >= 0) & (groups < num_groups)
            flags.scatter_(0, torch.where(in_view, groups, words * 64), True)
        bits[v] = _pack(flags[: words * 64].reshape(words, 64))
    return bits


def _pack(flags: Tensor) -> Tensor:
    """Pack flags (W, 64) into words (W,); the terms of the sum have no bit in common."""
    return (flags.long() << torch.arange(64, device=flags.device, dtype=torch.int64)).sum(1)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Divide counts of bits; the quotient is rounded to float64, then to float32."""
    size_a, size_b = _count_bits(a), _count_bits(b)
    result = torch.empty(a.shape[0], b.shape[0], dtype=torch.float32, device=a.device)
    step = max(1, _WORDS_BATCH // max(1, b.shape[1]))
    for i in range(a.shape[0]):
        for j in range(0, b.shape[0], step):
            common = _count_bits(a[i] & b[j : j + step])
            union = size_a[i] + size_b[j : j + step] - common
            result[i, j : j + step] = torch.where(union > 0, common.double() / union.double(), 0).float()
    return result


def _count_bits(words: Tensor) -> Tensor:
    """Count the bits set in every row (..., W): sums of pairs of 1, 2 and 4 bits, then of all bytes in one product."""
    x = words - ((words >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((x * 0x0101010101010101) >> 56).sum(-1)


def keep_sets(bits: Tensor, count: int) -> Tensor:
    """Count how many sets have each bit, and how many bits each set alone has; both change when a set leaves."""
    of_byte = torch.arange(8, dtype=torch.uint8, device=bits.device)
    flags = bits.clone(memory_format=torch.contiguous_format).view(torch.uint8)[:, :, None] >> of_byte & 1
    holders = flags.flatten(1).sum(0, dtype=torch.int32)  # (64 W,)
    has = flags.flatten(1).T.contiguous().view(torch.bool)  # (64 W, S)
    own = has[holders == 1].sum(0)  # (S,)
    is_kept = torch.ones(len(bits), dtype=torch.bool, device=bits.device)
    for _ in range(len(bits) - count):
        leaving = torch.where(is_kept, own, torch.iinfo(torch.int64).max).argmin()
        is_kept[leaving] = False
        left = has[:, leaving]
        own = own + has[left & (holders == 2)].sum(0)
        holders = holders - left.int()
    return is_kept.nonzero().squeeze(1)
