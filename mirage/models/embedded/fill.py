# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk model without weights: it returns the memory's view with smoothly filled holes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf


def push_pull(values: Tensor, mask: Tensor) -> Tensor:
    """Fill holes with the push-pull algorithm (Gortler, Grzeszczuk, Szeliski and Cohen 1996, section 3.3): average the
    valid cells down an image pyramid, and fill each hole from the finest level that is valid there.

    Args:
        values: (T, C, h, w) float.
        mask: (T, h, w) bool, True for valid cells.

    Returns:
        (T, C, h, w): valid cells unchanged, holes filled. A map without any valid cell becomes zero.
    """
    weight = mask[:, None].to(values)
    if mask.all() or max(values.shape[-2:]) == 1:
        return values * weight
    odd = (0, values.shape[-1] % 2, 0, values.shape[-2] % 2)
    total = nnf.avg_pool2d(nnf.pad(values * weight, odd), 2)
    fraction = nnf.avg_pool2d(nnf.pad(weight, odd), 2)
    coarse = push_pull(total / fraction.clamp(min=0.25), fraction[:, 0] > 0)
    smooth = nnf.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.where(mask[:, None], values, smooth[..., : values.shape[-2], : values.shape[-1]])


class FillModel:
    """A :class:`mirage.rollout.ChunkModel` that fills the holes of the memory's view by :func:`push_pull`. It is
    deterministic; preceding latents, references, prompt and random generator have no effect."""

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
        """Generate the latents of a chunk; see :meth:`mirage.rollout.ChunkModel.__call__`."""
        filled = push_pull(view.movedim(1, 0), mask).movedim(0, 1)
        return torch.cat([first[:, None], filled[:, 1:]], 1)
