# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Takes over the backbone of a Wan transformer, quantized or not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["read_weights", "share_backbone"]

# What diffusers sets on a quantized model, besides its configuration.
_QUANTIZER_ATTRIBUTES = (
    "hf_quantizer", "is_quantized", "quantization_method", "is_loaded_in_4bit", "is_loaded_in_8bit",
    "is_4bit_serializable", "is_8bit_serializable",
)  # fmt: skip


def share_backbone(model: Any, wan: Any) -> None:
    """Give a model the parameters of a Wan transformer, without copying them.

    Quantized layers are shared as modules, because only they can compute with their parameters.

    Args:
        model: the model with an adapter; its backbone has the same modules.
        wan: a Wan transformer without LoRA.

    Raises:
        ValueError: the transformer has LoRA.
    """
    lora = next((name for name, _ in wan.named_parameters() if ".lora_" in name), None)
    if lora is not None:
        raise ValueError(f"wan: expected a transformer without LoRA, got one with {lora}")
    _share(model, wan)
    for name in _QUANTIZER_ATTRIBUTES:
        if hasattr(wan, name):
            setattr(model, name, getattr(wan, name))
    if "quantization_config" in wan.config:
        model.register_to_config(quantization_config=wan.config["quantization_config"])


def _share(ours: nn.Module, theirs: nn.Module) -> None:
    for name, child in theirs.named_children():
        mine = getattr(ours, name)
        if name == "rope":
            continue  # has no parameters, and ours is of another class
        if isinstance(child, nn.Linear) and type(child) is not nn.Linear:
            setattr(ours, name, child)
        else:
            _share(mine, child)
    for name, parameter in theirs.named_parameters(recurse=False):
        setattr(ours, name, parameter)


def read_weights(block: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    """Copy the parameters of a block, with those of quantized layers as floating-point numbers.

    Args:
        block: a block of the backbone.
        dtype: of the weights of quantized layers; other parameters keep theirs.

    Returns:
        The parameters by name.
    """
    weights = {}
    for prefix, module in block.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            weight = parameter.detach()
            if name == "weight" and isinstance(module, nn.Linear) and _is_quantized(module):
                weight = _dequantize(module).to(dtype)
            weights[f"{prefix}.{name}".lstrip(".")] = weight.clone()
    return weights


def _is_quantized(layer: nn.Linear) -> bool:
    return type(layer) is not nn.Linear or type(layer.weight) is not nn.Parameter


@torch.no_grad()
def _dequantize(layer: nn.Linear) -> Tensor:
    """The weight (out, in) of a layer of any quantization: its outputs for unit vectors."""
    bias = layer.bias
    layer.register_parameter("bias", None)
    dtype = getattr(layer, "compute_dtype", None) or (torch.float32 if bias is None else bias.dtype)
    try:
        result: Tensor = layer(torch.eye(layer.in_features, dtype=dtype, device=layer.weight.device))
        return result.T.contiguous()
    finally:
        layer.register_parameter("bias", bias)
