# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Fingerprints of weights, to notice that they are others than before."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

__all__ = ["sample_tensor", "sample_weights"]

VALUES = 256  # of each tensor


def sample_tensor(tensor: Tensor) -> bytes:
    """Return evenly spaced values of a tensor as bytes."""
    flat = tensor.detach().flatten()
    step = max(1, flat.numel() // VALUES)
    return flat[::step].to("cpu", torch.float32).contiguous().numpy().tobytes()


def sample_weights(module: nn.Module | None, *, frozen_only: bool = False) -> str:
    """Hash some values of every parameter of a module.

    Args:
        module: the module; None gives an empty string.
        frozen_only: whether to leave out parameters that are trained.
    """
    if module is None:
        return ""
    digest = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        if not (frozen_only and parameter.requires_grad):
            digest.update(f"{name} {tuple(parameter.shape)}".encode())
            digest.update(sample_tensor(parameter))
    return digest.hexdigest()[:16]
