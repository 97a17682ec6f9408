# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion of files of adapters and LoRA to the released layout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from mirage_kernels import atomic_write, load_tensors, read_safetensors

from ...errors import DataError, check_file
from .adapter_files import KIND, VERSION
from .released_keys import lora_to_released, to_released

__all__ = ["write_plain", "write_released"]


def write_released(source: str | Path, target: str | Path, dtype: torch.dtype | None = None) -> list[str]:
    """Write an adapter or LoRA of this package with the names of the released checkpoints.

    Args:
        source: an adapter of :meth:`.MirageTransformer3DModel.save_adapter`, or LoRA by the names of diffusers or peft.
        target: the safetensors file to write. It is replaced only when the new one is complete.
        dtype: of the written tensors; None keeps theirs.

    Returns:
        The names that were written.

    Raises:
        DataError: the file is missing or damaged, or holds something else.
        OSError: the file cannot be written.
    """
    source = Path(source)
    check_file(source, "an adapter or LoRA (.safetensors)")
    try:
        tensors, header = read_safetensors(source)
        if "mirage" in header and not any(".lora_" in name for name in tensors):
            tensors, _ = load_tensors(source, kind=KIND, version=VERSION)
            released = to_released({f"adapter.{name}": tensor for name, tensor in tensors.items()})
        else:
            released = lora_to_released(tensors)
    except (ValueError, OSError) as error:
        text = str(error)
        raise DataError(text if str(source) in text else f"{source}: {text}") from None
    if not released:
        raise DataError(f"{source}: expected an adapter or LoRA, got a file without tensors")
    write_plain(target, {name: tensor.to(dtype or tensor.dtype) for name, tensor in released.items()})
    return sorted(released)


def write_plain(path: str | Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file as other programs expect it, without settings. It is replaced atomically."""
    with atomic_write(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, partial, {"format": "pt"})
