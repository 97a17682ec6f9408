# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the files of small models, and of mirage-nano, which is part of this package. It imports no model."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ...errors import DataError

__all__ = [
    "ADAPTER", "DEPTH", "NANO", "TRANSFORMER", "SmallModelFiles", "find_files", "find_lora", "is_small_model",
    "named_folder",
]  # fmt: skip

NANO = "nano"
WEIGHTS = Path(__file__).parent / "weights"  # of mirage-nano
TRANSFORMER, ADAPTER, DEPTH = "transformer", "adapter.safetensors", "depth.safetensors"


class SmallModelFiles(NamedTuple):
    """The files of a small model.

    Attributes:
        transformer: folder of the backbone, in diffusers' layout.
        adapter: file of the memory adapter.
    """

    transformer: Path
    adapter: Path


def named_folder(name: str | Path) -> Path:
    """The folder of a model: ``"nano"`` is the one that is part of this package, and any other name is a path."""
    return WEIGHTS if str(name) == NANO else Path(name)


def _candidates(folder: Path) -> list[SmallModelFiles]:
    run = SmallModelFiles(folder / "base" / TRANSFORMER, folder / "adapter" / ADAPTER)
    return [SmallModelFiles(folder / TRANSFORMER, folder / ADAPTER), run]


def is_small_model(folder: Path) -> bool:
    """Whether a folder has the files of a small model, or is a run of ``mirage train`` with the stages base and
    adapter."""
    return any((files.transformer / "config.json").is_file() and files.adapter.is_file()
               for files in _candidates(folder))  # fmt: skip


def find_files(folder: Path) -> SmallModelFiles:
    """Find the files of a small model.

    Args:
        folder: of a small model, or of a run of ``mirage train``.

    Raises:
        DataError: they are not there.
    """
    for files in _candidates(folder):
        if (files.transformer / "config.json").is_file() and files.adapter.is_file():
            return files
    raise DataError(
        f"{folder}: expected {TRANSFORMER}/config.json and {ADAPTER}, or a run of mirage train with the stages base "
        "and adapter"
    )


def find_lora(folder: Path, lora: str | Path) -> Path:
    """Find the file of LoRA for a small model.

    Args:
        folder: of the model.
        lora: a file, or the name of one in the folder without its ending.

    Raises:
        DataError: there is no such file.
    """
    named = folder / f"{lora}.safetensors"
    if named.is_file():
        return named
    if Path(lora).is_file():
        return Path(lora)
    names = sorted(file.stem for file in folder.glob("*.safetensors") if file.name not in (ADAPTER, DEPTH))
    raise DataError(
        f"lora: expected a file, or one of {', '.join(names) or 'none'} in {folder}, got {str(lora)[:80]!r}"
    )
