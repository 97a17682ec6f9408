# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A tiny random pipeline with a trained adapter, and arguments to run it with."""

from __future__ import annotations

from typing import Any

import tiny
import torch

from mirage.cameras import out_and_back, pan
from mirage.models.wan.pipeline import MiragePipeline
from mirage.models.wan.presets import PresetName
from mirage_kernels import Cameras

SIZE = (64, 96)
START = Cameras(torch.tensor([[90.0, 0, 48], [0, 90, 32], [0, 0, 1]]), torch.eye(4), SIZE)
IMAGE = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
DEPTH = torch.full(SIZE, 3.0)
PATH = pan(START, out_and_back(33), 25)


def train_adapter(pipe: MiragePipeline) -> MiragePipeline:
    """Give the adapter random output projections, so that it has an effect as after training."""
    torch.manual_seed(3)
    for block in pipe.transformer.adapter.control_blocks:
        torch.nn.init.normal_(block.proj_out.weight, std=0.2)
        if block.proj_in is not None:
            torch.nn.init.normal_(block.proj_in.weight, std=0.2)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def make_pipeline(preset: PresetName = "release", **parts: Any) -> MiragePipeline:
    parts = tiny.wan().components | parts
    del parts["transformer_2"]
    return train_adapter(MiragePipeline(**parts, preset=preset))


def run(pipe: MiragePipeline, **options: Any) -> Any:
    arguments = {
        "image": IMAGE,
        "prompt": "a room",
        "cameras": PATH,
        "depth": DEPTH,
        "num_inference_steps": 2,
        "generator": torch.Generator().manual_seed(0),
        "max_sequence_length": 12,
        "output_type": "latent",
        "chunk": 17,
    } | options
    return pipe(**arguments)
