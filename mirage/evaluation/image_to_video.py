# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Image-to-video models of diffusers, which know no cameras and have no memory: what a world model is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import DataError, first_line
from ..io.images import to_pil

__all__ = ["ImageToVideo"]


class ImageToVideo:
    """Frames from an image and a prompt. Longer videos go on from the last frame of the part before.

    Args:
        pipe: an image-to-video pipeline of diffusers, such as ``WanImageToVideoPipeline`` (Wan2.1) or
            ``CogVideoXImageToVideoPipeline``.
        part: frames that it generates at once; a multiple of its temporal stride, plus one.
        options: of the pipeline's call, such as ``num_inference_steps``.

    Raises:
        ValueError: the number of frames does not fit the pipeline.
    """

    def __init__(self, pipe: Any, part: int = 49, **options: Any) -> None:
        stride = int(pipe.vae_scale_factor_temporal)
        if part < stride + 1 or (part - 1) % stride:
            raise ValueError(f"part: expected a multiple of {stride} plus 1, got {part}")
        self._pipe, self._part, self._options = pipe, part, options

    @classmethod
    def load(cls, folder: Path, part: int = 49, device: str = "cpu", **options: Any) -> ImageToVideo:
        """Load a pipeline from a folder in diffusers' layout.

        Raises:
            DataError: it is missing, damaged, or another kind of pipeline.
            ImportError: diffusers is not installed.
        """
        from diffusers import CogVideoXImageToVideoPipeline, DiffusionPipeline, WanImageToVideoPipeline

        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        if not (folder / "model_index.json").is_file():
            raise DataError(f"{folder}: expected a pipeline in diffusers' layout, got no model_index.json")
        try:
            pipe = DiffusionPipeline.from_pretrained(folder, dtype=dtype, local_files_only=True)
        except (OSError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            raise DataError(f"{folder}: {first_line(error)}") from None
        if not isinstance(pipe, (WanImageToVideoPipeline, CogVideoXImageToVideoPipeline)):
            raise DataError(
                f"{folder}: expected WanImageToVideoPipeline or CogVideoXImageToVideoPipeline, got "
                f"{type(pipe).__name__}"
            )
        pipe.set_progress_bar_config(disable=True)
        return cls(pipe.to(device), part, **options)

    def __call__(self, image: Tensor, frames: int, prompt: str, seed: int) -> Tensor:
        """Generate a video.

        Args:
            image: (3, H, W), values 0 to 1; sides that the pipeline takes.
            frames: F, number of frames, the image's among them.
            prompt: describes the video.
            seed: of the noise.

        Returns:
            (F, 3, H, W) uint8. The first frame is the image.
        """
        generator = torch.Generator(device="cpu").manual_seed(seed)
        made = [(image.clamp(0, 1) * 255).round().to(torch.uint8)[None]]
        while sum(map(len, made)) < frames:
            begin = made[-1][-1].float() / 255
            video = self._pipe(
                image=to_pil(begin), prompt=prompt, height=image.shape[1], width=image.shape[2], num_frames=self._part,
                generator=generator, output_type="pt", **self._options,
            ).frames[0]  # fmt: skip
            made.append((video[1:].float().clamp(0, 1) * 255).round().to(torch.uint8).cpu())
        return torch.cat(made)[:frames]
