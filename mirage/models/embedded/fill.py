# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A generator with nothing to download: shows what the memory shows, and fills the holes smoothly."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf


def push_pull(values: Tensor, mask: Tensor) -> Tensor:
    """Fill holes from their surroundings: average what is known into ever coarser grids, and read the holes back from
    the finest grid that knows them (Gortler, Grzeszczuk, Szeliski and Cohen 1996, section 3.3).

    Args:
        values: (T, C, h, w).
        mask: (T, h, w) bool, True where known.

    Returns:
        (T, C, h, w): known cells as they are, holes filled; zeros in a map without any known cell.
    """
    weight = mask[:, None].to(values)
    if mask.all() or max(values.shape[-2:]) == 1:
        return values * weight
    odd = (0, values.shape[-1] % 2, 0, values.shape[-2] % 2)
    known = nnf.avg_pool2d(nnf.pad(values * weight, odd), 2)
    share = nnf.avg_pool2d(nnf.pad(weight, odd), 2)
    coarse = push_pull(known / share.clamp(min=0.25), share[:, 0] > 0)
    smooth = nnf.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.where(mask[:, None], values, smooth[..., : values.shape[-2], : values.shape[-1]])


class FillGenerator:
    """What the memory shows, its holes filled by :func:`push_pull`. Deterministic: references, prompt and randomness
    have no effect."""

    patch = 1

    def __call__(
        self,
        view: Tensor,
        mask: Tensor,
        *,
        first: Tensor,
        preceding: Tensor,
        preceding_view: Tensor,
        preceding_mask: Tensor,
        references: Tensor,
        prompt: str,
        generator: torch.Generator,
    ) -> Tensor:
        filled = push_pull(view.movedim(1, 0), mask).movedim(0, 1)
        return torch.cat([first[:, None], filled[:, 1:]], 1)
