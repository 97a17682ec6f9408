# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Adapter and LoRA learn eight clips by heart, faster with the memory's view than without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_training import TableClips, build, recipe

from mirage.training.dataset import TrainingData
from mirage.training.loop import StageTrainer
from mirage.training.models import make_model
from mirage.training.recipe import StageName
from mirage.training.run import find_conditioning, make_accelerator, train
from mirage.training.samples import SampleSettings
from mirage.training.validation import Validation

BASE_STEPS, STEPS = 800, {"adapter": 300, "lora": 300}
SETTINGS = SampleSettings(targets=4, per_clip=3, extent_scales=(0.65,))
VALUES = [
    "backbone.num_layers=4", "backbone.num_attention_heads=4", "backbone.attention_head_dim=64", "backbone.ffn_dim=512",
    "held_out=0", "validation_samples=24", "validate_every=50", "lora_rank=32", "objective.prompt_dropout=0",
    "objective.hole_dropout=0",
    *(f"{stage}.{value}" for stage in ("base", "adapter", "lora") for value in (
        "batch_size=8", "warmup=20", "ema=0", "references=[0,0]", "preceding=[0,0]", "weight_decay=0")),
    "base.learning_rate=1e-3", "adapter.learning_rate=2e-3", "lora.learning_rate=3e-3",
]  # fmt: skip


def overfit(
    data: TrainingData, out: Path, stage: StageName, backbone: Path, adapter: Path | None, view: bool
) -> tuple[float, float]:
    """Train a stage, and return the loss before and after."""
    values = [*VALUES, f"objective.zero_view={str(not view).lower()}"]
    made = recipe(*values, steps=STEPS[stage], preset="release")
    torch.manual_seed(0)
    model = make_model(stage, made, 48, find_conditioning(made, data), backbone, adapter, torch.float32)
    trainer = StageTrainer(make_accelerator(made, out, cpu=True), stage, made, data, model, out)
    validate = Validation(data, None, out)
    before = validate(trainer)["validation_loss"]
    trainer.train()
    after = validate(trainer)["validation_loss"]
    return before, after


@pytest.mark.long
def test_eight_clips_are_learned_by_heart(tmp_path: Path, figures: Callable[[str], None]) -> None:
    build(tmp_path / "others", [TableClips(40, 25, first=8)], SETTINGS)
    build(tmp_path / "eight", [TableClips(8, 25)], SETTINGS)
    base = recipe("stages=['base']", *VALUES, steps=BASE_STEPS, preset="release")
    train(base, tmp_path / "others", tmp_path / "run")
    backbone, data = tmp_path / "run" / "base" / "transformer", TrainingData(tmp_path / "eight")
    general = recipe("stages=['adapter']", *VALUES, steps=STEPS["adapter"], preset="release")
    train(general, tmp_path / "others", tmp_path / "run")
    adapter = tmp_path / "run" / "adapter" / "adapter.safetensors"
    for stage, start in (("adapter", None), ("lora", adapter)):
        falls = []
        for view in (True, False):
            before, after = overfit(data, tmp_path / f"{stage}{view}", stage, backbone, start, view)
            falls.append(1 - after / before)
            figures(f"{stage}, {'view' if view else 'no view'}: {before:.3f} to {after:.3f}, {falls[-1]:.0%} down")
        assert falls[0] > 0.6
        assert falls[1] < falls[0] - 0.05
