# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Generators make a chunk of latents from what the memory shows."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .fill import FillGenerator, push_pull

__all__ = ["FillGenerator", "Generator", "push_pull"]


class Generator(Protocol):
    """What the rollout asks of a generator.

    Attributes:
        patch: the sides of a grid of latents are multiples of it.
    """

    patch: int

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
        rng: torch.Generator,
    ) -> Tensor:
        """Make T latents.

        Args:
            view: (C, T, h, w), what the memory shows from the chunk's cameras; zeros in holes.
            mask: (T, h, w) bool, False in holes.
            first: (C, h, w), the chunk's first latent, which is given.
            preceding: (C, P, h, w), up to two latents that came before it.
            preceding_view, preceding_mask: (C, P, h, w) and (P, h, w), what the memory showed when those were made.
            references: (C, R, h, w), up to four past latents that saw the same places, best first.
            prompt: what the video is of.
            rng: source of randomness.

        Returns:
            (C, T, h, w), the first of which is ``first``.
        """
        ...
