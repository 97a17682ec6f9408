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


def parts(name: str, state: Any, *keys: str) -> tuple[Any, ...]:
    """Return the parts of an unpickled state.

    Args:
        name: the class, for the error message.
        state: what was unpickled.
        keys: the names of its parts.

    Raises:
        ValueError: parts are missing, as in pickles of versions before 0.2, which hold private attributes.
    """
    if not isinstance(state, dict) or not all(key in state for key in keys):
        got = "another one, perhaps of an earlier version; files of save() are read by later versions"
        raise ValueError(f"{name}: expected a pickle with {', '.join(keys)}, got {got}")
    return tuple(state[key] for key in keys)
