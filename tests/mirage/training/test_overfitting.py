# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Adapter and LoRA learn eight clips by heart, faster with the memory's view than without it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from small_training import SIZE, build, recipe

from mirage.training.clips import ProceduralClips
from mirage.training.dataset import TrainingData
from mirage.training.loop import StageTrainer
from mirage.training.models import ADAPTER, BASE, export_stage, make_model
from mirage.training.recipe import Recipe, StageName
from mirage.training.run import find_conditioning, make_accelerator, train
from mirage.training.samples import SampleSettings
from mirage.training.validation import Validation

BASE_STEPS, STEPS = 800, 200
SETTINGS = SampleSettings(targets=6, per_clip=4, extent_scales=(0.65,))
COMMON = ("batch_size=8", "warmup=20", "ema=0", "references=[0,0]", "preceding=[0,0]", "weight_decay=0")
VALUES = [
    "backbone.num_layers=4", "backbone.num_attention_heads=4", "backbone.attention_head_dim=64", "backbone.ffn_dim=512",
    "held_out=0", "validation_samples=32", "validate_every=0", "lora_rank=32", "objective.prompt_dropout=0",
    "objective.hole_dropout=0", "base.learning_rate=1e-3", "adapter.learning_rate=2e-3", "lora.learning_rate=5e-3",
    *(f"{stage}.{value}" for stage in ("base", "adapter", "lora") for value in COMMON),
]  # fmt: skip


class Losses(NamedTuple):
    """On the eight clips: before and after a stage, and after it with the view left out."""

    before: float
    after: float
    blind: float


def made(view: bool) -> Recipe:
    return recipe(*VALUES, f"objective.zero_view={str(not view).lower()}", steps=STEPS, preset="release")


def overfit(data: TrainingData, out: Path, stage: StageName, backbone: Path, view: bool) -> Losses:
    """Train a stage on the clips. The stage ``lora`` follows the stage ``adapter`` in the same folder."""
    torch.manual_seed(0)
    adapter = out / ADAPTER if stage == "lora" else None
    chosen = made(view)
    model = make_model(stage, chosen, 48, find_conditioning(chosen, data), backbone, adapter, torch.float32)
    trainer = StageTrainer(make_accelerator(chosen, out, cpu=True), stage, chosen, data, model, out / stage)
    validate = Validation(data, None, out)
    before = validate(trainer)["validation_loss"]
    trainer.train()
    after = validate(trainer)["validation_loss"]
    export_stage(stage, trainer.model, trainer.state.weights(), out)
    trainer.recipe = made(view=False)
    return Losses(before, after, validate(trainer)["validation_loss"])


@pytest.mark.long
def test_eight_clips_are_learned_by_heart(tmp_path: Path, figures: Callable[[str], None]) -> None:
    for name, seeds in (("others", range(100, 140)), ("eight", range(8))):
        build(tmp_path / name, [ProceduralClips(seeds, 61, SIZE)], SETTINGS)
    base = recipe("stages=['base']", *VALUES, steps=BASE_STEPS, preset="release")
    train(base, tmp_path / "others", tmp_path / "run")
    backbone, data = tmp_path / "run" / "base" / BASE, TrainingData(tmp_path / "eight")
    stages: tuple[StageName, ...] = ("adapter", "lora")
    seen, unseen = (
        [overfit(data, tmp_path / str(view), stage, backbone, view) for stage in stages] for view in (True, False)
    )
    start = seen[0].before  # of the backbone alone
    for stage, with_view, without in zip(stages, seen, unseen, strict=True):
        falls = [1 - losses.after / start for losses in (with_view, without)]
        figures(f"{stage}: {start:.3f} to {with_view.after:.3f} with the view ({falls[0]:.0%} down), to "
                f"{without.after:.3f} without it ({falls[1]:.0%} down); with it, and then left out: "
                f"{with_view.blind:.3f}")  # fmt: skip
        assert falls[0] > 0.6
        assert falls[1] < falls[0] - 0.05
        assert with_view.blind > 1.5 * with_view.after
    assert seen[1].after < 0.8 * seen[1].before
