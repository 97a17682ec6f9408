# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of the memory adapter and of LoRA: ours, and those of the released layout."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft import LoraConfig
from torch import Tensor

from mirage_kernels import load_tensors, save_tensors

from .checkpoints import read_tensors
from .compat import from_released, lora_from_released
from .errors import DataError
from .presets import find_preset

if TYPE_CHECKING:
    from .transformer import MirageTransformer3DModel

__all__ = ["LORA_TARGETS", "lora_config", "read_adapter", "read_lora", "write_adapter"]

KIND, VERSION = "adapter", 1  # of the files
_HEADER = "mirage"  # what tells our files from released ones
_SETTINGS = (
    "adapter_layers", "control_channels", "num_layers", "num_attention_heads", "attention_head_dim", "ffn_dim",
    "patch_size", "qk_norm", "cross_attn_norm",
)  # fmt: skip

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


def _settings(model: MirageTransformer3DModel) -> dict[str, Any]:
    values = {name: model.config[name] for name in _SETTINGS}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def write_adapter(model: MirageTransformer3DModel, path: str | Path) -> None:
    """Write a model's adapter to one safetensors file, which replaces an older one only when it is whole."""
    save_tensors(path, model.adapter.state_dict(), kind=KIND, version=VERSION, settings=_settings(model))


def read_adapter(model: MirageTransformer3DModel, path: str | Path) -> dict[str, Tensor]:
    """The tensors of an adapter file for ``model.adapter``, on the CPU: of :func:`write_adapter`, or a released one.

    Raises:
        DataError: the file is missing, damaged, foreign, or holds an adapter of another configuration.
    """
    tensors, header = read_tensors(path, "an adapter", ("state_dict", "generator", "vace"))
    if _HEADER in header:
        return _read_own(model, path)
    try:
        converted = from_released(
            tensors, {f"adapter.{name}": tensor for name, tensor in model.adapter.state_dict().items()}
        )
    except ValueError as error:
        raise DataError(f"{path}: {error}{_difference(model, tensors)}") from None
    return {name.removeprefix("adapter."): tensor for name, tensor in converted.items()}


def _read_own(model: MirageTransformer3DModel, path: str | Path) -> dict[str, Tensor]:
    try:
        tensors, settings = load_tensors(path, kind=KIND, version=VERSION)
    except (ValueError, OSError) as error:
        raise DataError(str(error)) from None
    mine = _settings(model)
    names = [name for name in mine if mine[name] != settings.get(name)]
    if names:
        expected, got = (", ".join(f"{name}={side.get(name)}" for name in names) for side in (mine, settings))
        raise DataError(f"{path}: expected an adapter of {expected}, got one of {got}")
    if {n: t.shape for n, t in tensors.items()} != {n: t.shape for n, t in model.adapter.state_dict().items()}:
        raise DataError(f"{path}: expected an adapter, got tensors that do not fit its own configuration")
    return tensors


def _difference(model: MirageTransformer3DModel, tensors: Mapping[str, Tensor]) -> str:
    """How a released adapter differs from the model's, as far as its tensors tell."""
    blocks = {found[1] for found in (re.search(r"\bvace_blocks\.(\d+)\.", name) for name in tensors) if found}
    embedding = [t for name, t in tensors.items() if name.endswith("vace_patch_embedding.weight") and t.ndim == 5]
    mine = (len(model.adapter.control_blocks), model.config.control_channels)
    if not embedding or mine == (theirs := (len(blocks), embedding[0].shape[1])):
        return ""
    return f"; of blocks and control channels: expected {mine}, got {theirs}"


def read_lora(model: MirageTransformer3DModel, path: str | Path) -> dict[str, Tensor]:
    """LoRA from a file, as ``load_lora_weights`` of diffusers' pipelines and ``load_lora_adapter`` of models take it.

    Reads diffusers' and peft's own names and the released ones (:func:`mirage.compat.lora_from_released`). Where the
    file notes an alpha that differs from the rank, the weights come scaled by their quotient; a file without such a
    note is of alpha = rank, as released training has it.

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
