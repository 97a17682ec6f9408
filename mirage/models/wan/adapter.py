# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory adapter: blocks that turn the control input into hints for the backbone."""

from __future__ import annotations

from collections.abc import Sequence

from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor, nn

__all__ = ["MemoryAdapter", "MemoryAdapterBlock"]


class MemoryAdapterBlock(WanTransformerBlock):  # type: ignore[misc]
    """A block of Wan that runs on the control input and projects its output to a hint for the backbone.

    Args:
        dim, ffn_dim, num_heads, qk_norm, cross_attn_norm, eps: as for the backbone's blocks.
        first: whether this is the first block, which also takes the backbone's tokens as input.
    """

    def __init__(
        self, dim: int, ffn_dim: int, num_heads: int, qk_norm: str, cross_attn_norm: bool, eps: float, first: bool
    ) -> None:
        super().__init__(dim, ffn_dim, num_heads, qk_norm, cross_attn_norm, eps)
        self.proj_in = nn.Linear(dim, dim) if first else None
        self.proj_out = nn.Linear(dim, dim)

    def forward(
        self,
        control: Tensor,
        hidden_states: Tensor | None,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        rotary_emb: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Run the block.

        Args:
            control: (B, tokens, dim), the output of the block before; for the first block, the embedded control input.
            hidden_states: (B, tokens, dim), the backbone's tokens; only the first block uses them.
            encoder_hidden_states: (B, words, dim), the embedded text.
            temb: (B, 6, dim) or (B, tokens, 6, dim), the timestep's projection.
            rotary_emb: cosines and sines of the rotary embedding.

        Returns:
            The hint for the backbone, and the control input of the next block, both (B, tokens, dim).
        """
        if self.proj_in is not None:
            control = self.proj_in(control) + hidden_states
        control = super().forward(control, encoder_hidden_states, temb, rotary_emb)
        return self.proj_out(control), control


class MemoryAdapter(nn.Module):
    """The patch embedding of the control input, and one block for each of ``adapter_layers``.

    The blocks are named ``control_blocks`` and not ``blocks``, because peft matches LoRA targets by the end of a name,
    and would match ``adapter.blocks.0`` with ``blocks.0``.

    Args:
        control_channels: channels of the control input.
        dim: size of a token.
        patch_size: (t, h, w) of a patch.
        blocks: the adapter's blocks.
    """

    def __init__(self, control_channels: int, dim: int, patch_size: Sequence[int], blocks: list[MemoryAdapterBlock]):
        super().__init__()
        t, h, w = patch_size
        self.patch_embedding = nn.Conv3d(control_channels, dim, (t, h, w), (t, h, w))
        self.control_blocks = nn.ModuleList(blocks)
