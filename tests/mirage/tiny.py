# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The components of Wan2.2-TI2V-5B: the real classes in tiny random configurations."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

WORDS = ["<pad>", "</s>", "<unk>", "a", "room", "with", "kitchen", "walk", "through", "the", "blurry"]
TEXT_DIM = 24


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def text_encoder() -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=len(WORDS), d_model=TEXT_DIM, d_kv=8, d_ff=32, num_layers=1, num_heads=2, pad_token_id=0,
        eos_token_id=1, is_encoder_decoder=False,
    )  # fmt: skip
    return UMT5EncoderModel(config).eval()


def vae() -> AutoencoderKLWan:
    """Wan2.2's strides, 4 and 16, and its 48 channels."""
    torch.manual_seed(1)
    return AutoencoderKLWan(
        base_dim=3, decoder_base_dim=3, z_dim=48, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
        temperal_downsample=[False, True, True], latents_mean=[0.1] * 48, latents_std=[0.9] * 48, is_residual=True,
        in_channels=12, out_channels=12, patch_size=2, scale_factor_temporal=4, scale_factor_spatial=16,
    ).eval()  # fmt: skip


def transformer(layers: int = 4) -> WanTransformer3DModel:
    torch.manual_seed(2)
    return WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=24, in_channels=48, out_channels=48, text_dim=TEXT_DIM, freq_dim=16,
        ffn_dim=64, num_layers=layers,
    ).eval()  # fmt: skip


def scheduler() -> UniPCMultistepScheduler:
    """As in Wan2.2-TI2V-5B-Diffusers."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0, num_train_timesteps=1000
    )


def wan() -> WanPipeline:
    torch.manual_seed(0)
    return WanPipeline(tokenizer(), text_encoder(), vae(), scheduler(), transformer(), expand_timesteps=True)
