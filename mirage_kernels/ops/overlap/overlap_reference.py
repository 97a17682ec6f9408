# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""visible and overlap in pure PyTorch: what the native kernels must equal bit for bit. N points in G groups, V views,
W = ceil(G / 64) words; sets a (A, W) and b (B, W)."""

from __future__ import annotations

import torch
from torch import Tensor

from ...cameras import inside, project

_WORDS_AT_ONCE = 1 << 22  # of b, held in memory


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
    """One view after the other; a flag for each group, then 64 flags to a word."""
    views, words = world2cam.shape[0], (num_groups + 63) // 64
    bits = torch.empty(views, words, dtype=torch.int64, device=xyz.device)
    for v in range(views):
        u, row, depth, _ = (x[0] for x in project(xyz, world2cam[v : v + 1], intrinsics[v : v + 1]))
        seen = inside(u, row, depth, (h, w))
        if valid is not None:
            seen = seen & valid
        # What is left over of the last word stays clear; so does the place behind it, where points without a group go.
        flags = torch.zeros(words * 64 + 1, dtype=torch.bool, device=xyz.device)
        if groups is None:
            flags[:num_groups] = seen
        else:
            seen = seen & (groups >= 0) & (groups < num_groups)
            flags.scatter_(0, torch.where(seen, groups, words * 64), True)
        bits[v] = _pack(flags[: words * 64].reshape(words, 64))
    return bits


def _pack(flags: Tensor) -> Tensor:
    """(W, 64) flags as bits: no two terms of the sum share one."""
    return (flags.long() << torch.arange(64, device=flags.device)).sum(1)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """The quotient of the counts is rounded to float64, then to float32."""
    of_a, of_b = _count_bits(a), _count_bits(b)
    result = torch.empty(a.shape[0], b.shape[0], dtype=torch.float32, device=a.device)
    step = max(1, _WORDS_AT_ONCE // max(1, b.shape[1]))
    for i in range(a.shape[0]):
        for j in range(0, b.shape[0], step):
            common = _count_bits(a[i] & b[j : j + step])
            either = of_a[i] + of_b[j : j + step] - common
            result[i, j : j + step] = torch.where(either > 0, common.double() / either.double(), 0).float()
    return result


def _count_bits(words: Tensor) -> Tensor:
    """How many bits of every row (..., W) are set: sums of neighbouring 1, 2 and 4 bits, then of all bytes at once."""
    x = words - ((words >> 1) & 0x5555555555555555)
    x = (x & 0x3333333333333333) + ((x >> 2) & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return ((x * 0x0101010101010101) >> 56).sum(-1)
