# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""LoRA for the transformer's backbone: configuration and files."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY, LORA_WEIGHT_NAME_SAFE
from peft import LoraConfig
from torch import Tensor, nn

from ...errors import DataError
from .checkpoints import read_tensors
from .lora_keys import MAX_ALPHA, convert_lora, linear_layers
from .presets import PresetName, find_preset

__all__ = ["LORA_TARGETS", "convert", "find_lora_file", "lora_config", "lora_settings", "read_lora"]

# Patterns for full module names, because the adapter's blocks have layers of the same names. The key is whether the
# feed-forward layers are included.
LORA_TARGETS = {
    False: r"blocks\.\d+\.attn[12]\.(to_q|to_k|to_v|to_out\.0)",
    True: r"blocks\.\d+\.(attn[12]\.(to_q|to_k|to_v|to_out\.0)|ffn\.net\.(0\.proj|2))",
}


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

    Args:
        model: the transformer that the LoRA is for.
        path: the file to read, in one of the formats of :func:`~mirage.models.wan.lora_keys.convert_lora`. Without an
            alpha in its tensors or in diffusers' header, alpha equals the rank, as in the released training code.

    Returns:
        The LoRA tensors, by diffusers' names.

    Raises:
        DataError: the file is missing or damaged, holds something else, or does not fit the model.
    """
    tensors, header = read_tensors(path, "LoRA", ("state_dict", "generator", "lora"))
    try:
        return convert(model, tensors, _parse_header(header))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None


def convert(model: nn.Module, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None) -> dict[str, Tensor]:
    """Convert LoRA tensors for a model.

    Args:
        model: the transformer that the LoRA is for.
        tensors: by their names in the file.
        metadata: settings of the LoRA that diffusers wrote with the tensors, if it did.

    Raises:
        ValueError: the tensors or the metadata do not fit the model.
    """
    layers = linear_layers(model)
    return convert_lora(tensors, layers, None if metadata is None else _scales(metadata, layers))


def find_lora_file(folder: str | Path, weight_name: str | None = None) -> Path:
    """Find the LoRA file of a folder.

    Args:
        folder: the folder.
        weight_name: name of the file; by default that of diffusers, or the only file with weights.

    Raises:
        DataError: there is no such file, or more than one.
    """
    folder = Path(folder)
    if weight_name is not None:
        return folder / weight_name
    files = sorted(file for suffix in ("safetensors", "bin") for file in folder.glob(f"*.{suffix}"))
    own = [file for file in files if file.name == LORA_WEIGHT_NAME_SAFE]
    files = own or files
    if len(files) != 1:
        got = ", ".join(file.name for file in files[:3]) or "none"
        raise DataError(f"{folder}: expected one file with LoRA weights, got {got}; pass weight_name")
    return files[0]


def lora_settings(lora: Mapping[str, Tensor]) -> dict[str, Any]:
    """Settings for peft that put LoRA on the layers of the tensors and on no others.

    From the tensors alone, diffusers would also put it on layers whose names end the same, such as ``proj_out`` of the
    adapter's blocks.

    Args:
        lora: the LoRA tensors, by diffusers' names.

    Returns:
        The settings, by diffusers' names.
    """
    ranks = {
        name.removeprefix("transformer.").removesuffix(".lora_A.weight"): len(tensor)
        for name, tensor in lora.items()
        if name.endswith(".lora_A.weight")
    }
    rank = max(set(ranks.values()), key=list(ranks.values()).count)
    other = {f"^{re.escape(name)}": r for name, r in ranks.items() if r != rank}
    settings = {
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": other,
        "alpha_pattern": dict(other),
        "target_modules": "|".join(re.escape(name) for name in ranks),
        "lora_bias": any(name.endswith(".lora_B.bias") for name in lora),
    }
    return {f"transformer.{name}": value for name, value in settings.items()}


def _parse_header(header: Mapping[str, str]) -> dict[str, Any] | None:
    """The settings in the header of a file that diffusers wrote; None without them."""
    if LORA_ADAPTER_METADATA_KEY not in header:
        return None
    try:
        metadata = json.loads(header[LORA_ADAPTER_METADATA_KEY])
    except (ValueError, RecursionError):
        raise ValueError("expected LoRA, got a damaged header") from None
    if not isinstance(metadata, dict):
        raise ValueError("expected LoRA, got a damaged header")
    return metadata


def _scales(metadata: Mapping[str, Any], layers: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """Scale of each layer: alpha / rank, or alpha / sqrt(rank) with rank-stabilized LoRA."""
    settings = {name.removeprefix("transformer."): value for name, value in metadata.items()}
    if settings.get("use_dora"):
        raise ValueError("use_dora: expected LoRA without DoRA, which diffusers does not load for Wan")
    scales = {}
    for module in layers:
        try:
            rank = float(_of_pattern(settings.get("rank_pattern"), module, settings["r"]))
            alpha = float(_of_pattern(settings.get("alpha_pattern"), module, settings["lora_alpha"]))
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
            raise ValueError("expected LoRA, got a damaged header") from None
        if not (rank >= 1 and abs(alpha) <= MAX_ALPHA * rank < math.inf):
            raise ValueError(
                f"expected LoRA with a rank of at least 1 and an alpha of at most {MAX_ALPHA} ranks, got r={rank:g} "
                f"and lora_alpha={alpha:g}"
            )
        scales[module] = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    return scales


def _of_pattern(patterns: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """The value of the first pattern that a module's name equals or ends with.

    peft takes them as regular expressions. Some expressions take exponential time to match, so only plain names are
    accepted from a file.
    """
    for pattern, value in (patterns or {}).items():
        name = pattern.removeprefix("^").replace("\\.", ".")
        if not re.fullmatch(r"[\w.]+", name):
            raise ValueError(pattern)
        if f".{module}".endswith(f".{name}"):
            return value
    return default
