# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Wan2.2-TI2V-5B with the memory adapter and random weights, at its full size or a tiny one.

Weights are created on the device in their final dtype; the full model is never on the CPU. Nothing is downloaded, and
there is no text encoder: prompts are random embeddings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLWan
from torch import Tensor, nn

from mirage.models.wan.parameter_counts import VAE_SETTINGS
from mirage.models.wan.pipeline import MiragePipeline
from mirage.models.wan.timesteps import make_scheduler
from mirage.models.wan.transformer import MirageTransformer3DModel
from mirage.rollout import CHUNK
from mirage.rollout.loop import PRECEDING, REFERENCES

WORDS = 512


class Size(NamedTuple):
    """A configuration.

    Attributes:
        transformer, vae: settings that differ from the classes' defaults, which are Wan2.2-TI2V-5B's with the adapter
            of the released kind, and another autoencoder's.
        image_size: (H, W).
    """

    transformer: dict[str, Any]
    vae: dict[str, Any]
    image_size: tuple[int, int]


SIZES = {
    "full": Size({}, VAE_SETTINGS, (704, 1280)),
    "tiny": Size(
        {
            "num_attention_heads": 2, "attention_head_dim": 24, "text_dim": 24, "freq_dim": 16, "ffn_dim": 64,
            "num_layers": 4, "adapter_layers": (0, 2),
        },
        {**VAE_SETTINGS, "base_dim": 3, "decoder_base_dim": 3, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
        (64, 96),
    ),
}  # fmt: skip


class Models(NamedTuple):
    """The two networks, and their size."""

    transformer: MirageTransformer3DModel
    vae: AutoencoderKLWan
    size: Size


def describe(name: str) -> Models:
    """The networks with shapes but without weights."""
    size = SIZES[name]
    with init_empty_weights():
        return Models(MirageTransformer3DModel(**size.transformer), AutoencoderKLWan(**size.vae), size)


def _dtype_of(name: str, model: nn.Module, dtype: torch.dtype) -> torch.dtype:
    """The dtype in which diffusers loads a parameter: some modules stay in float32."""
    exact = set(getattr(model, "_keep_in_fp32_modules", None) or ())
    return torch.float32 if exact & set(name.split(".")) else dtype


def count_parameters(models: Models) -> dict[str, int]:
    """Parameters of transformer, adapter and autoencoder."""
    sizes = {name: value.numel() for name, value in models.transformer.named_parameters()}
    adapter = sum(size for name, size in sizes.items() if name.startswith("adapter."))
    vae = sum(value.numel() for value in models.vae.parameters())
    return {"transformer": sum(sizes.values()) - adapter, "adapter": adapter, "vae": vae}


def estimate_bytes(models: Models, frames: int, dtype: torch.dtype = torch.bfloat16) -> dict[str, int]:
    """Estimate the bytes of a run: the weights exactly, the rest roughly.

    Args:
        models: the networks.
        frames: latent frames in the RGB points at the end.
        dtype: of the weights.
    """
    weights = sum(
        value.numel() * _dtype_of(name, model, dtype).itemsize
        for model in models[:2]
        for name, value in model.named_parameters()
    )
    height, width = models.size.image_size
    settings = models.transformer.config
    latents = (CHUNK - 1) // 4 + 1 + PRECEDING + REFERENCES
    tokens = latents * (height // 32) * (width // 32)
    dim = settings.num_attention_heads * settings.attention_head_dim
    denoising = tokens * (8 * dim + 2 * settings.ffn_dim) * dtype.itemsize
    # last stage of the decoder: four frames at half the size of the image, with the states of its convolutions
    feature_map = 4 * (height // 2) * (width // 2) * 2 * models.vae.config.decoder_base_dim * dtype.itemsize
    # the points; 33 views with a key, two indices, a depth and an image; a copy of the points during rendering
    points = frames * height * width * 15 * 2 + CHUNK * height * width * (8 + 2 * 8 + 4 + 12)
    return {"weights": weights, "working": max(denoising, 12 * feature_map), "RGB points": points}


def _random(name: str, shape: torch.Size, dtype: torch.dtype, device: str) -> Tensor:
    """A random weight that keeps the scale of activations."""
    value = torch.empty(shape, dtype=dtype, device=device)
    if name.endswith("bias"):
        return value.zero_()
    if len(shape) == 1 or name.endswith("gamma"):
        return value.fill_(1)
    fan_in = value[0].numel()
    return value.normal_(0, fan_in**-0.5)


def fill(model: nn.Module, dtype: torch.dtype, device: str) -> None:
    """Give a network random weights."""
    weights = {
        name: _random(name, value.shape, _dtype_of(name, model, dtype), device)
        for name, value in model.named_parameters()
    }
    model.load_state_dict(weights, assign=True)
    model.to(device).eval().requires_grad_(False)  # moves buffers, such as rotary positions


def build(models: Models, device: str, dtype: torch.dtype = torch.bfloat16) -> MiragePipeline:
    """Give the networks random weights, and build a pipeline."""
    torch.manual_seed(0)
    for model in models[:2]:
        fill(model, dtype, device)
    pipe = MiragePipeline(None, None, models.vae, make_scheduler(5.0), models.transformer)
    pipe.set_progress_bar_config(disable=True)
    return pipe
