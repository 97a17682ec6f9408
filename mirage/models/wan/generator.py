# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The chunk model for Wan2.2: denoises the latents of one chunk."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol

import torch
from diffusers import FasterCacheConfig, PyramidAttentionBroadcastConfig
from diffusers.utils.torch_utils import get_module_execution_device, randn_tensor
from torch import Tensor

from .conditioning import Conditioning
from .prediction import flow_of_sample
from .timesteps import set_timesteps, unshifted_sigmas

__all__ = ["DenoisingInterruptedError", "PromptEncoder", "StepCallback", "WanChunkModel", "cache_last_prompt",
           "unshifted_sigmas"]  # fmt: skip

# prompt -> embeddings of the prompt, and of the negative prompt (None without guidance)
PromptEncoder = Callable[[str], tuple[Tensor, Tensor | None]]
# (step index, timestep, tensors "latents", "prompt_embeds", "negative_prompt_embeds") -> tensors to replace
StepCallback = Callable[[int, Tensor, dict[str, Any]], dict[str, Any] | None]


class DenoisingInterruptedError(RuntimeError):
    """Denoising of a chunk was stopped by ``pipeline._interrupt``. Session and memory are as before the chunk."""


def cache_last_prompt(encode: PromptEncoder) -> PromptEncoder:
    """Wrap an encoder so that it keeps the embeddings of the last prompt."""
    last: dict[str, tuple[Tensor, Tensor | None]] = {}

    def cached(prompt: str) -> tuple[Tensor, Tensor | None]:
        if prompt not in last:
            last.clear()
            last[prompt] = encode(prompt)
        return last[prompt]

    return cached


class DenoisingSequence(NamedTuple):
    """What surrounds the noisy latents of a chunk: clean latents (1, C, T, h, w) and the adapter's input."""

    first: Tensor  # (1, C, h, w), the chunk's first latent
    references: Tensor
    preceding: Tensor
    control: Tensor
    # The memory's view (1, C, T, h, w) and its mask (1, 1, T, h, w), whose cells stay as they are; None generates all.
    kept: tuple[Tensor, Tensor] | None


class WhiteCodec(Protocol):
    """A codec as :class:`WanChunkModel` needs it."""

    name: str

    def white_latents(self, count: int, h: int, w: int) -> Tensor:
        """Return the latents (C, count, h, w) of a white video."""
        ...


class WanChunkModel:
    """A :class:`mirage.rollout.ChunkModel` that denoises with
    :class:`mirage.models.wan.transformer.MirageTransformer3DModel`.

    The transformer's sequence is: references, targets, preceding latents. References, preceding latents and the first
    target are clean, at timestep 0. The control input is the memory's view from the cameras of targets and preceding
    latents, concatenated with an encoding of its holes: the latents of a white video (preset ``"release"``) or the mask
    (``"paper"``); see :meth:`.Conditioning.control`.

    With a step cache that stores attention whatever the context (FasterCache and PyramidAttentionBroadcast of
    diffusers), the negative and the positive prompt run as one batch. Otherwise they run one after the other, as in
    :class:`diffusers.WanPipeline`. The state of a step cache is reset before every chunk.

    Args:
        transformer: the model.
        scheduler: a scheduler of diffusers for flow prediction.
        codec: makes the latents of a white video.
        encode_prompt: see :data:`PromptEncoder`.
        steps: number of denoising steps.
        timesteps, sigmas: see :func:`~mirage.models.wan.timesteps.check_timesteps`.
        guidance_scale: of classifier-free guidance; 1 turns it off.
        control_scale: multiplies the adapter's hints. With 0, all cells are generated, whatever the adapter's
            :class:`.Conditioning` keeps.
        attention_kwargs: passed to the transformer.
        on_step_end: called after every step; see :data:`StepCallback`.
        progress: called with ``total=steps``; returns a context manager with ``update()``, such as a pipeline's
            ``progress_bar``.
        state: the object whose attributes ``_guidance_scale``, ``_num_timesteps``, ``_current_timestep``,
            ``_attention_kwargs`` and ``_interrupt`` are those of :class:`diffusers.WanPipeline`: the pipeline. They are
            set before every chunk, and callbacks may change ``_guidance_scale`` and ``_interrupt``.

    Raises:
        ValueError: the adapter was trained with latents of another codec.
    """

    patch: int

    def __init__(
        self,
        transformer: Any,
        scheduler: Any,
        codec: WhiteCodec,
        encode_prompt: PromptEncoder,
        *,
        steps: int,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
        guidance_scale: float = 1.0,
        control_scale: float = 1.0,
        attention_kwargs: dict[str, Any] | None = None,
        on_step_end: StepCallback | None = None,
        progress: Callable[..., Any] | None = None,
        state: Any = None,
    ) -> None:
        transformer.conditioning.check_codec(codec.name, getattr(codec, "temporal_stride", None))
        self.transformer, self.scheduler, self.codec, self.encode_prompt = transformer, scheduler, codec, encode_prompt
        self.steps, self.guidance_scale, self.control_scale = steps, guidance_scale, control_scale
        self.timesteps, self.sigmas = timesteps, sigmas
        self.attention_kwargs, self.on_step_end, self.progress = attention_kwargs, on_step_end, progress
        self.state = SimpleNamespace(_interrupt=False) if state is None else state
        self.patch = transformer.config.patch_size[1]

    def set_timesteps(self, device: torch.device) -> Tensor:
        """Prepare the scheduler and return its timesteps."""
        return set_timesteps(self.scheduler, self.steps, device, self.timesteps, self.sigmas)

    def control(self, view: Tensor, mask: Tensor) -> Tensor:
        """Make the control input of the adapter.

        Args:
            view: (C, T, h, w), the memory's view.
            mask: (T, h, w) bool, False in holes.

        Returns:
            (1, control channels, T, h, w).
        """
        conditioning: Conditioning = self.transformer.conditioning
        channels, white = self.transformer.config.control_channels - view.shape[0], None
        if channels != 1:
            white = conditioning.normalize(self.codec.white_latents(*view.shape[1:]).to(view))[:channels]
        return conditioning.control(conditioning.normalize_view(view, mask), mask, white)[None]

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
        """Generate the latents of a chunk; see :meth:`mirage.rollout.ChunkModel.__call__`.

        Raises:
            DenoisingInterruptedError: ``_interrupt`` of the state was set.
        """
        random_state = generator.get_state()
        try:
            self._check_interrupt()
            device, dtype = get_module_execution_device(self.transformer), self.transformer.dtype
            embeddings = self.encode_prompt(prompt)
            control = self.control(torch.cat([view, preceding_view], 1), torch.cat([mask, preceding_mask]))
            noise: Tensor = randn_tensor((1, *view.shape), generator=generator, device=device, dtype=torch.float32)
            conditioning: Conditioning = self.transformer.conditioning
            sequence = DenoisingSequence(
                conditioning.normalize(first[None, :, None])[:, :, 0].to(device, torch.float32),
                conditioning.normalize(references[None]).to(device, dtype),
                conditioning.normalize(preceding[None]).to(device, dtype),
                control.to(device, dtype),
                self._find_kept(view, mask, device),
            )
            latents = conditioning.denormalize(self._denoise(noise, sequence, embeddings, generator))
            if sequence.kept is not None:
                latents = torch.where(sequence.kept[1][0], view.to(latents), latents)
            latents[:, 0] = first  # with its bits
            return latents
        except BaseException:
            generator.set_state(random_state)  # a second attempt gives what the first one would have given
            raise

    def _find_kept(self, view: Tensor, mask: Tensor, device: torch.device) -> tuple[Tensor, Tensor] | None:
        """The cells that stay as the memory shows them, where the adapter was trained so."""
        conditioning: Conditioning = self.transformer.conditioning
        if not conditioning.keep_known or self.control_scale == 0:
            return None
        return conditioning.normalize_view(view, mask)[None].to(device, torch.float32), mask[None, None].to(device)

    def _denoise(
        self,
        latents: Tensor,
        sequence: DenoisingSequence,
        embeddings: tuple[Tensor, Tensor | None],
        generator: torch.Generator,
    ) -> Tensor:
        """Denoise (1, C, T, h, w) to (C, T, h, w)."""
        device, (text, negative) = latents.device, embeddings
        latents[:, :, 0] = sequence.first
        timesteps = self._begin(device)
        takes_generator = "generator" in inspect.signature(self.scheduler.step).parameters
        random = {"generator": generator} if takes_generator else {}
        with nullcontext() if self.progress is None else self.progress(total=len(timesteps)) as bar:
            for number, t in enumerate(timesteps):
                self.state._current_timestep = t
                flow = functools.partial(self._flow, sequence, latents, t)
                prediction = self._guide(flow, text, negative, number)
                if sequence.kept is not None:
                    view, mask = sequence.kept
                    prediction = torch.where(mask, flow_of_sample(view, latents, t.expand(1)), prediction)
                latents = self.scheduler.step(prediction, t, latents, return_dict=False, **random)[0]
                latents[:, :, 0] = sequence.first
                if self.on_step_end is not None:
                    tensors: dict[str, Any] = {"latents": latents, "prompt_embeds": text}
                    tensors["negative_prompt_embeds"] = negative
                    replaced = self.on_step_end(number, t, tensors) or {}
                    latents, text, negative = (replaced.get(name, tensor) for name, tensor in tensors.items())
                if number + 1 < len(timesteps):
                    self._check_interrupt()
                if bar is not None:
                    bar.update()
        self.state._current_timestep = None
        return latents[0]

    def _flow(self, sequence: DenoisingSequence, latents: Tensor, t: Tensor, embeddings: Tensor) -> Tensor:
        """Predict the flow (B, C, T, h, w) of latents (1, C, T, h, w) for embeddings (B, tokens, text dim)."""
        start, count = sequence.references.shape[2], latents.shape[2]
        hidden_states = torch.cat([sequence.references, latents.to(sequence.control.dtype), sequence.preceding], 2)
        timestep = torch.zeros(1, hidden_states.shape[2], device=latents.device, dtype=torch.float32)
        timestep[:, start + 1 : start + count] = t
        batch = len(embeddings)
        sample: Tensor = self.transformer(
            hidden_states=hidden_states.expand(batch, -1, -1, -1, -1),
            timestep=timestep.expand(batch, -1),
            encoder_hidden_states=embeddings.to(latents.device, sequence.control.dtype),
            control_hidden_states=sequence.control,
            num_references=start,
            control_scale=self.control_scale,
            attention_kwargs=self.attention_kwargs,
            return_dict=False,
        )[0]
        return sample[:, :, start : start + count]

    def _check_interrupt(self) -> None:
        if self.state._interrupt:
            raise DenoisingInterruptedError("pipeline._interrupt was set; set it to False to generate the chunk again")

    def _begin(self, device: torch.device) -> Tensor:
        """Reset the step cache and the state, and return the timesteps."""
        if hasattr(self.transformer, "_reset_stateful_cache"):
            self.transformer._reset_stateful_cache()
        timesteps = self.set_timesteps(device)
        self.state._guidance_scale, self.state._attention_kwargs = self.guidance_scale, self.attention_kwargs
        self.state._num_timesteps = len(timesteps)
        return timesteps

    def _guide(self, flow: Callable[[Tensor], Tensor], text: Tensor, negative: Tensor | None, step: int) -> Tensor:
        """Predict the flow with classifier-free guidance, in the contexts of the step cache."""
        scale, cache = self.state._guidance_scale, getattr(self.transformer, "_cache_config", None)
        if negative is None or scale <= 1:
            if isinstance(cache, FasterCacheConfig) and not cache.is_guidance_distilled:
                raise ValueError(
                    f"FasterCache: expected guidance_scale above 1 or is_guidance_distilled=True, got {scale}"
                )
            with self._cache_context("cond", step):
                return flow(text)
        if isinstance(cache, FasterCacheConfig | PyramidAttentionBroadcastConfig):  # they ignore the context
            if negative.shape != text.shape:
                expected = f"{tuple(text.shape)}, as prompt_embeds have, with {type(cache).__name__}"
                raise ValueError(f"negative_prompt_embeds: expected {expected}, got {tuple(negative.shape)}")
            with self._cache_context("cond", step):
                unwanted, wanted = flow(torch.cat([negative.to(text), text])).chunk(2)
        else:
            with self._cache_context("cond", step):
                wanted = flow(text)
            with self._cache_context("uncond", step):
                unwanted = flow(negative)
        guided: Tensor = unwanted + scale * (wanted - unwanted)
        return guided

    def _cache_context(self, name: str, step: int) -> Any:
        """The context that step caches of diffusers need to tell calls and steps apart."""
        context = getattr(self.transformer, "cache_context", None)
        if context is None:
            return nullcontext()
        sigmas = getattr(self.scheduler, "sigmas", None)
        where = {"step_index": step, "num_inference_steps": self.state._num_timesteps}
        return context(name, sigma=None if sigmas is None else float(sigmas[step]), **where)
