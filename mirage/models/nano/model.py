# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Loads small models: a backbone of ``mirage train`` on the cosine codec, with its memory adapter and LoRA."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import WanTransformer3DModel

from mirage_kernels import load_tensors

from ...errors import DataError
from ..embedded import DctCodec
from ..wan.adapter_files import KIND, VERSION
from ..wan.checkpoints import load_strict, require_transformer
from ..wan.conditioning import Conditioning
from ..wan.lora import lora_settings, read_lora
from ..wan.presets import PRESETS, match_preset
from ..wan.timesteps import make_scheduler
from ..wan.transformer import MirageTransformer3DModel
from .files import NANO, find_files, find_lora, named_folder
from .shifted_model import ShiftedChunkModel

__all__ = ["SmallModel", "load_small_codec", "load_small_model", "read_header"]

LORA = "lora"  # name of it in peft
HOLES_STEPS = 2  # more of them come out sharper and farther from the truth (mirage.evaluation.denoising_steps)


class SmallModel(NamedTuple):
    """A small model, ready for a rollout.

    Attributes:
        codec: of its latents.
        chunk_model: generates the latents of a chunk.
        transformer: the network, in float32.
        conditioning: what its adapter was trained with.
    """

    codec: DctCodec
    chunk_model: ShiftedChunkModel
    transformer: MirageTransformer3DModel
    conditioning: Conditioning


def load_small_model(
    folder: str | Path = NANO,
    *,
    lora: str | Path | None = None,
    lora_scale: float = 1.0,
    steps: int | None = None,
    control_scale: float = 1.0,
    keep_known: bool | None = None,
    device: torch.device | str = "cpu",
) -> SmallModel:
    """Load a small model.

    Args:
        folder: of its files, or of a run of ``mirage train`` with the stages base and adapter; ``"nano"`` for
            mirage-nano, which is part of this package.
        lora: file of LoRA, or the name of one in the folder, such as ``"night"``.
        lora_scale: multiplies what LoRA changes.
        steps: denoising steps; by default 2 to fill holes (``keep_known``), and 6 to generate all cells.
        control_scale: multiplies what the adapter adds; 0 turns the memory off.
        keep_known: whether cells that the memory shows stay as they are shown. By default as the adapter was trained,
            but not with LoRA, which may change what they look like.
        device: of the network.

    Raises:
        DataError: files are missing or damaged, or of a model for another codec.
    """
    folder = named_folder(folder)
    files = find_files(folder)
    settings = read_header(files.adapter)
    require_transformer(str(files.transformer), (WanTransformer3DModel.__name__,), {}, what="a transformer of a small "
                        "model", fix="write it again with mirage export, or install the package again")  # fmt: skip
    wan = load_strict(WanTransformer3DModel.from_pretrained, str(files.transformer), torch_dtype=torch.float32)
    layers, channels = settings["adapter_layers"], settings["control_channels"]
    preset = match_preset(wan.config.num_layers, layers, channels)
    if preset is None:
        raise DataError(f"{files.adapter}: expected an adapter of {', '.join(PRESETS)}, got layers {layers} and "
                        f"{channels} control channels")  # fmt: skip
    transformer = MirageTransformer3DModel.from_wan(wan, preset)
    transformer.load_adapter(files.adapter)
    transformer.float().to(device).eval()
    if keep_known is None:
        keep_known = transformer.conditioning.keep_known and lora is None
    transformer.conditioning = dataclasses.replace(transformer.conditioning, keep_known=keep_known)
    if steps is None:
        steps = HOLES_STEPS if keep_known else PRESETS["nano"].steps
    codec = _open_codec(files.adapter, settings)
    if lora is not None:
        _add_lora(transformer, find_lora(folder, lora), lora_scale)
    text = torch.zeros(1, 1, transformer.config.text_dim, dtype=torch.float32, device=device)
    scheduler = make_scheduler(transformer.conditioning.flow_shift or 1.0)
    chunk_model = ShiftedChunkModel(
        transformer,
        scheduler,
        codec,
        lambda _: (text, None),
        steps=steps,
        control_scale=control_scale,
    )
    return SmallModel(codec, chunk_model, transformer, transformer.conditioning)


def load_small_codec(folder: str | Path = NANO) -> DctCodec:
    """Make the codec of a small model, without its networks.

    Args:
        folder: as for :func:`load_small_model`.

    Raises:
        DataError: files are missing or damaged, or of a model for another codec.
    """
    adapter = find_files(named_folder(folder)).adapter
    return _open_codec(adapter, read_header(adapter))


def _open_codec(adapter: Path, settings: dict[str, Any]) -> DctCodec:
    """The cosine codec that an adapter was trained with."""
    try:
        conditioning = Conditioning.from_dict(settings.get("conditioning") or {})
    except (TypeError, ValueError) as error:
        raise DataError(f"{adapter}: {error}") from None
    block = re.fullmatch(r"dct-([0-9]{1,3})", conditioning.codec)
    if block is None or not 4 <= int(block[1]) <= 256:
        raise DataError(f"{adapter}: expected an adapter for the codec dct-N, got {conditioning.codec[:40]!r}")
    return DctCodec(int(block[1]), conditioning.temporal_stride or 4)


def _add_lora(transformer: MirageTransformer3DModel, path: Path, scale: float) -> None:
    tensors = read_lora(transformer, path)
    transformer.load_lora_adapter(tensors, adapter_name=LORA, prefix="transformer", metadata=lora_settings(tensors))
    transformer.set_adapters(LORA, scale)
    transformer.float()


def read_header(adapter: Path) -> dict[str, Any]:
    """Read the settings of an adapter's file.

    Raises:
        DataError: the file is missing or damaged, or no adapter of this package.
    """
    try:
        _, settings = load_tensors(adapter, kind=KIND, version=VERSION)
    except (ValueError, OSError) as error:
        raise DataError(str(error)) from None
    layers, channels = (settings.get(name) if isinstance(settings, dict) else None
                        for name in ("adapter_layers", "control_channels"))  # fmt: skip
    if not isinstance(layers, list) or not isinstance(channels, int):
        raise DataError(
            f"{adapter}: expected an adapter with its layers and control channels, got {str(settings)[:80]}"
        )
    return dict(settings)
