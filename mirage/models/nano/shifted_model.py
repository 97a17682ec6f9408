# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk model that hides the borders between the tokens of a small transformer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf

from ..wan.generator import DenoisingSequence, WanChunkModel

__all__ = ["ShiftedChunkModel"]


class ShiftedChunkModel(WanChunkModel):
    """A :class:`mirage.models.wan.generator.WanChunkModel` whose grid moves by half a token in every second denoising
    step.

    A token is a patch of cells, 2x2 as a rule, and a small transformer makes neighboring tokens fit together badly,
    which shows as squares. Where the patches lie does not matter to it. So it sees the grid with a margin of half a
    patch in every second step, and what was the border of a patch is its middle.
    """

    def _begin(self, device: torch.device) -> Tensor:
        timesteps = super()._begin(device)
        self._moved = {float(t) for t in timesteps[1::2]}
        return timesteps

    def _flow(self, sequence: DenoisingSequence, latents: Tensor, t: Tensor, embeddings: Tensor) -> Tensor:
        margin = self.patch // 2
        if float(t) not in self._moved or margin == 0:
            return super()._flow(sequence, latents, t, embeddings)
        moved = sequence._replace(
            references=add_margin(sequence.references, margin),
            preceding=add_margin(sequence.preceding, margin),
            control=add_margin(sequence.control, margin),
        )
        flow = super()._flow(moved, add_margin(latents, margin), t, embeddings)
        return flow[..., margin:-margin, margin:-margin]


def add_margin(latents: Tensor, margin: int) -> Tensor:
    """Repeat the outermost cells of (B, C, T, h, w): (B, C, T, h + 2 margin, w + 2 margin).

    Example:
        >>> add_margin(torch.arange(4.0).reshape(1, 1, 1, 2, 2), 1).flatten(0, 3).tolist()
        [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0], [2.0, 2.0, 3.0, 3.0]]
    """
    *rest, h, w = latents.shape
    if not latents.numel():
        return latents.new_zeros(*rest, h + 2 * margin, w + 2 * margin)
    return nnf.pad(latents, (margin, margin, margin, margin, 0, 0), mode="replicate")
