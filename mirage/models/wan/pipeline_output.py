# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The output of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from diffusers.utils import BaseOutput
from diffusers.video_processor import VideoProcessor
from torch import Tensor

from ...memory import LatentSpatialMemory

__all__ = ["FrameCollector", "MiragePipelineOutput", "OutputType"]

OutputType = Literal["np", "pt", "pil", "latent"]


@dataclass
class MiragePipelineOutput(BaseOutput):  # type: ignore[misc]
    """Output of :class:`MiragePipeline`.

    Attributes:
        frames: a batch of one video, in the format that ``output_type`` selects, on the CPU; None for ``"latent"``.
        latents: (1, C, T, h, w) float32.
        memory: the memory after the last chunk.
        seconds: for each chunk, the time of ``"read"``, ``"retrieve"``, ``"generate"``, ``"decode"`` and ``"write"``.
    """

    frames: Any
    latents: Tensor
    memory: LatentSpatialMemory
    seconds: list[dict[str, float]]


class FrameCollector:
    """Collects the frames of a video on the CPU, chunk by chunk, in the format of ``output_type``.

    Args:
        processor: the pipeline's.
        output_type: as for :meth:`MiragePipeline.__call__`.
    """

    def __init__(self, processor: VideoProcessor, output_type: OutputType) -> None:
        self._processor, self._output_type = processor, output_type
        self._parts: list[Any] = []

    def add(self, frames: Tensor) -> None:
        """Add the frames (3, F, H, W) of a chunk, 0 to 1."""
        if self._output_type == "latent":
            return
        part = self._processor.postprocess_video(frames[None] * 2 - 1, output_type=self._output_type)
        self._parts.append(part.cpu() if isinstance(part, Tensor) else part)

    def video(self) -> Any:
        """A batch of one video; None without frames."""
        if not self._parts:
            return None
        if self._output_type == "pil":
            return [[frame for part in self._parts for frame in part[0]]]
        if self._output_type == "pt":
            return torch.cat(self._parts, 1)
        return np.concatenate(self._parts, 1)
