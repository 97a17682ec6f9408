# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA on Wan's transformer: its configuration and its files."""

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
from .presets import find_preset
from .released_keys import lora_from_released

__all__ = ["LORA_TARGETS", "lora_config", "read_lora"]

# Full names, for the adapter's blocks have layers of the same names: by whether the feed-forward layers belong to it.
LORA_TARGETS = {
    False: r"blocks\.\d+\.attn[12]\.(to_q|to_k|to_v|to_out\.0)",
    True: r"blocks\.\d+\.(attn[12]\.(to_q|to_k|to_v|to_out\.0)|ffn\.net\.(0\.proj|2))",
}


def lora_config(preset: str = "release", rank: int | None = None, **settings: Any) -> LoraConfig:
    """What ``MirageTransformer3DModel.add_adapter`` needs for LoRA on the backbone's blocks, never on the adapter's.

    Args:
        preset: ``"release"`` (rank 32 on q, k, v, o and both feed-forward layers) or ``"paper"`` (rank 64 on the
            former four).
        rank: instead of the preset's.
        settings: further ones of :class:`peft.LoraConfig`. ``lora_alpha`` is the rank by default: LoRA counts in full.
    """
    kind = find_preset(preset)
    rank = kind.lora_rank if rank is None else rank
    targets = LORA_TARGETS[kind.lora_feed_forward]
    return LoraConfig(**{"r": rank, "lora_alpha": rank, "target_modules": targets, **settings})


def read_lora(model: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """LoRA from a file, as ``load_lora_weights`` of diffusers' pipelines and ``load_lora_adapter`` of models take it.

    Reads diffusers' and peft's own names and the released ones, see
    :func:`~mirage.models.wan.released_keys.lora_from_released`. Where the file notes an alpha other than the rank, the
    weights are scaled by their quotient; a file without such a note has alpha = rank, as in released training.

    Args:
        model: what it is for.
        path: of a file.

    Raises:
        DataError: the file is missing, damaged or foreign, or does not fit the model.
    """
    tensors, header = read_tensors(path, "LoRA", ("state_dict", "generator", "lora"))
    # A model that has LoRA already keeps its own weights under base_layer.
    weights = {name.replace(".base_layer.", "."): tensor for name, tensor in model.state_dict().items()}
    try:
        lora = lora_from_released(tensors, weights)
        scale = _scale(header)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    return lora if scale == 1 else {n: t * scale if ".lora_B." in n else t for n, t in lora.items()}


def _scale(header: Mapping[str, str]) -> float:
    """Alpha / rank, as diffusers notes it in the header of its LoRA files."""
    if LORA_ADAPTER_METADATA_KEY not in header:
        return 1.0
    try:
        noted = json.loads(header[LORA_ADAPTER_METADATA_KEY])
        settings = {name.removeprefix("transformer."): value for name, value in noted.items()}
        rank, alpha = float(settings["r"]), float(settings["lora_alpha"])
        quotient = alpha / rank
    except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError):
        raise ValueError("expected LoRA, got a damaged header") from None
    odd = [name for name in ("alpha_pattern", "rank_pattern", "use_rslora", "use_dora") if settings.get(name)]
    if odd:
        raise ValueError(
            f"{odd[0]}: expected none, got {settings[odd[0]]}; load_lora_weights reads this file by itself"
        )
    return quotient
