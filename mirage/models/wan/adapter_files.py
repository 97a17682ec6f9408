# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reads and writes weights of the memory adapter, in our own and in the released layout."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mirage_kernels import load_tensors, save_tensors

from ...errors import DataError, first_line
from .checkpoints import read_tensors
from .conditioning import Conditioning
from .released_keys import from_released

__all__ = ["read_adapter", "write_adapter"]

KIND, VERSION = "adapter", 1  # of the file format
_HEADER = "mirage"  # header key that only our own files have
_SETTINGS = (
    "adapter_layers", "control_channels", "num_layers", "num_attention_heads", "attention_head_dim", "ffn_dim",
    "patch_size", "qk_norm", "cross_attn_norm",
)  # fmt: skip


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: config[name] for name in _SETTINGS}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def write_adapter(adapter: Mapping[str, Tensor], config: Mapping[str, Any], path: str | Path) -> None:
    """Write an adapter to a safetensors file. An existing file is replaced only when the new one is complete.

    Args:
        adapter: the adapter's state dict.
        config: configuration of the adapter's transformer. The settings that determine shapes are stored in the header,
            and what the adapter was trained with.
        path: the file to write.

    Raises:
        OSError: the file cannot be written.
    """
    settings = _settings(config) | {"conditioning": config["conditioning"]}
    save_tensors(path, dict(adapter), kind=KIND, version=VERSION, settings=settings)


def read_adapter(
    adapter: nn.Module, config: Mapping[str, Any], path: str | Path
) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Read an adapter file that was written by :func:`write_adapter`, or one in the released layout.

    Args:
        adapter: the module to read weights for; it is not changed.
        config: configuration of the adapter's transformer.
        path: the file to read.

    Returns:
        The module's state dict, on the CPU, and what the adapter was trained with, if the file says so, as
        :meth:`.Conditioning.to_dict` returns it.

    Raises:
        DataError: the file is missing or damaged, holds something else, or holds an adapter of another configuration.
    """
    tensors, header = read_tensors(path, "an adapter", ("state_dict", "generator", "vace"))
    own = adapter.state_dict()
    if _HEADER in header:
        return _read_own(own, _settings(config), path)
    try:
        converted = from_released(tensors, {f"adapter.{name}": tensor for name, tensor in own.items()})
    except ValueError as error:
        raise DataError(f"{path}: {error}{_difference(config, tensors)}") from None
    return {name.removeprefix("adapter."): tensor for name, tensor in converted.items()}, None


def _read_own(
    own: Mapping[str, Tensor], expected: dict[str, Any], path: str | Path
) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    try:
        tensors, settings = load_tensors(path, kind=KIND, version=VERSION)
        if not isinstance(settings, dict):
            raise ValueError(f"{path}: expected an adapter, got settings that are no object")
    except (ValueError, OSError) as error:
        raise DataError(str(error)) from None
    names = [name for name in expected if expected[name] != settings.get(name)]
    if names:
        wanted, got = (", ".join(f"{name}={side.get(name)}" for name in names) for side in (expected, settings))
        raise DataError(f"{path}: expected an adapter with {wanted}, got one with {got[:200]}")
    if {n: t.shape for n, t in tensors.items()} != {n: t.shape for n, t in own.items()}:
        raise DataError(f"{path}: expected an adapter, got tensors that do not match the file's own header")
    return tensors, _read_conditioning(settings.get("conditioning"), path)


def _read_conditioning(stored: Any, path: str | Path) -> dict[str, Any] | None:
    if stored is None:
        return None
    try:
        return Conditioning.from_dict(stored).to_dict()
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: conditioning: {first_line(error)}") from None


def _difference(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Describe how a released adapter differs from the configuration: number of blocks and of control channels."""
    blocks = {found[1] for found in (re.search(r"\bvace_blocks\.(\d+)\.", name) for name in tensors) if found}
    embedding = [t for name, t in tensors.items() if name.endswith("vace_patch_embedding.weight") and t.ndim == 5]
    expected = (len(config["adapter_layers"]), config["control_channels"])
    if not embedding or expected == (got := (len(blocks), embedding[0].shape[1])):
        return ""
    return f"; expected {expected[0]} blocks and {expected[1]} control channels, got {got[0]} and {got[1]}"
