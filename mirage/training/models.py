# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The model that a stage trains, and its weights at the end."""

from __future__ import annotations

import dataclasses
import json
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import WanPipeline, WanTransformer3DModel
from torch import Tensor

from mirage_kernels import atomic_write

from ..errors import DataError, first_line
from ..io.files import read_json
from ..models.wan.adapter_files import write_adapter
from ..models.wan.checkpoints import load_strict, require_transformer
from ..models.wan.conditioning import Conditioning
from ..models.wan.export import write_plain
from ..models.wan.lora import lora_config
from ..models.wan.released_keys import lora_to_released
from ..models.wan.transformer import MirageTransformer3DModel
from .recipe import Recipe, StageName

__all__ = ["ADAPTER", "BASE", "LORA", "PEFT", "RELEASED_LORA", "export_stage", "keep_backbone", "make_model"]

# What a stage leaves in its folder.
BASE, ADAPTER, LORA = "transformer", "adapter.safetensors", "pytorch_lora_weights.safetensors"
PEFT, RELEASED_LORA = "peft", "lora_released.safetensors"
CONDITIONING = "conditioning.json"  # of a backbone of the stage base, in its folder


def make_model(
    stage: StageName,
    recipe: Recipe,
    channels: int,
    conditioning: Conditioning,
    backbone: Path | None,
    adapter: Path | None,
    dtype: torch.dtype,
) -> MirageTransformer3DModel:
    """Make the model of a stage. What it trains is float32; nothing else has gradients.

    Args:
        stage: the stage.
        recipe: the recipe.
        channels: of the latents.
        conditioning: what the result is conditioned on.
        backbone: folder of the backbone in diffusers' layout, or of a pipeline; not used for ``"base"``.
        adapter: file of the adapter: to start from, for the stage ``"adapter"``, and to run, for ``"lora"``.
        dtype: of the weights that are not trained.

    Raises:
        DataError: weights are missing or do not fit.
    """
    if stage == "base":
        sizes = vars(recipe.backbone)
        wan = WanTransformer3DModel(in_channels=channels, out_channels=channels, **sizes)
    else:
        wan = _load_backbone(backbone, dtype)
        if wan.config.in_channels != channels:
            got = wan.config.in_channels
            raise DataError(f"--model: expected a backbone for the {channels} channels of the data, got {got}")
    model = MirageTransformer3DModel.from_wan(wan, recipe.preset)
    model.conditioning = conditioning
    if stage != "base" and adapter is not None:
        # LoRA keeps what the adapter was trained with; files of other trainers say nothing.
        model.load_adapter(adapter, conditioning if stage == "adapter" else None)
    if stage == "lora":  # it may change what known cells look like
        model.conditioning = dataclasses.replace(model.conditioning, keep_known=False)
    model.requires_grad_(False)
    if stage == "lora":
        if adapter is None:
            raise DataError("--adapter: expected the file of the adapter that LoRA is trained with, got none")
        model.add_adapter(lora_config(recipe.preset, recipe.lora_rank or None))
    elif stage == "adapter":
        model.adapter.requires_grad_(True)
    else:
        model.requires_grad_(True)
        model.adapter.requires_grad_(False)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if recipe.checkpointing:
        model.enable_gradient_checkpointing()
    if recipe.compile:
        model.compile_repeated_blocks()
    model.train()
    result: MirageTransformer3DModel = model
    return result


def _load_backbone(folder: Path | None, dtype: torch.dtype) -> Any:
    if folder is None:
        raise DataError(
            "--model: expected a folder with Wan2.2 in diffusers' layout, or the stage base before, got none"
        )
    options: dict[str, Any] = {"subfolder": "transformer"} if (folder / "model_index.json").is_file() else {}
    require_transformer(str(folder), (WanTransformer3DModel.__name__,), options)
    return load_strict(WanTransformer3DModel.from_pretrained, str(folder), torch_dtype=dtype, **options)


def keep_backbone(folder: Path | None, conditioning: Conditioning) -> Conditioning:
    """Condition an adapter as its backbone was trained: on latents normalized by the same statistics.

    Args:
        folder: of the backbone. What another program has made says nothing.
        conditioning: what follows from recipe and data.

    Raises:
        DataError: the backbone was trained with another codec, prediction, or shift of the noise levels.
    """
    path = None if folder is None else folder / CONDITIONING
    if path is None or not path.is_file():
        return conditioning
    try:
        trained = Conditioning.from_dict(read_json(path, "what a backbone was trained with"))
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {first_line(error)}") from None
    for name in ("codec", "temporal_stride", "prediction"):
        got = getattr(conditioning, name)
        if got != getattr(trained, name):
            raise DataError(f"{path}: expected {name} {getattr(trained, name)}, got {got}")
    return dataclasses.replace(conditioning, latents_mean=trained.latents_mean, latents_std=trained.latents_std)


def export_stage(stage: StageName, model: MirageTransformer3DModel, weights: Mapping[str, Tensor], out: Path) -> None:
    """Write the trained weights of a stage in the layouts in which they are used.

    ``base``: ``transformer/``, in diffusers' layout. ``adapter``: ``adapter.safetensors``. ``lora``:
    ``pytorch_lora_weights.safetensors`` of diffusers, ``peft/`` for peft alone, and ``lora_released.safetensors``.

    Args:
        stage: the stage.
        model: the model; its own weights are not used.
        weights: the trained weights by their names in the model.
        out: folder of the stage.
    """
    if stage == "base":
        names = WanTransformer3DModel._get_init_keys(WanTransformer3DModel) - {"self"}
        wan = WanTransformer3DModel(**{name: model.config[name] for name in names})
        wan.load_state_dict(dict(weights))
        wan.save_pretrained(out / BASE)
        with atomic_write(out / BASE / CONDITIONING) as partial:
            partial.write_text(json.dumps(model.conditioning.to_dict(), indent=1) + "\n")
        _share((out / BASE).glob("*.safetensors"), out / BASE / CONDITIONING)
    elif stage == "adapter":
        write_adapter({name.removeprefix("adapter."): w for name, w in weights.items()}, model.config, out / ADAPTER)
    else:
        lora = {name.replace(".default.", "."): weight for name, weight in weights.items()}
        WanPipeline.save_lora_weights(out, transformer_lora_layers=lora)
        config = next(iter(model.peft_config.values()))
        config.save_pretrained(out / PEFT)
        peft = {f"base_model.model.{name}": weight for name, weight in lora.items()}
        write_plain(out / PEFT / "adapter_model.safetensors", peft)
        write_plain(out / RELEASED_LORA, lora_to_released(lora))
        _share([out / LORA], out / RELEASED_LORA)


def _share(files: Iterable[Path], like: Path) -> None:
    """Give files of diffusers the permissions of another file: safetensors makes them for their owner alone."""
    for file in files:
        file.chmod(stat.S_IMODE(like.stat().st_mode))
