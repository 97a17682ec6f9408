# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files and folders of weights: what is read of them, and what is said of those that cannot be."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .errors import DataError

__all__ = ["WAN", "read_tensors", "require_weights"]

WAN = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
_NESTS = ("state_dict", "generator", "vace", "lora")  # what training code puts the wanted tensors under
_WEIGHTS = ("*.safetensors", "*.bin")


def read_tensors(path: str | Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, on the CPU, and the text in its header.

    Args:
        path: a safetensors file; or one of ``torch.save`` (``.pt``, ``.pth``, ``.ckpt``, ``.bin``), which may hold its
            tensors under ``state_dict``, ``generator``, ``vace``, one in the other. Tensors beside those are left out
            with a warning. It is unpickled as weights only.
        what: is expected, for errors: ``"an adapter"``.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        if path.suffix in (".pt", ".pth", ".ckpt", ".bin"):
            return _flat(torch.load(path, map_location="cpu", weights_only=True), path, what), {}
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return tensors, file.metadata() or {}
    except DataError:
        raise
    except (SafetensorError, OSError, EOFError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: expected {what}, got a damaged file ({reason})") from None


def _flat(tree: Any, path: Path, what: str) -> dict[str, Tensor]:
    """The innermost of the nested dicts that hold tensors by name."""
    left_out: list[str] = []
    while isinstance(tree, dict) and (nest := next((name for name in _NESTS if isinstance(tree.get(name), dict)), "")):
        left_out += [str(name) for name, value in tree.items() if name != nest and isinstance(value, Tensor | dict)]
        tree = tree[nest]
    if not isinstance(tree, dict):
        raise DataError(f"{path}: expected {what}, got {type(tree).__name__}")
    for name, value in tree.items():
        if not isinstance(value, Tensor):
            raise DataError(f"{path}: {name}: expected a tensor, got {type(value).__name__}")
    if left_out:
        warnings.warn(f"{path}: left out what is beside {what}: {', '.join(left_out)}", stacklevel=4)
    return tree


def require_weights(path: str | Path, subfolder: str | None = None) -> None:
    """Check that a folder holds a transformer of diffusers' with its weights. The name of a model on the Hub passes.

    Raises:
        DataError: it does not; says what to download and where to put it.
    """
    folder, name = Path(path) / (subfolder or ""), str(path)
    if not Path(path).exists() and name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return
    what = "the weights of Wan2.2-TI2V-5B's transformer"
    fix = f"put the folder transformer of {WAN} there: hf download {WAN} --include 'transformer/*'"
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder with {what}, got none; {fix}")
    for missing, patterns in (("no config.json", ("config.json",)), ("no weights", _WEIGHTS)):
        if not any(path for pattern in patterns for path in folder.glob(pattern)):
            raise DataError(f"{folder}: expected {what}, got {missing}; {fix}")
