# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Pickles of cameras and caches.

A pickled tensor carries its whole storage, and two processes share it. So objects pickle copies of what they use.
Unpickling checks as a constructor does, and the device is that of the tensors, which ``torch.load(map_location=...)``
may have moved. The classes are registered with torch, so that ``torch.load(weights_only=True)`` loads them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of tensors, each with a storage of its own size."""
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}


def allow_weights_only(classes: list[Any]) -> None:
    """Let ``torch.load(weights_only=True)`` load classes whose unpickling checks what it reads."""
    torch.serialization.add_safe_globals(classes)
