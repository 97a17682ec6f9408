# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Converts LoRA tensors of the formats that other programs write to those of diffusers."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .released_keys import raise_first, to_our_module, to_their_module, unwrapped

__all__ = ["MAX_ALPHA", "convert_lora", "linear_layers"]

MAX_ALPHA = 1000  # ranks; more than a factor of some tens is an error
_KINDS = {
    r"\.lora_(?:A|down)(?:\.default)?\.weight|\.lora\.down\.weight": "A",
    r"\.lora_(?:B|up)(?:\.default)?\.weight|\.lora\.up\.weight": "B",
    r"\.diff_b|\.lora_B(?:\.default)?\.bias": "bias",
    r"\.alpha": "alpha",
    r"\.diff": "diff",
}
_UNDERSCORED = "lora_unet_"  # prefix of musubi-tuner's names, which have underscores instead of dots


class _Layer(NamedTuple):
    """The tensors of a file for one layer, by kind, and their names in the file."""

    tensors: dict[str, Tensor]
    sources: dict[str, str]


def linear_layers(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Find the linear layers of a transformer's backbone, also if they are quantized or have LoRA already.

    Args:
        model: the transformer.

    Returns:
        (out features, in features) by name.
    """
    layers = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not name.startswith("adapter.") and ".lora_" not in name:
            layers[name.removesuffix(".base_layer")] = (module.out_features, module.in_features)
    return layers


def convert_lora(
    tensors: Mapping[str, Tensor], layers: Mapping[str, tuple[int, int]], scales: Mapping[str, float] | None = None
) -> dict[str, Tensor]:
    """Convert LoRA tensors to diffusers' names (``transformer.blocks.0.attn1.to_q.lora_A.weight``), with scale 1.

    Names of layers may be those of diffusers, peft, Wan's own code, the released checkpoints or musubi-tuner
    (``lora_unet_blocks_0_self_attn_q``), with any prefix. The matrices may be named ``lora_A`` and ``lora_B`` or
    ``lora_down`` and ``lora_up``. A layer may have an ``alpha``, by which its LoRA is scaled (alpha / rank), and a
    change of its bias (``diff_b``). A file may cover some layers only. What :class:`diffusers.WanPipeline` ignores is
    ignored with a warning: changes of norms and of whole weights (``diff``) other than that of ``head.head``.

    Args:
        tensors: by their names in the file.
        layers: the layers that may have LoRA; see :func:`linear_layers`.
        scales: scale of each layer, by its name, if it has no ``alpha``; 1 by default.

    Returns:
        The tensors.

    Raises:
        ValueError: a tensor is unknown, missing, duplicate, not finite, or of a shape that does not fit its layer.
    """
    found, ignored, problems = _sort(tensors, layers)
    converted: dict[str, Tensor] = {}
    for module, layer in found.items():
        if "A" not in layer.tensors and "B" not in layer.tensors and module.endswith("time_proj"):
            ignored += layer.sources.values()
            continue
        new = _problems(module, layer, layers[module])
        problems += new
        if not new:
            scale = 1.0 if scales is None else scales.get(module, 1.0)
            converted |= {f"transformer.{module}.{n}": t for n, t in _convert(layer, layers[module], scale).items()}
    if not found and not problems:
        problems.append("tensors: expected LoRA, got none")
    raise_first(problems)
    if ignored:
        more = f" and {len(ignored) - 3} more" if len(ignored) > 3 else ""
        warnings.warn(f"LoRA: ignored {', '.join(ignored[:3])}{more}, as diffusers does", stacklevel=3)
    return _with_biases(converted)


def _sort(
    tensors: Mapping[str, Tensor], layers: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, _Layer], list[str], list[str]]:
    """Sort tensors by layer. Also returns the names to ignore, and the problems."""
    short = {to_their_module(name) or name: name for name in layers}
    underscored = {name.replace(".", "_"): ours for name, ours in [*short.items(), *zip(layers, layers, strict=True)]}
    found: dict[str, _Layer] = {}
    ignored, problems = [], []
    for source, tensor in tensors.items():
        kind, module = _parse(source, underscored)
        if kind in ("bias", "diff") and (module not in layers or (kind == "diff" and module != "proj_out")):
            if tensor.any():  # norms are stored with zeros
                ignored.append(source)
            continue
        if not kind or module not in layers:
            expected = "LoRA on a linear layer of the model's backbone"
            problems.append(f"{source}: expected {expected}, got an unknown name")
            continue
        layer = found.setdefault(module, _Layer({}, {}))
        if kind in layer.tensors:
            problems.append(f"{source}: expected one tensor for {module}, got {layer.sources[kind]} as well")
        layer.tensors[kind], layer.sources[kind] = tensor, source
    return found, ignored, problems


def _parse(source: str, underscored: Mapping[str, str]) -> tuple[str, str]:
    """The kind of a tensor, and the layer's name in the model; empty if the name is of another form."""
    name = unwrapped(source)
    for pattern, kind in _KINDS.items():
        match = re.search(f"(?:{pattern})$", name)
        if match:
            module = name[: match.start()]
            if module.startswith(_UNDERSCORED):
                return kind, underscored.get(module.removeprefix(_UNDERSCORED), "")
            return kind, to_our_module(module) or module
    return "", ""


def _problems(module: str, layer: _Layer, size: tuple[int, int]) -> list[str]:
    """Missing tensors, wrong shapes and wrong values in the LoRA of one layer."""
    problems, given = [], layer.tensors
    theirs = to_their_module(module) or module
    pair = [side for side in ("A", "B") if side in given]
    if len(pair) == 1 or ("alpha" in given and not pair):
        missing = "B" if pair == ["A"] else "A"
        problems.append(f"{theirs}.lora_{missing}.weight: expected a tensor, got none")
    a = given.get("A")
    rank = len(a) if a is not None and a.ndim else 0
    shapes = {"A": (rank, size[1]), "B": (size[0], rank), "bias": (size[0],), "diff": size}
    for kind, tensor in given.items():
        source, shape = layer.sources[kind], tuple(tensor.shape)
        if not tensor.is_floating_point() and kind != "alpha":
            problems.append(f"{source}: expected floating-point numbers, got {tensor.dtype}")
        elif not bool(tensor.isfinite().all()):
            problems.append(f"{source}: expected finite numbers, got NaN or infinity")
        elif kind == "alpha" and tensor.numel() != 1:
            problems.append(f"{source}: expected one number, got {shape}")
        elif kind in shapes and shape != shapes[kind] and len(pair) != 1:
            problems.append(f"{source}: expected {shapes[kind]}, got {shape}")
        elif kind == "diff" and pair:
            problems.append(f"{source}: expected LoRA or a change of the weight, got both")
    if "alpha" in given and not problems and abs(given["alpha"].item()) > MAX_ALPHA * rank:
        alpha, source = given["alpha"].item(), layer.sources["alpha"]
        problems.append(f"{source}: expected at most {MAX_ALPHA} times the rank {rank}, got {alpha:g}")
    if a is not None and rank == 0 and not problems:
        problems.append(f"{layer.sources['A']}: expected a rank of at least 1, got {tuple(a.shape)}")
    return problems


def _convert(layer: _Layer, size: tuple[int, int], scale: float) -> dict[str, Tensor]:
    """The LoRA of one layer by diffusers' names, scaled."""
    given = layer.tensors
    if "diff" in given:  # the change of the whole weight
        a = given["diff"]
        b = torch.eye(size[0], dtype=a.dtype, device=a.device)
    elif "A" in given:
        a, b = given["A"], given["B"]
    else:  # a change of the bias alone
        bias = given["bias"]
        a, b = bias.new_zeros(1, size[1]), bias.new_zeros(size[0], 1)
    if "alpha" in given:
        scale = given["alpha"].item() / len(a)
    down, up = _split_scale(scale)
    named = {"lora_A.weight": a if down == 1 else a * down, "lora_B.weight": b if up == 1 else b * up}
    return named | ({"lora_B.bias": given["bias"]} if "bias" in given else {})


def _split_scale(scale: float) -> tuple[float, float]:
    """Split a scale into factors for both matrices, as diffusers does, so that neither becomes very small."""
    down, up = scale, 1.0
    while 0 < down * 2 < up and math.isfinite(down):
        down, up = down * 2, up / 2
    return down, up


def _with_biases(converted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add zero biases to all layers if one has a bias, because peft has one setting for all layers."""
    if not any(name.endswith(".bias") for name in converted):
        return converted
    for name, tensor in list(converted.items()):
        if name.endswith(".lora_B.weight"):
            converted.setdefault(name.removesuffix("weight") + "bias", tensor.new_zeros(len(tensor)))
    return converted
