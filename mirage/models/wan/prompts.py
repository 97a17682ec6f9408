# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts and callbacks of the pipeline, as the chunk model takes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from torch import Tensor

from .generator import PromptEncoder, StepCallback, cache_last_prompt

__all__ = ["CALLBACK_TENSORS", "check_prompts", "make_callback", "make_encoder", "one_of_list"]

CALLBACK_TENSORS = ("latents", "prompt_embeds", "negative_prompt_embeds")


def one_of_list(name: str, value: Any) -> Any:
    """Return the item of a list of one, and anything else as it is.

    Args:
        name: the argument's name, for the message.
        value: the argument.

    Raises:
        ValueError: the list has another number of items.
    """
    if not isinstance(value, list | tuple):
        return value
    if len(value) != 1:
        raise ValueError(f"{name}: expected one, because a call generates one video, got a list of {len(value)}")
    return value[0]


def check_prompts(
    pipe: Any,
    prompt: str | None,
    negative_prompt: str | None,
    prompt_embeds: Tensor | None,
    negative_prompt_embeds: Tensor | None,
    guidance_scale: float,
) -> None:
    """Check that prompts and prompt embeddings are valid and do not contradict each other.

    Args:
        pipe: the pipeline.
        prompt: one prompt; None with ``prompt_embeds``.
        negative_prompt: one negative prompt, or None.
        prompt_embeds: (1, tokens, text dim), embeddings instead of the prompt.
        negative_prompt_embeds: (1, tokens, text dim), embeddings instead of the negative prompt.
        guidance_scale: of classifier-free guidance.

    Raises:
        TypeError: a prompt is not a string.
        ValueError: both or none of prompt and embeddings are set, embeddings have another shape, the pipeline has no
            text encoder for a prompt, or the guidance scale is not finite.
    """
    for name, text in (("prompt", prompt), ("negative_prompt", negative_prompt)):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name}: expected one str, got {type(text).__name__}")
    if (prompt is None) == (prompt_embeds is None):
        got = "both" if prompt is not None else "neither"
        raise ValueError(f"prompt: expected either prompt or prompt_embeds, got {got}")
    if negative_prompt is not None and negative_prompt_embeds is not None:
        raise ValueError("negative_prompt: expected None with negative_prompt_embeds, got a prompt")
    text_dim = pipe.transformer.config.text_dim
    embeddings = {"prompt_embeds": prompt_embeds, "negative_prompt_embeds": negative_prompt_embeds}
    for name, tensor in embeddings.items():
        if tensor is not None and (tensor.dim() != 3 or tensor.shape[0] != 1 or tensor.shape[2] != text_dim):
            raise ValueError(f"{name}: expected (1, tokens, text dim={text_dim}), got {tuple(tensor.shape)}")
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance_scale: expected a finite number, got {guidance_scale}")
    needed = ["prompt_embeds", "negative_prompt_embeds"][: 1 + (guidance_scale > 1)]
    missing = [name for name in needed if embeddings[name] is None]
    if missing and pipe.text_encoder is None:
        raise ValueError(f"{missing[0]}: expected embeddings, because the pipeline has no text encoder, got None")


def make_encoder(
    pipe: Any,
    *,
    negative_prompt: str | None,
    prompt_embeds: Tensor | None,
    negative_prompt_embeds: Tensor | None,
    guidance_scale: float,
    max_sequence_length: int,
) -> PromptEncoder:
    """Make the chunk model's encoder of prompts, which keeps the embeddings of the last one.

    Args:
        pipe: the pipeline.
        prompt_embeds: the embeddings that the empty prompt stands for; None encodes the empty prompt.
        negative_prompt, negative_prompt_embeds, guidance_scale, max_sequence_length: as in
            :meth:`diffusers.WanPipeline.__call__`.
    """

    def encode(text: str) -> tuple[Tensor, Tensor | None]:
        embeds = prompt_embeds if text == "" else None
        positive, negative = pipe.encode_prompt(
            None if embeds is not None else text,
            negative_prompt,
            guidance_scale > 1,
            prompt_embeds=embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            max_sequence_length=max_sequence_length,
        )
        return positive, negative

    return cache_last_prompt(encode)


def make_callback(
    pipe: Any, callback: Callable[..., dict[str, Any]] | None, tensor_inputs: Iterable[str]
) -> StepCallback | None:
    """Make the chunk model's callback.

    Args:
        pipe: the pipeline, the callback's first argument.
        callback: as in diffusers: a function, or one of its ``PipelineCallback`` or ``MultiPipelineCallbacks``.
        tensor_inputs: the tensors to pass to a function.

    Raises:
        ValueError: the callback needs a tensor that the pipeline does not have.
    """
    if isinstance(callback, PipelineCallback | MultiPipelineCallbacks):
        tensor_inputs = callback.tensor_inputs
    names = set(tensor_inputs)
    if not names <= set(CALLBACK_TENSORS):
        expected = f"some of {', '.join(CALLBACK_TENSORS)}"
        raise ValueError(f"callback_on_step_end_tensor_inputs: expected {expected}, got {sorted(names)}")
    if callback is None:
        return None

    def on_step_end(step: int, timestep: Tensor, tensors: dict[str, Any]) -> dict[str, Any] | None:
        return callback(pipe, step, timestep, {name: tensors[name] for name in tensors if name in names})

    return on_step_end
