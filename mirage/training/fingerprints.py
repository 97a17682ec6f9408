# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of weights, to notice that they are others than before."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

__all__ = ["sample_model", "sample_tensor", "sample_weights"]

VALUES = 256  # of each tensor


def sample_tensor(tensor: Tensor) -> bytes:
    """Return evenly spaced values of a tensor as bytes."""
    flat = tensor.detach().flatten()
    step = max(1, flat.numel() // VALUES)
    return flat[::step].to("cpu", torch.float32).contiguous().numpy().tobytes()


def sample_model(model: nn.Module) -> dict[str, str]:
    """Fingerprints of the backbone and of the adapter of a model, without LoRA."""
    parts: dict[str, dict[str, Tensor]] = {"backbone weights": {}, "adapter weights": {}}
    for name, parameter in model.named_parameters():
        if ".lora_" not in name:
            part = "adapter weights" if name.startswith("adapter.") else "backbone weights"
            parts[part][name.replace(".base_layer.", ".")] = parameter
    return {part: _sample(tensors) for part, tensors in parts.items()}


def sample_weights(module: nn.Module | None) -> str:
    """Hash some values of every parameter of a module; None gives an empty string."""
    return "" if module is None else _sample(dict(module.named_parameters()))


def _sample(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(sample_tensor(tensor))
    return digest.hexdigest()[:16]
