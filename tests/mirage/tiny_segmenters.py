# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny random configurations of the real segmentation networks, saved with their real processors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    OneFormerProcessor,
    PreTrainedTokenizerFast,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
)

LABELS = {0: "wall", 1: "person, individual", 2: "Sky"}
# With the default initialization one class is predicted everywhere, so use larger weights.
LARGE_WEIGHTS = {"initializer_range": 0.5}
SIZE = {"height": 64, "width": 64}


def image_processor(name: str) -> Any:
    """The image processor of transformers; its Pillow version if torchvision is not installed."""
    import transformers

    try:
        return getattr(transformers, name)
    except ImportError:
        return getattr(transformers, f"{name}Pil")


def tokenizer(*extra: str) -> PreTrainedTokenizerFast:
    names = ["<pad>", "</s>", "<unk>", "the", "task", "is", "semantic", "person", "dog", *extra]
    words = Tokenizer(models.WordLevel({word: n for n, word in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def save_segformer(folder: Path) -> None:
    torch.manual_seed(0)
    config = SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8, 8, 16, 16], num_attention_heads=[1, 1, 2, 2], decoder_hidden_size=8,
        id2label=LABELS, **LARGE_WEIGHTS,
    )  # fmt: skip
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    image_processor("SegformerImageProcessor")(size=SIZE).save_pretrained(folder)


def swin() -> SwinConfig:
    return SwinConfig(
        embed_dim=8, depths=[1] * 4, num_heads=[1, 1, 2, 2], window_size=4, image_size=64,
        out_features=["stage1", "stage2", "stage3", "stage4"], **LARGE_WEIGHTS,
    )  # fmt: skip


def save_mask2former(folder: Path) -> None:
    torch.manual_seed(0)
    config = Mask2FormerConfig(
        backbone_config=swin(), feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16, num_queries=5, init_std=0.5,
        init_xavier_std=5.0, id2label=LABELS,
    )  # fmt: skip
    model = Mask2FormerForUniversalSegmentation(config)
    for name, weight in model.named_parameters():
        if "class_predictor" in name or "mask_embedder" in name or "queries" in name:
            torch.nn.init.normal_(weight, std=2.0)
    model.save_pretrained(folder)
    image_processor("Mask2FormerImageProcessor")(size=SIZE, num_labels=3).save_pretrained(folder)


def save_oneformer(folder: Path) -> None:
    torch.manual_seed(0)
    config = OneFormerConfig(
        backbone_config=swin(), num_queries=5, hidden_dim=32, mask_dim=32, conv_dim=32, encoder_feedforward_dim=16,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=16, task_seq_len=8,
        text_encoder_vocab_size=32, text_encoder_context_length=8, text_encoder_width=32, text_encoder_num_layers=1,
        text_encoder_n_ctx=2, text_encoder_proj_layers=1, init_std=0.5, init_xavier_std=5.0, id2label=LABELS,
        is_training=False,
    )  # fmt: skip
    OneFormerForUniversalSegmentation(config).save_pretrained(folder)
    classes = {str(n): {"name": name, "isthing": int(n == 1)} for n, name in LABELS.items()}
    (folder / "classes.json").write_text(json.dumps(classes))
    images = image_processor("OneFormerImageProcessor")(
        size=SIZE, num_labels=3, num_text=3, repo_path=str(folder), class_info_file="classes.json"
    )
    OneFormerProcessor(images, tokenizer(), max_seq_length=8, task_seq_length=8).save_pretrained(folder)


SAVE = {"segformer": save_segformer, "mask2former": save_mask2former, "oneformer": save_oneformer}


def save_sam3(folder: Path) -> None:
    """Needs torchvision."""
    from transformers import (
        CLIPTextConfig,
        Sam3Config,
        Sam3ImageProcessor,
        Sam3Model,
        Sam3Processor,
        Sam3VisionConfig,
        Sam3ViTConfig,
    )

    torch.manual_seed(0)
    part = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    backbone = Sam3ViTConfig(
        **part, num_hidden_layers=2, image_size=112, pretrain_image_size=112, patch_size=14, window_size=4,
        global_attn_indexes=[1], **LARGE_WEIGHTS,
    )  # fmt: skip
    vision = Sam3VisionConfig(
        backbone_config=backbone,
        fpn_hidden_size=32,
        backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        **LARGE_WEIGHTS,
    )
    text = CLIPTextConfig(
        vocab_size=32, **part, num_hidden_layers=1, max_position_embeddings=32, projection_dim=32, eos_token_id=1
    )
    config = Sam3Config(
        vision_config=vision, text_config=text,
        geometry_encoder_config={**part, "num_layers": 1, **LARGE_WEIGHTS},
        detr_encoder_config={**part, "num_layers": 1, **LARGE_WEIGHTS},
        detr_decoder_config={**part, "num_layers": 2, "num_queries": 5, **LARGE_WEIGHTS},
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2, **LARGE_WEIGHTS},
    )  # fmt: skip
    Sam3Model(config).save_pretrained(folder)
    Sam3Processor(Sam3ImageProcessor(size={"height": 112, "width": 112}), tokenizer()).save_pretrained(folder)


CHAT = (
    "{% for message in messages %}{% for part in message.content %}{% if part.type == 'image' %}"
    "<|vision_start|> <|image_pad|> <|vision_end|> {% else %}{{ part.text }} {% endif %}{% endfor %}{% endfor %}"
)


def save_qwen3_vl(folder: Path) -> None:
    """Needs torchvision."""
    from transformers import Qwen2VLImageProcessor, Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor
    from transformers import Qwen3VLVideoProcessor as Videos

    torch.manual_seed(0)
    marks = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    words = tokenizer(*marks, "dog,")
    words.add_special_tokens({"additional_special_tokens": marks})
    image, video, start, end = words.convert_tokens_to_ids(marks)
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(words), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "eos_token_id": 1, "pad_token_id": 0,
            "rope_parameters": {
                "rope_type": "default", "mrope_section": [4, 2, 2], "mrope_interleaved": True, "rope_theta": 1e4,
            },
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32,
            "num_position_embeddings": 16, "deepstack_visual_indexes": [0],
        },
        image_token_id=image, video_token_id=video, vision_start_token_id=start, vision_end_token_id=end,
    )  # fmt: skip
    model = Qwen3VLForConditionalGeneration(config)
    model.save_pretrained(folder)
    size = {"shortest_edge": 64 * 64, "longest_edge": 96 * 96}
    images = Qwen2VLImageProcessor(size=size, patch_size=16, temporal_patch_size=2, merge_size=2)
    Qwen3VLProcessor(images, words, Videos(), chat_template=CHAT).save_pretrained(folder)
