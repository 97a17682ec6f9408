# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Parameter counts and weight sizes of the full model, computed on the meta device (nothing is downloaded).

``python -m mirage.models.wan.parameter_counts`` prints them as a Markdown table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from diffusers import AutoencoderKLWan
from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

from .lora import lora_config
from .presets import PRESETS, PresetName
from .transformer import MirageTransformer3DModel

__all__ = ["TEXT_ENCODER_SETTINGS", "VAE_SETTINGS", "Size", "full_model", "parameter_sizes", "parameter_table"]

# Settings of Wan2.2-TI2V-5B that differ from the classes' defaults. The means and standard deviations of latents are
# of no effect here: their values are stored with the weights, and parameter counts do not depend on them.
VAE_SETTINGS = {
    "base_dim": 160, "decoder_base_dim": 256, "z_dim": 48, "is_residual": True, "in_channels": 12, "out_channels": 12,
    "patch_size": 2, "scale_factor_spatial": 16, "scale_factor_temporal": 4,
    "latents_mean": [0.0] * 48, "latents_std": [1.0] * 48,
}  # fmt: skip
TEXT_ENCODER_SETTINGS = {
    "vocab_size": 256384,
    "d_model": 4096,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
}  # umt5-xxl


class Size(NamedTuple):
    """Number of parameters of a part of the model.

    Attributes:
        parameters: number of parameters.
        kept_in_float32: number of those that diffusers keeps in float32 whatever the model's dtype.
    """

    parameters: int
    kept_in_float32: int

    def bytes(self, dtype: torch.dtype) -> int:
        """Size in bytes if the model is loaded in ``dtype``."""
        return self.kept_in_float32 * 4 + (self.parameters - self.kept_in_float32) * dtype.itemsize


def full_model(preset: PresetName = "release") -> MirageTransformer3DModel:
    """The transformer with a memory adapter at the size of Wan2.2-TI2V-5B, on the meta device (without weights).

    Args:
        preset: of the adapter, ``"release"`` or ``"paper"``.
    """
    kind = PRESETS[preset]
    with torch.device("meta"):
        model: MirageTransformer3DModel = MirageTransformer3DModel(
            adapter_layers=kind.layers(30), control_channels=kind.control_channels
        )
    return model


def _size(parameters: Iterable[tuple[str, nn.Parameter]]) -> Size:
    kept = set(MirageTransformer3DModel._keep_in_fp32_modules)
    counts = [(p.numel(), p.numel() * bool(kept & set(name.split(".")))) for name, p in parameters]
    return Size(sum(count for count, _ in counts), sum(count for _, count in counts))


def parameter_sizes() -> dict[str, Size]:
    """Sizes of all parts of the model, by their names in the table."""
    sizes, loras = {}, {}
    for preset in ("release", "paper"):
        model = full_model(preset)
        parts = list(model.named_parameters())
        sizes["transformer, the backbone"] = _size(item for item in parts if not item[0].startswith("adapter."))
        sizes[f"memory adapter, `{preset}`"] = _size(item for item in parts if item[0].startswith("adapter."))
        model.add_adapter(lora_config(preset))
        loras[f"LoRA, `{preset}`"] = _size(item for item in model.named_parameters() if ".lora_" in item[0])
    with torch.device("meta"):
        vae = AutoencoderKLWan(**VAE_SETTINGS)
        text_encoder = UMT5EncoderModel(UMT5Config(**TEXT_ENCODER_SETTINGS))
    sizes |= loras
    sizes["VAE"] = Size(sum(p.numel() for p in vae.parameters()), 0)
    sizes["text encoder, UMT5"] = Size(sum(p.numel() for p in text_encoder.parameters()), 0)
    return sizes


def parameter_table() -> str:
    """The sizes as a Markdown table."""
    lines = ["| weights | parameters | float32 | bfloat16 |", "|---|---:|---:|---:|"]
    for name, size in parameter_sizes().items():
        count = size.parameters
        text = f"{count / 1e9:.3f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"
        full, half = (f"{size.bytes(dtype) / 2**30:.2f} GiB" for dtype in (torch.float32, torch.bfloat16))
        lines.append(f"| {name} | {text} | {full} | {half} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(parameter_table(), end="")
