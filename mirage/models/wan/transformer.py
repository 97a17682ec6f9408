# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Wan's video transformer with the memory adapter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin, WanTransformer3DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models._modeling_parallel import ContextParallelInput, ContextParallelOutput
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.utils import apply_lora_scale
from torch import Tensor, nn
from torch.nn import functional as nnf

from .adapter import HintChain, LateHint, MemoryAdapter, MemoryAdapterBlock, MirageTransformerBlock
from .adapter_files import read_adapter, write_adapter
from .backbone import read_weights, share_backbone
from .checkpoints import is_on_hub, load_strict, reach_hub, require_transformer
from .conditioning import Conditioning
from .prediction import flow_of_sample
from .presets import PRESETS, Preset, PresetName, find_preset
from .rotary import MirageRotaryPosEmbed

# diffusers looks up ModelMixin in this module to load the transformer of a saved pipeline.
__all__ = ["PRESETS", "MemoryAdapterBlock", "MirageTransformer3DModel", "ModelMixin", "Preset"]


class MirageTransformer3DModel(WanTransformer3DModel):  # type: ignore[misc]
    """:class:`diffusers.WanTransformer3DModel` with the memory adapter.

    A sequence is R references, T targets and P preceding latents, concatenated along time. The adapter runs on targets
    and preceding latents only. Its output projections are initialized to zero, so an untrained adapter has no effect.
    The architecture is that of VACE (arXiv 2503.07598), with the control input of arXiv 2606.09828.

    Args:
        patch_size, num_attention_heads, attention_head_dim, in_channels, out_channels, text_dim, freq_dim, ffn_dim,
            num_layers, cross_attn_norm, qk_norm, eps, rope_max_seq_len: as in the parent class; the defaults are those
            of Wan2.2-TI2V-5B.
        adapter_layers: layers of the backbone that have an adapter block, ascending from 0.
        control_channels: channels of the control input.
        conditioning: what the adapter was trained with, as :meth:`.Conditioning.to_dict` returns it; None for the
            defaults. See :attr:`conditioning`.
        image_dim, added_kv_proj_dim, pos_embed_seq_len: must be None; Wan2.2-TI2V has no image embeddings.

    Raises:
        ValueError: ``adapter_layers`` or ``conditioning`` is invalid, or an argument that must be None is not.
    """

    _no_split_modules = ["MirageTransformerBlock", "MemoryAdapterBlock"]  # noqa: RUF012
    _repeated_blocks = ["MirageTransformerBlock", "MemoryAdapterBlock"]  # noqa: RUF012
    # Backbone and adapter have sequences of different lengths, because the adapter's lacks the references. Each is
    # sharded on its own, so a hint is gathered, padded to the backbone's length, and sharded again.
    _cp_plan = {  # noqa: RUF012
        "rope": {
            0: ContextParallelInput(split_dim=1, expected_dims=4, split_output=True),
            1: ContextParallelInput(split_dim=1, expected_dims=4, split_output=True),
        },
        "blocks.0": {"hidden_states": ContextParallelInput(split_dim=1, expected_dims=3)},
        "blocks.*": {"temb": ContextParallelInput(split_dim=1, expected_dims=4)},
        "adapter.control_blocks.0": {
            "control": ContextParallelInput(split_dim=1, expected_dims=3),
            "hidden_states": ContextParallelInput(split_dim=1, expected_dims=3),
        },
        "adapter.control_blocks.*": {"temb": ContextParallelInput(split_dim=1, expected_dims=4)},
        "adapter.control_blocks.*.proj_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
        "hint": {"input": ContextParallelInput(split_dim=1, expected_dims=3)},
        "norm_out": ContextParallelOutput(gather_dim=1, expected_dims=3),
    }

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        patch_size: Sequence[int] = (1, 2, 2),
        num_attention_heads: int = 24,
        attention_head_dim: int = 128,
        in_channels: int = 48,
        out_channels: int = 48,
        text_dim: int = 4096,
        freq_dim: int = 256,
        ffn_dim: int = 14336,
        num_layers: int = 30,
        cross_attn_norm: bool = True,
        qk_norm: str = "rms_norm_across_heads",
        eps: float = 1e-6,
        rope_max_seq_len: int = 1024,
        adapter_layers: Sequence[int] = PRESETS["release"].layers(30),
        control_channels: int = PRESETS["release"].control_channels,
        conditioning: dict[str, Any] | None = None,
        image_dim: None = None,
        added_kv_proj_dim: None = None,
        pos_embed_seq_len: None = None,
    ) -> None:
        if any(size is not None for size in (image_dim, added_kv_proj_dim, pos_embed_seq_len)):
            values = f"{image_dim}, {added_kv_proj_dim}, {pos_embed_seq_len}"
            raise ValueError(f"image_dim, added_kv_proj_dim, pos_embed_seq_len: expected None, got {values}")
        layers = list(adapter_layers)
        if not layers or layers[0] != 0 or layers != sorted(set(layers)) or layers[-1] >= num_layers:
            raise ValueError(f"adapter_layers: expected ascending layers from 0 to {num_layers - 1}, got {layers}")
        Conditioning.from_dict(conditioning or {})
        super().__init__(
            tuple(patch_size), num_attention_heads, attention_head_dim, in_channels, out_channels, text_dim, freq_dim,
            ffn_dim, num_layers, cross_attn_norm, qk_norm, eps, rope_max_seq_len=rope_max_seq_len,
        )  # fmt: skip
        dim = num_attention_heads * attention_head_dim
        for block in self.blocks:  # the same parameters; building the blocks again would initialize them twice
            block.__class__ = MirageTransformerBlock
        self.rope = MirageRotaryPosEmbed(attention_head_dim, tuple(patch_size), rope_max_seq_len)
        self.adapter = MemoryAdapter(control_channels, dim, patch_size, [
            MemoryAdapterBlock(dim, ffn_dim, num_attention_heads, qk_norm, cross_attn_norm, eps, first=layer == 0)
            for layer in layers
        ])  # fmt: skip
        self.hint = nn.Identity()
        self._zero_projections()

    @property
    def conditioning(self) -> Conditioning:
        """What the adapter was trained with, and what the pipeline therefore conditions on. May be set."""
        return Conditioning.from_dict(self.config.conditioning or {})

    @conditioning.setter
    def conditioning(self, value: Conditioning) -> None:
        self.register_to_config(conditioning=value.to_dict())

    def _zero_projections(self) -> None:
        """Zero the adapter's input and output projections, so that it has no effect before training."""
        for name, parameter in self.adapter.named_parameters():
            if ".proj_in." in name or ".proj_out." in name:
                nn.init.zeros_(parameter)

    @classmethod
    def from_wan(cls, wan: WanTransformer3DModel, preset: PresetName = "release") -> MirageTransformer3DModel:
        """Make a model from a Wan2.2 transformer and a new, untrained adapter.

        The backbone's parameters are shared with ``wan``, not copied; they may be quantized. The adapter's blocks are
        initialized from the backbone's blocks of the same layers, with zero projections; its patch embedding from the
        backbone's, with zeros for the additional channels. The adapter is not quantized.

        Args:
            wan: a Wan2.2 transformer without image embeddings and without LoRA.
            preset: of the adapter, ``"release"`` or ``"paper"``.

        Raises:
            ValueError: the transformer has image embeddings or LoRA, or the preset is unknown.
        """
        kind = find_preset(preset)
        if wan.config.image_dim is not None or wan.config.added_kv_proj_dim is not None:
            raise ValueError("wan: expected a transformer without image embeddings (Wan2.2-TI2V), got one with them")
        names = cls._get_init_keys(cls) - {"self", "adapter_layers", "control_channels", "conditioning"}
        settings = {name: wan.config[name] for name in names}
        with torch.device("meta"):
            model: MirageTransformer3DModel = cls(
                **settings, adapter_layers=kind.layers(wan.config.num_layers), control_channels=kind.control_channels
            )
        share_backbone(model, wan)
        model.rope = MirageRotaryPosEmbed(
            wan.config.attention_head_dim, tuple(wan.config.patch_size), wan.config.rope_max_seq_len
        ).to(wan.rope.freqs_cos.device)
        model._init_adapter()
        model.train(wan.training)
        return model

    def _init_adapter(self) -> None:
        """Allocate the adapter, which is on the meta device, and initialize it from the backbone."""
        base = self.patch_embedding
        shape = self.adapter.patch_embedding.weight.shape
        self.adapter.to_empty(device=base.weight.device)
        weight = base.weight.new_zeros(shape)
        shared = min(shape[1], base.weight.shape[1])
        weight[:, :shared] = base.weight.detach()[:, :shared]
        self.adapter.patch_embedding.weight = nn.Parameter(weight)
        self.adapter.patch_embedding.bias = nn.Parameter(base.bias.detach().clone())
        for layer, block in zip(self.config.adapter_layers, self.adapter.control_blocks, strict=True):
            source = read_weights(self.blocks[layer], base.weight.dtype)
            block.load_state_dict(source, strict=False, assign=True)
            for projection in (block.proj_in, block.proj_out):
                if projection is not None:
                    projection.to(source["attn1.to_q.weight"].dtype)
        self._zero_projections()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *, preset: PresetName | None = None, **kwargs: Any
    ) -> MirageTransformer3DModel:
        """Load a model saved by :meth:`save_pretrained`, or a Wan2.2 transformer, which gets a new adapter.

        Args:
            pretrained_model_name_or_path: a folder, or a model's name on the Hub, as in diffusers.
            preset: of the new adapter: ``"release"`` (default) or ``"paper"``.
            kwargs: passed to :meth:`diffusers.ModelMixin.from_pretrained`: ``subfolder``, ``torch_dtype`` and so on.

        Raises:
            DataError: weights are missing (the message says what to download and where to put it), incomplete, or of
                another model.
            ValueError: a preset is passed for a model that has an adapter, or a ``device_map`` for one that has none.
        """
        kind = preset or "release"
        find_preset(kind)
        path, name = str(pretrained_model_name_or_path), cls.__name__
        if is_on_hub(path):
            file = "/".join(filter(None, [kwargs.get("subfolder"), "config.json"]))
            kwargs |= reach_hub(path, file, kwargs)
        if require_transformer(path, (name, WanTransformer3DModel.__name__), kwargs) == name:
            if preset is not None:
                raise ValueError(f"preset: expected None for {path}, which already has an adapter, got {preset!r}")
            model: MirageTransformer3DModel = load_strict(super().from_pretrained, path, **kwargs)
            return model
        if kwargs.get("device_map") is not None:
            raise ValueError(f"device_map: expected None if an adapter is added, got {kwargs['device_map']!r}")
        return cls.from_wan(load_strict(WanTransformer3DModel.from_pretrained, path, **kwargs), kind)

    def save_adapter(self, path: str | Path) -> None:
        """Write the adapter to a safetensors file; see :func:`mirage.models.wan.adapter_files.write_adapter`."""
        write_adapter(self.adapter.state_dict(), self.config, path)

    def load_adapter(self, path: str | Path, conditioning: Conditioning | None = None) -> None:
        """Load an adapter saved by :meth:`save_adapter`, or one in the released layout. Weights are cast to the model's
        dtypes.

        Args:
            path: the file.
            conditioning: what the adapter was trained with, for a file that does not say so or to override what it
                says. By default that of the file; if it has none, :attr:`conditioning` stays as it is.

        Raises:
            DataError: the file is missing or damaged, or holds something else or an adapter of another configuration.
        """
        tensors, stored = read_adapter(self.adapter, self.config, path)
        self.adapter.load_state_dict(tensors)
        if conditioning is not None or stored is not None:
            self.conditioning = conditioning or Conditioning.from_dict(stored or {})

    @apply_lora_scale("attention_kwargs")  # type: ignore[untyped-decorator]
    def forward(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        control_hidden_states: Tensor | None = None,
        num_references: int = 0,
        control_scale: float = 1.0,
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> Transformer2DModelOutput | tuple[Tensor]:
        """Predict the flow.

        Args:
            hidden_states: latents (B, C, R + T + P, h, w).
            timestep: (B,), one per sequence; (B, R + T + P), one per latent; or (B, tokens).
            encoder_hidden_states: prompt embeddings (B, words, text dim).
            control_hidden_states: (B or 1, control channels, T + P, h, w); None skips the adapter.
            num_references: R.
            control_scale: multiplies the adapter's hints.
            return_dict: whether to return a :class:`Transformer2DModelOutput` or a tuple.
            attention_kwargs: ``{"scale": s}`` sets the scale of LoRA.

        Returns:
            The flow (B, C, R + T + P, h, w).

        Raises:
            ValueError: a shape is wrong.
        """
        self._check(hidden_states, timestep, control_hidden_states, num_references)
        patches = tuple(n // p for n, p in zip(hidden_states.shape[2:], self.config.patch_size, strict=True))
        references = num_references * patches[1] * patches[2]
        latents = hidden_states
        rotary_emb = self.rope(latents, num_references)
        hidden_states = self.patch_embedding(latents).flatten(2).transpose(1, 2).contiguous()
        temb, timestep_proj, context = self._embed_conditions(timestep, encoder_hidden_states, patches)

        chain: HintChain | None = None
        if control_hidden_states is not None:
            chain = self._start_hints(
                control_hidden_states, latents[:, :, num_references:], hidden_states[:, references:], context,
                timestep_proj if timestep_proj.ndim == 3 else timestep_proj[:, references:], references, control_scale,
            )  # fmt: skip
        # With a step cache, a block computes its hint itself, so that a block that the cache skips also skips the
        # adapter's. Compiled and checkpointed blocks need a tensor.
        is_late = self.is_cache_enabled and not torch.is_grad_enabled()
        for layer, block in enumerate(self.blocks):
            hint: Tensor | LateHint | None = None
            if chain is not None:
                hint = LateHint(chain, layer) if is_late else chain.compute(layer)
            hidden_states = self._run(block, hidden_states, context, timestep_proj, rotary_emb, hint)

        output = self._unpatchify(hidden_states, temb, patches)
        if (self.config.conditioning or {}).get("prediction") == "sample":
            output = flow_of_sample(output, latents, timestep)
        return Transformer2DModelOutput(sample=output) if return_dict else (output,)

    def _check(self, latents: Tensor, timestep: Tensor, control: Tensor | None, references: int) -> None:
        """Check the shapes of the arguments of :meth:`forward`."""
        b, frames, h, w = latents.shape[0], *latents.shape[2:]
        if (
            latents.shape[1] != self.config.in_channels
            or h % self.config.patch_size[1]
            or w % self.config.patch_size[2]
        ):
            step = self.config.patch_size[1:]
            expected = f"(B, C={self.config.in_channels}, R + T + P, h, w) with h and w multiples of {tuple(step)}"
            raise ValueError(f"hidden_states: expected {expected}, got {tuple(latents.shape)}")
        if not 0 <= references < frames:
            raise ValueError(f"num_references: expected 0 to {frames - 1} of {frames} latents, got {references}")
        tokens = frames * math.prod((h // self.config.patch_size[1], w // self.config.patch_size[2]))
        if tuple(timestep.shape) not in ((b,), (b, frames), (b, tokens)):
            expected = f"(B={b},), (B={b}, R + T + P={frames}) or (B={b}, tokens={tokens})"
            raise ValueError(f"timestep: expected {expected}, got {tuple(timestep.shape)}")
        shape = (self.config.control_channels, frames - references, h, w)
        if control is not None and (control.ndim != 5 or len(control) not in (1, b) or control.shape[1:] != shape):
            expected = f"(B={b}, control channels={shape[0]}, T + P={shape[1]}, h={h}, w={w})"
            raise ValueError(f"control_hidden_states: expected {expected}, got {tuple(control.shape)}")

    def _embed_conditions(
        self, timestep: Tensor, text: Tensor, patches: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embed timestep and text: (B, dim) or (B, tokens, dim); its projection (B, 6, dim) or (B, tokens, 6, dim);
        text (B, words, dim)."""
        length = None if timestep.ndim == 1 else timestep.shape[1]
        temb, timestep_proj, text, _ = self.condition_embedder(timestep.flatten(), text, None, timestep_seq_len=length)
        timestep_proj = timestep_proj.unflatten(-1, (6, -1))
        if length == patches[0]:  # one timestep per latent: embedded before it is repeated for each token
            temb = temb.repeat_interleave(patches[1] * patches[2], 1)
            timestep_proj = timestep_proj.repeat_interleave(patches[1] * patches[2], 1)
        return temb, timestep_proj, text

    def _run(self, block: nn.Module, *inputs: Any) -> Any:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(block, *inputs)
        return block(*inputs)

    def _start_hints(
        self,
        control: Tensor,
        latents: Tensor,
        hidden_states: Tensor,
        text: Tensor,
        timestep_proj: Tensor,
        references: int,
        scale: float,
    ) -> HintChain:
        """Embed the control input, and prepare the adapter's blocks to run on it. Hints are padded to the tokens of the
        backbone, whose first ``references`` are those of reference latents."""
        rotary_emb = self.rope(latents)
        control = self.adapter.patch_embedding(control).flatten(2).transpose(1, 2).contiguous()

        def run(block: nn.Module, control: Tensor, entering: Tensor | None) -> tuple[Tensor, Tensor]:
            hint, control = self._run(block, control, entering, text, timestep_proj, rotary_emb)
            return self.hint(nnf.pad(hint, (0, 0, references, 0))) * scale, control

        blocks = dict(zip(self.config.adapter_layers, self.adapter.control_blocks, strict=True))
        return HintChain(run, blocks, control.expand(len(hidden_states), -1, -1), hidden_states)

    def _unpatchify(self, hidden_states: Tensor, temb: Tensor, patches: Sequence[int]) -> Tensor:
        """Tokens (B, tokens, dim) to latents (B, C, frames, h, w)."""
        dtype, hidden_states = hidden_states.dtype, self.norm_out(hidden_states.float())
        table = self.scale_shift_table.to(temb.device)
        if temb.ndim == 3:
            shift, scale = (part.squeeze(2) for part in (table.unsqueeze(0) + temb.unsqueeze(2)).chunk(2, dim=2))
        else:
            shift, scale = (table + temb.unsqueeze(1)).chunk(2, dim=1)
        shift, scale = shift.to(hidden_states.device), scale.to(hidden_states.device)
        hidden_states = self.proj_out((hidden_states * (1 + scale) + shift).to(dtype))
        frames, h, w = patches
        pixels = hidden_states.reshape(hidden_states.shape[0], frames, h, w, *self.config.patch_size, -1)
        pixels = pixels.permute(0, 7, 1, 4, 2, 5, 3, 6)
        return pixels.flatten(6, 7).flatten(4, 5).flatten(2, 3)
