# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny random configurations of the real depth networks, with their real image processors."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    BeitConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    DepthProConfig,
    DepthProForDepthEstimation,
    DepthProImageProcessor,
    Dinov2Config,
    DPTImageProcessor,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
    ZoeDepthImageProcessor,
)

VIT = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
# With the default initialization the predicted depth hardly depends on the image, so use larger weights.
LARGE_WEIGHTS = {"initializer_range": 0.2}


def depth_anything(kind: str = "metric") -> tuple[Any, Any]:
    """Depths below 20 m. Images are resized to multiples of 14."""
    torch.manual_seed(0)
    backbone = Dinov2Config(
        image_size=42, patch_size=14, out_indices=[1, 2, 3, 4], reshape_hidden_states=False, **VIT, **LARGE_WEIGHTS
    )
    config = DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=16, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8,
        head_hidden_size=4, depth_estimation_type=kind, max_depth=20, **LARGE_WEIGHTS,
    )  # fmt: skip
    processor = DPTImageProcessor(size={"height": 42, "width": 42}, keep_aspect_ratio=True, ensure_multiple_of=14)
    return DepthAnythingForDepthEstimation(config), processor


def zoedepth() -> tuple[Any, Any]:
    """Images are padded and resized to multiples of 32."""
    torch.manual_seed(1)
    backbone = BeitConfig(
        image_size=64, patch_size=16, intermediate_size=32, use_relative_position_bias=True,
        reshape_hidden_states=False, out_features=["stage1", "stage2", "stage3", "stage4"], **VIT, **LARGE_WEIGHTS,
    )  # fmt: skip
    config = ZoeDepthConfig(
        backbone_config=backbone, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, bottleneck_features=8,
        num_relative_features=4, num_attractors=[4, 2, 2, 1], bin_embedding_dim=8, **LARGE_WEIGHTS,
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0}],
    )  # fmt: skip
    processor = ZoeDepthImageProcessor(size={"height": 64, "width": 64}, ensure_multiple_of=32)
    return ZoeDepthForDepthEstimation(config), processor


def depth_pro(field_of_view: bool = True) -> tuple[Any, Any]:
    """Images are resized to 64x64."""
    torch.manual_seed(2)
    vit = {"model_type": "dinov2", "image_size": 32, "patch_size": 8, **VIT, **LARGE_WEIGHTS}
    config = DepthProConfig(
        patch_size=32, fusion_hidden_size=16, intermediate_hook_ids=[1, 0], intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0], scaled_images_overlap_ratios=[0.0, 0.2], scaled_images_feature_dims=[8, 8],
        use_fov_model=field_of_view, merge_padding_value=1, image_model_config=dict(vit), patch_model_config=dict(vit),
        fov_model_config=dict(vit),
    )  # fmt: skip
    processor = DepthProImageProcessor(size={"height": 64, "width": 64})
    return DepthProForDepthEstimation(config), processor
