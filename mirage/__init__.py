# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Mirage: a latent spatial memory for video world models, for Wan2.2 or a chunk model of your own.

The names of this package are imported on first use, so that ``import mirage`` needs no optional dependency. Accessing a
name whose dependencies are not installed raises an ``ImportError`` that names the extra to install.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import missing_package

if TYPE_CHECKING:
    from .errors import DataError
    from .filters import Filters
    from .memory import LatentSpatialMemory, MemoryView
    from .models.embedded import DctCodec, FillModel
    from .models.wan.lora import lora_config, read_lora
    from .models.wan.pipeline import MiragePipeline
    from .models.wan.transformer import MirageTransformer3DModel
    from .rollout import Chunk, ChunkModel, Codec, RolloutSession

_MODULES = {
    "Chunk": "rollout",
    "ChunkModel": "rollout",
    "Codec": "rollout",
    "DataError": "errors",
    "DctCodec": "models.embedded",
    "FillModel": "models.embedded",
    "Filters": "filters",
    "LatentSpatialMemory": "memory",
    "MemoryView": "memory",
    "MiragePipeline": "models.wan.pipeline",
    "MirageTransformer3DModel": "models.wan.transformer",
    "RolloutSession": "rollout",
    "lora_config": "models.wan.lora",
    "read_lora": "models.wan.lora",
}

__all__ = [
    "Chunk",
    "ChunkModel",
    "Codec",
    "DataError",
    "DctCodec",
    "FillModel",
    "Filters",
    "LatentSpatialMemory",
    "MemoryView",
    "MiragePipeline",
    "MirageTransformer3DModel",
    "RolloutSession",
    "lora_config",
    "read_lora",
]

# missing package: the extra that installs it; all others come with "pipeline"
_EXTRAS = {"diffusers": "wan", "transformers": "wan", "peft": "wan", "accelerate": "wan"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package == __name__:
            raise
        extra = _EXTRAS.get(package, "pipeline")
        raise missing_package(f"mirage.{name}", package, extra) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
