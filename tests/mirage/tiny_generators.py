# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Image-to-video pipelines of diffusers with tiny random weights."""

from __future__ import annotations

from typing import Any

import tiny
import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    AutoencoderKLWan,
    CogVideoXDDIMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel, T5Config, T5EncoderModel


def tiny_wan_image_to_video() -> Any:
    """Wan2.1's layout."""
    torch.manual_seed(0)
    vae = AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
                           temperal_downsample=[False, True, True])  # fmt: skip
    transformer = WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=36, out_channels=16, text_dim=tiny.TEXT_DIM,
        freq_dim=32, ffn_dim=16, num_layers=1, image_dim=4,
    )  # fmt: skip
    vision = CLIPVisionConfig(hidden_size=4, num_hidden_layers=2, num_attention_heads=2, image_size=32,
                              intermediate_size=8, patch_size=8)  # fmt: skip
    pipe = WanImageToVideoPipeline(
        tokenizer=tiny.tokenizer(), text_encoder=tiny.text_encoder(), vae=vae.eval(), transformer=transformer.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), image_encoder=CLIPVisionModel(vision).eval(),
        image_processor=CLIPImageProcessorPil(crop_size=32, size=32),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_cogvideox() -> Any:
    """The layout of CogVideoX 1.0, image to video."""
    torch.manual_seed(0)
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4, up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2,
    )  # fmt: skip
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=8, out_channels=4, time_embed_dim=2,
        text_embed_dim=tiny.TEXT_DIM, num_layers=1, sample_width=12, sample_height=8, sample_frames=9,
        max_text_seq_length=226, use_rotary_positional_embeddings=True,
    )  # fmt: skip
    text = T5Config(vocab_size=len(tiny.WORDS), d_model=tiny.TEXT_DIM, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    pipe = CogVideoXImageToVideoPipeline(
        tokenizer=tiny.tokenizer(), text_encoder=T5EncoderModel(text).eval(), vae=vae.eval(),
        transformer=transformer.eval(), scheduler=CogVideoXDDIMScheduler(),
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe
