# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The chunk model for Wan2.2: denoises the latents of one chunk."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import get_module_execution_device, randn_tensor
from torch import Tensor

from .codec import WanCodec

# prompt -> embeddings of the prompt, and of the negative prompt (None without guidance)
PromptEncoder = Callable[[str], tuple[Tensor, Tensor | None]]
# (step index, timestep, tensors "latents", "prompt_embeds", "negative_prompt_embeds") -> tensors to replace, or None to
# stop denoising
StepCallback = Callable[[int, Tensor, dict[str, Any]], dict[str, Any] | None]


def unshifted_sigmas(steps: int, num_train_timesteps: int = 1000) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Noise levels of the released sampler before the scheduler applies its shift.

    They go from 1 - 1 / num_train_timesteps in equal steps toward 0, without 0 itself. The default sigmas of diffusers
    go from 1 to 1 / num_train_timesteps instead; the timesteps differ by up to 3.

    Args:
        steps: number of denoising steps.
        num_train_timesteps: of the scheduler.

    Returns:
        (steps,) float64.
    """
    return np.linspace(1 - 1 / num_train_timesteps, 0, steps + 1)[:-1]


def cache_last_prompt(encode: PromptEncoder) -> PromptEncoder:
    """Wrap an encoder so that it keeps the embeddings of the last prompt."""
    last: dict[str, tuple[Tensor, Tensor | None]] = {}

    def cached(prompt: str) -> tuple[Tensor, Tensor | None]:
        if prompt not in last:
            last.clear()
            last[prompt] = encode(prompt)
        return last[prompt]

    return cached


class WanChunkModel:
    """A :class:`mirage.rollout.ChunkModel` that denoises with
    :class:`mirage.models.wan.transformer.MirageTransformer3DModel`.

    The transformer's sequence is: references, targets, preceding latents. References, preceding latents and the first
    target are clean, at timestep 0. The control input is the memory's view from the cameras of targets and preceding
    latents, concatenated with an encoding of its holes: the latents of a white video (preset ``"release"``) or the mask
    (``"paper"``).

    Args:
        transformer: the model.
        scheduler: a scheduler of diffusers for flow prediction.
        codec: makes the latents of a white video.
        encode_prompt: see :data:`PromptEncoder`.
        steps: number of denoising steps.
        guidance_scale: of classifier-free guidance; 1 turns it off.
        control_scale: multiplies the adapter's hints.
        attention_kwargs: passed to the transformer.
        on_step_end: called after every step; see :data:`StepCallback`.
        progress: called with ``total=steps``; returns a context manager with ``update()``, such as a pipeline's
            ``progress_bar``.
    """

    patch: int

    def __init__(
        self,
        transformer: Any,
        scheduler: Any,
        codec: WanCodec,
        encode_prompt: PromptEncoder,
        *,
        steps: int,
        guidance_scale: float = 1.0,
        control_scale: float = 1.0,
        attention_kwargs: dict[str, Any] | None = None,
        on_step_end: StepCallback | None = None,
        progress: Callable[..., Any] | None = None,
    ) -> None:
        self.transformer, self.scheduler, self.codec, self.encode_prompt = transformer, scheduler, codec, encode_prompt
        self.steps, self.guidance_scale, self.control_scale = steps, guidance_scale, control_scale
        self.attention_kwargs, self.on_step_end, self.progress = attention_kwargs, on_step_end, progress
        self.patch = transformer.config.patch_size[1]

    def set_timesteps(self, device: torch.device) -> Tensor:
        """Prepare the scheduler and return its timesteps."""
        if "sigmas" in inspect.signature(self.scheduler.set_timesteps).parameters:
            sigmas = unshifted_sigmas(self.steps, self.scheduler.config.num_train_timesteps)
            self.scheduler.set_timesteps(sigmas=sigmas, device=device)
        else:
            self.scheduler.set_timesteps(self.steps, device=device)
        timesteps: Tensor = self.scheduler.timesteps
        return timesteps

    def control(self, view: Tensor, mask: Tensor) -> Tensor:
        """Make the control input of the adapter.

        Args:
            view: (C, T, h, w), the memory's view.
            mask: (T, h, w) bool, False in holes.

        Returns:
            (1, control channels, T, h, w).
        """
        channels = self.transformer.config.control_channels - view.shape[0]
        extra = mask[None] if channels == 1 else self.codec.white_latents(*view.shape[1:])[:channels]
        return torch.cat([view, extra.to(view)])[None]

    @torch.no_grad()
    def __call__(
        self,
        view: Tensor,
        mask: Tensor,
        *,
        first: Tensor,
        preceding: Tensor,
        preceding_view: Tensor,
        preceding_mask: Tensor,
        references: Tensor,
        prompt: str,
        generator: torch.Generator,
    ) -> Tensor:
        """Generate the latents of a chunk; see :meth:`mirage.rollout.ChunkModel.__call__`."""
        device, dtype = get_module_execution_device(self.transformer), self.transformer.dtype
        text, negative = self.encode_prompt(prompt)
        control = self.control(torch.cat([view, preceding_view], 1), torch.cat([mask, preceding_mask]))
        before, after = (part[None].to(device, dtype) for part in (references, preceding))
        count, start = view.shape[1], references.shape[1]
        first = first[None].to(device, torch.float32)
        latents: Tensor = randn_tensor((1, *view.shape), generator=generator, device=device, dtype=torch.float32)
        latents[:, :, 0] = first
        timestep = torch.zeros(1, start + count + preceding.shape[1], device=device, dtype=torch.float32)
        conditions = {
            "control_hidden_states": control.to(device, dtype),
            "num_references": start,
            "control_scale": self.control_scale,
            "attention_kwargs": self.attention_kwargs,
            "return_dict": False,
        }

        def flow(embeddings: Tensor) -> Tensor:
            sequence = torch.cat([before, latents.to(dtype), after], 2)
            sample: Tensor = self.transformer(sequence, timestep, embeddings.to(device, dtype), **conditions)[0]
            return sample[:, :, start : start + count]

        timesteps = self.set_timesteps(device)
        with nullcontext() if self.progress is None else self.progress(total=len(timesteps)) as bar:
            for number, t in enumerate(timesteps):
                timestep[:, start + 1 : start + count] = t
                prediction = flow(text)
                if negative is not None and self.guidance_scale > 1:
                    unwanted = flow(negative)
                    prediction = unwanted + self.guidance_scale * (prediction - unwanted)
                latents = self.scheduler.step(prediction, t, latents, return_dict=False)[0]
                latents[:, :, 0] = first
                if self.on_step_end is not None:
                    tensors: dict[str, Any] = {
                        "latents": latents,
                        "prompt_embeds": text,
                        "negative_prompt_embeds": negative,
                    }
                    replaced = self.on_step_end(number, t, tensors)
                    if replaced is None:
                        break
                    latents, text, negative = (tensors | replaced).values()
                if bar is not None:
                    bar.update()
        return latents[0]
