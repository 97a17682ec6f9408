# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The output of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from diffusers.utils import BaseOutput
from torch import Tensor

from ...memory import LatentSpatialMemory

__all__ = ["MiragePipelineOutput", "OutputType"]

OutputType = Literal["np", "pt", "pil", "latent"]


@dataclass
class MiragePipelineOutput(BaseOutput):  # type: ignore[misc]
    """Output of :class:`MiragePipeline`.

    Attributes:
        frames: a batch of one video, in the format that ``output_type`` selects; None for ``"latent"``.
        latents: (1, C, T, h, w) float32.
        memory: the memory after the last chunk.
        seconds: for each chunk, the time of ``"read"``, ``"retrieve"``, ``"generate"``, ``"decode"`` and ``"write"``.
    """

    frames: Any
    latents: Tensor
    memory: LatentSpatialMemory
    seconds: list[dict[str, float]]
