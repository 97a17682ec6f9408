# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory adapter: blocks that turn the control input into hints, and the backbone's blocks that add them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor, nn

__all__ = ["HintChain", "LateHint", "MemoryAdapter", "MemoryAdapterBlock", "MirageTransformerBlock"]


class MirageTransformerBlock(WanTransformerBlock):  # type: ignore[misc]
    """A block of Wan's backbone that adds the adapter's hint to its output.

    The hint is added inside the block's forward. Step caches of diffusers replace the forward of blocks and store what
    blocks change; a hint that is added outside would be added again to a stored result that contains it.
    """

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        rotary_emb: tuple[Tensor, Tensor],
        hint: Tensor | LateHint | None = None,
    ) -> Tensor:
        """Run the block.

        Args:
            hidden_states: (B, tokens, dim).
            encoder_hidden_states: (B, words, dim), the embedded text.
            temb: (B, 6, dim) or (B, tokens, 6, dim), the timestep's projection.
            rotary_emb: cosines and sines of the rotary embedding.
            hint: (B, tokens, dim), added to the output, or an object that computes it; None adds nothing.

        Returns:
            (B, tokens, dim).
        """
        output: Tensor = super().forward(hidden_states, encoder_hidden_states, temb, rotary_emb)
        added: Tensor | None = hint.compute() if isinstance(hint, LateHint) else hint
        return output if added is None else output + added.to(output.device)


# The hooks of diffusers look blocks up by their class, and not by its parents.
TransformerBlockRegistry.register(
    MirageTransformerBlock,
    TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=None),
)


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


class HintChain:
    """The adapter's hints, computed one block after the other as the backbone asks for them.

    Args:
        run: runs an adapter block: ``run(block, control, hidden_states)`` returns its hint, as the backbone adds it,
            and the control input of the next block.
        blocks: the adapter's blocks by the backbone's layers, ascending.
        control: (B, tokens, dim), the embedded control input.
        hidden_states: (B, tokens, dim), the backbone's tokens for the first block.
    """

    def __init__(
        self,
        run: Callable[[nn.Module, Tensor, Tensor | None], tuple[Tensor, Tensor]],
        blocks: dict[int, nn.Module],
        control: Tensor,
        hidden_states: Tensor,
    ) -> None:
        self._run, self._waiting = run, dict(blocks)
        self._control = control
        self._entering: Tensor | None = hidden_states

    def compute(self, layer: int) -> Tensor | None:
        """Compute the hint of a layer, after adapter blocks of earlier layers that have not run.

        Args:
            layer: larger than in the calls before.

        Returns:
            (B, tokens, dim); None if the layer has no adapter block.
        """
        hint = None
        for number in [number for number in self._waiting if number <= layer]:
            entering, self._entering = self._entering, None
            hint, self._control = self._run(self._waiting.pop(number), self._control, entering)
            hint = hint if number == layer else None
        return hint


class LateHint(NamedTuple):
    """The hint of a layer, computed when the backbone's block asks for it.

    A class and not a function: torch.compile tells a tensor from an object of a class when it runs what it compiled,
    but not from a function.

    Attributes:
        chain: computes the hint.
        layer: the layer.
    """

    chain: HintChain
    layer: int

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def compute(self) -> Tensor | None:
        """Compute the hint. It is not compiled with the block that asks for it."""
        return self.chain.compute(self.layer)
