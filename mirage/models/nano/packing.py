# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the files of small models in half of their size."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from mirage_kernels import atomic_write, load_tensors, read_safetensors, save_tensors

from ...errors import check_file
from ..wan.adapter_files import KIND, VERSION
from ..wan.checkpoints import read_tensors
from .files import ADAPTER, TRANSFORMER, find_files
from .model import read_header

__all__ = ["write_small_model"]

WEIGHTS = "diffusion_pytorch_model.safetensors"


def write_small_model(
    source: Path, out: Path, loras: dict[str, Path], dtype: torch.dtype = torch.float16
) -> dict[str, int]:
    """Write a small model's files, in half of their size, to a folder that is loaded as a model.

    Args:
        source: a run of ``mirage train``, or another folder of a small model.
        out: the new folder.
        loras: files of LoRA by the names that they get.
        dtype: of the weights.

    Returns:
        Bytes by the name of the file.

    Raises:
        DataError: the files are not there, or damaged.
        OSError: a file cannot be written.
    """
    files = find_files(source)
    for path in loras.values():
        check_file(path, "LoRA (.safetensors)")
    out.mkdir(parents=True, exist_ok=True)
    (out / TRANSFORMER).mkdir(exist_ok=True)
    backbone, _ = read_tensors(files.transformer / WEIGHTS, "a backbone", ())
    _write(out / TRANSFORMER / WEIGHTS, backbone, dtype)
    config = json.loads((files.transformer / "config.json").read_text())
    with atomic_write(out / TRANSFORMER / "config.json") as partial:
        partial.write_text(json.dumps(config, indent=2) + "\n")
    settings = read_header(files.adapter)
    tensors, _ = load_tensors(files.adapter, kind=KIND, version=VERSION)
    halved = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    save_tensors(out / ADAPTER, halved, kind=KIND, version=VERSION, settings=settings)
    for name, path in loras.items():
        lora, header = read_safetensors(path)
        _write(out / f"{name}.safetensors", lora, dtype, header)
    return {str(path.relative_to(out)): path.stat().st_size for path in sorted(out.rglob("*.safetensors"))}


def _write(path: Path, tensors: dict[str, Tensor], dtype: torch.dtype, header: dict[str, str] | None = None) -> None:
    with atomic_write(path) as partial:
        save_file({name: t.to(dtype).contiguous() for name, t in tensors.items()}, partial, header or {"format": "pt"})
