# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The chunk models that studies compare, all with the same codec."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..memory import LatentSpatialMemory
from ..models.embedded import FillModel
from ..rollout import ChunkModel, Codec

__all__ = ["ComparedModel", "WithoutMemory", "open_models"]


class WithoutMemory:
    """A chunk model that is shown an empty memory.

    Args:
        model: the model.
    """

    def __init__(self, model: ChunkModel) -> None:
        self.patch, self._model = model.patch, model

    def __call__(
        self, view: Tensor, mask: Tensor, *, preceding_view: Tensor, preceding_mask: Tensor, **given: Any
    ) -> Tensor:
        """Generate; see :meth:`mirage.rollout.ChunkModel.__call__`."""
        return self._model(
            torch.zeros_like(view),
            torch.zeros_like(mask),
            preceding_view=torch.zeros_like(preceding_view),
            preceding_mask=torch.zeros_like(preceding_mask),
            **given,
        )


class ComparedModel(NamedTuple):
    """A chunk model of a study.

    Attributes:
        name: in tables.
        codec: of its latents.
        model: generates.
        session_options: of the rollout.
        memory_options: of the memory.
        chunk: latents of a chunk, the first one included.
    """

    name: str
    codec: Codec
    model: ChunkModel
    session_options: dict[str, Any]
    memory_options: dict[str, Any]
    chunk: int

    def make_memory(self) -> LatentSpatialMemory:
        """Make an empty memory for its latents."""
        return LatentSpatialMemory(self.codec.channels, codec=self.codec.name, **self.memory_options)


def open_models(folder: str | Path, **options: Any) -> list[ComparedModel]:
    """Load a small model, the same without memory, and the model that fills holes smoothly, with the same codec.

    Args:
        folder: of the small model, or ``"nano"``.
        options: of :func:`mirage.models.nano.model.load_small_model`.
    """
    from ..models.nano.model import load_small_model

    small = load_small_model(folder, **options)
    session, memory = small.conditioning.session_options(), small.conditioning.memory_options()
    chunk, codec = small.conditioning.num_targets or 9, small.codec
    return [
        ComparedModel("nano", codec, small.chunk_model, session, memory, chunk),
        ComparedModel("nano without memory", codec, WithoutMemory(small.chunk_model), session, memory, chunk),
        ComparedModel("fill", codec, FillModel(), {}, memory, chunk),
    ]
