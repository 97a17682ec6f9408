# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Rotary positions of a sequence that starts with references."""

from __future__ import annotations

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from torch import Tensor

__all__ = ["MirageRotaryPosEmbed"]


class MirageRotaryPosEmbed(WanRotaryPosEmbed):  # type: ignore[misc]
    """Rotary position embedding for a sequence that starts with R reference latents.

    The latents are at times -R, ..., -1, 0, 1, .... References also have their rows shifted by the number of rows, so
    that no position of a reference equals one of another latent.
    """

    def forward(self, hidden_states: Tensor, num_references: int = 0) -> tuple[Tensor, Tensor]:
        """Compute the embedding.

        Args:
            hidden_states: latents (B, C, R + T + P, h, w); only their size matters.
            num_references: R.

        Returns:
            Cosines and sines, (1, tokens, 1, head dim).
        """
        if num_references == 0:
            cosines, sines = super().forward(hidden_states)
            return cosines, sines
        frames, h, w = (n // p for n, p in zip(hidden_states.shape[2:], self.patch_size, strict=True))
        time = torch.arange(-num_references, frames - num_references, device=hidden_states.device, dtype=torch.int64)
        row = torch.arange(h, device=hidden_states.device, dtype=torch.int64) + h * (time < 0)[:, None]
        column = torch.arange(w, device=hidden_states.device, dtype=torch.int64)
        sizes = [self.t_dim, self.h_dim, self.w_dim]
        tables = []
        for table, sign in ((self.freqs_cos, torch.ones_like(time)), (self.freqs_sin, time.sign())):
            along_t, along_h, along_w = table.split(sizes, dim=1)  # (positions, size) each
            along_t = along_t[time.abs()] * sign.to(table)[:, None]
            parts = (along_t[:, None, None], along_h[row][:, :, None], along_w[column][None, None])
            expanded = [part.expand(frames, h, w, -1) for part in parts]
            tables.append(torch.cat(expanded, -1).reshape(1, frames * h * w, 1, -1))
        return tables[0], tables[1]
