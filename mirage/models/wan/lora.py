# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA for the transformer's backbone: configuration and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import LoraConfig
from torch import Tensor, nn

from ...errors import DataError
from .checkpoints import read_tensors
from .presets import PresetName, find_preset
from .released_keys import lora_from_released

__all__ = ["LORA_TARGETS", "lora_config", "read_lora"]

# Patterns for full module names, because the adapter's blocks have layers of the same names. The key is whether the
# feed-forward layers are included.
LORA_TARGETS = {
    False: r"blocks\.\d+\.attn[12]\.(to_q|to_k|to_v|to_out\.0)",
    True: r"blocks\.\d+\.(attn[12]\.(to_q|to_k|to_v|to_out\.0)|ffn\.net\.(0\.proj|2))",
}


MAX_ALPHA = 1000  # ranks; more than a factor of some tens is an error


def lora_config(preset: PresetName = "release", rank: int | None = None, **settings: Any) -> LoraConfig:
    """Make a LoRA configuration for ``MirageTransformer3DModel.add_adapter``. It targets the backbone's blocks, and not
    the memory adapter's.

    Args:
        preset: ``"release"`` (rank 32 on q, k, v, o and both feed-forward layers) or ``"paper"`` (rank 64 on q, k, v
            and o).
        rank: replaces the preset's rank.
        settings: further arguments of :class:`peft.LoraConfig`. By default ``lora_alpha`` equals the rank, which is a
            scale of 1.

    Raises:
        ValueError: the preset is unknown.
    """
    kind = find_preset(preset)
    rank = kind.lora_rank if rank is None else rank
    targets = LORA_TARGETS[kind.lora_feed_forward]
    return LoraConfig(**{"r": rank, "lora_alpha": rank, "target_modules": targets, **settings})


def read_lora(model: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """Read a LoRA file for ``load_lora_weights`` of diffusers' pipelines or ``load_lora_adapter`` of its models.

    Tensor names may be those of diffusers, peft or the released checkpoints; see
    :func:`~mirage.models.wan.released_keys.lora_from_released`. The weights are scaled by alpha / rank if the file's
    header has them; otherwise alpha equals the rank, as in the released training code.

    Args:
        model: the transformer that the LoRA is for.
        path: the file to read.

    Returns:
        The LoRA tensors, by diffusers' names.

    Raises:
        DataError: the file is missing or damaged, holds something else, or does not fit the model.
    """
    tensors, header = read_tensors(path, "LoRA", ("state_dict", "generator", "lora"))
    # In a model that already has LoRA, the original weights are under base_layer.
    weights = {name.replace(".base_layer.", "."): tensor for name, tensor in model.state_dict().items()}
    try:
        lora = lora_from_released(tensors, weights)
        scale = _scale(header)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return lora if scale == 1 else {n: t * scale if ".lora_B." in n else t for n, t in lora.items()}


def _scale(header: Mapping[str, str]) -> float:
    """Alpha / rank from the header that diffusers writes to LoRA files; 1 without it."""
    if LORA_ADAPTER_METADATA_KEY not in header:
        return 1.0
    try:
        metadata = json.loads(header[LORA_ADAPTER_METADATA_KEY])
        settings = {name.removeprefix("transformer."): value for name, value in metadata.items()}
        rank, alpha = float(settings["r"]), float(settings["lora_alpha"])
        quotient = alpha / rank
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
        raise ValueError("expected LoRA, got a damaged header") from None
    if not (rank >= 1 and abs(alpha) <= MAX_ALPHA * rank):
        raise ValueError(
            f"expected LoRA with a rank of at least 1 and an alpha of at most {MAX_ALPHA} ranks, got r={rank:g} and "
            f"lora_alpha={alpha:g}"
        )
    unsupported = [name for name in ("alpha_pattern", "rank_pattern", "use_rslora", "use_dora") if settings.get(name)]
    if unsupported:
        raise ValueError(
            f"{unsupported[0]}: expected none, got {settings[unsupported[0]]}; pass the file's folder to "
            "load_lora_weights, so that diffusers reads it"
        )
    return quotient
