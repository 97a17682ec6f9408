# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Recipes: files, overrides, and errors that name the value."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mirage.errors import DataError
from mirage.models.wan.conditioning import Conditioning
from mirage.training.recipe import STAGES, BackboneRecipe, ObjectiveRecipe, Recipe, StageRecipe, read_recipe


def test_recipes_of_the_package() -> None:
    release, paper = read_recipe("release"), read_recipe("paper")
    assert (release.preset, paper.preset) == ("release", "paper")
    for recipe in (release, paper):
        assert recipe.stages == ("adapter", "lora")
        assert recipe.objective.flow_shift == 5
        assert recipe.adapter.references == (0, 4)
        assert recipe.adapter.preceding == (0, 2)
        assert recipe.precision == "bf16"
    assert release.adapter.learning_rate == 1e-5
    assert release.conditioning() == Conditioning(flow_shift=5.0)


def test_every_value_can_be_replaced() -> None:
    values = {
        "preset": "'paper'", "stages": "['base', 'lora']", "seed": "3", "precision": "no", "checkpointing": "false",
        "compile": "true", "mask": "holes", "lora_rank": "8", "max_sequence_length": "7", "held_out": "0.5",
        "workers": "0", "log_every": "1", "checkpoint_every": "2", "keep_checkpoints": "3", "validate_every": "4",
        "validation_samples": "5", "validation_steps": "6", "normalize": "yes", "normalize_power": "0.5",
        "keep_known": "true",
    }  # fmt: skip
    assert set(values) | {"backbone", "objective", *STAGES} == {field.name for field in dataclasses.fields(Recipe)}
    stage = {"steps": "9", "batch_size": "2", "accumulate": "3", "optimizer": "adamw8bit", "learning_rate": "2e-4",
             "warmup": "0", "schedule": "cosine", "weight_decay": "0", "beta1": "0.8", "beta2": "0.95",
             "epsilon": "1e-6", "clip_norm": "0", "ema": "0.5", "references": "[1, 2]",
             "preceding": "[0, 1]", "known_weight": "0.5"}  # fmt: skip
    assert set(stage) == {field.name for field in dataclasses.fields(StageRecipe)}
    values |= {f"{name}.{key}": value for name in STAGES for key, value in stage.items()}
    values |= {"backbone.num_layers": "3", "objective.zero_view": "true", "objective.hole_dropout": "1"}
    recipe = read_recipe("release", [f"{name}={value}" for name, value in values.items()])
    default = read_recipe("release")
    for field in dataclasses.fields(Recipe):
        assert getattr(recipe, field.name) != getattr(default, field.name), field.name
    for name in STAGES:
        for key in stage:
            assert getattr(recipe.stage(name), key) != getattr(default.stage(name), key), f"{name}.{key}"
    assert recipe.lora.learning_rate == 2e-4
    assert read_recipe("release", ["stages=base, lora"]).stages == ("base", "lora")
    assert recipe.lora.references == (1, 2)
    assert isinstance(recipe.lora.weight_decay, float)


def test_conditioning_is_that_of_the_adapter() -> None:
    values = [
        "mask=holes",
        "keep_known=true",
        "adapter.references=[0,2]",
        "lora.references=[0,3]",
        "objective.flow_shift=3",
    ]
    recipe = read_recipe("paper", [*values, "adapter.preceding=[0,0]", "lora.preceding=[0,0]"])
    found = recipe.conditioning(extent_scale=0.0)
    assert found == Conditioning(
        num_references=2, num_preceding=0, mask="holes", keep_known=True, flow_shift=3.0, extent_scale=0.0
    )


WRONG = [
    ("seed=1.5", "seed: expected an integer, got float"),
    ("seed=-1", "seed: expected 0 to"),
    ("adapter.steps=0", "adapter.steps: expected 1 to"),
    ("adapter.learning_rate=0", "adapter.learning_rate: expected a number above 0, got 0"),
    ("adapter.learning_rate=fast", "adapter.learning_rate: expected a number, got str"),
    ("lora.references=[3,1]", r"lora.references: expected \[least, largest\].*, got \[3, 1\]"),
    ("lora.references=3", "lora.references: expected a list of 2 values, got int"),
    ("stages=['lora','adapter']", "stages: expected some of base, adapter, lora, in this order"),
    ("stages=[]", "stages: expected some of"),
    ("stages=['all']", "stages: expected 'base', 'adapter' or 'lora', got 'all'"),
    ("preset=best", "preset: expected 'release', 'paper' or 'nano', got 'best'"),
    ("checkpointing=1", "checkpointing: expected a bool, got int"),
    ("learning_rate=1", r"recipe: expected names among preset.* got 'learning_rate' \(adapter.learning_rate\?\)"),
    ("stages=adapter,all", "stages: expected 'base', 'adapter' or 'lora', got 'all'"),
    ("adapter.lr=1", "adapter: expected names among steps.* got 'lr'"),
    ("seed.x=1", "seed: expected an integer, got dict"),
    ("objective.hole_dropout=2", "objective.hole_dropout: expected at most 1"),
    ("held_out=1", "held_out: expected at least 0 and below 1"),
    ("objective=3", "objective: expected a table, got int"),
    ("seed", "--set: expected NAME=VALUE, got 'seed'"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_value_is_named(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_recipe("release", [text])
    assert "\n" not in str(error.value)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("preset = 'paper'\n[lora]\nsteps = 3\n")
    assert read_recipe(path).lora.steps == 3
    path.write_text("preset = ")
    with pytest.raises(DataError, match=r"mine.toml: expected a recipe in TOML, got a damaged file"):
        read_recipe(path)
    with pytest.raises(
        DataError, match=r"RECIPE: expected nano, paper, release or a file that ends in \.toml, got 'best'"
    ):
        read_recipe("best")
    with pytest.raises(DataError, match="RECIPE: expected nano, paper, release or a file"):
        read_recipe(tmp_path / "none.toml")


def test_the_page_lists_every_value_with_its_default() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "training.md").read_text()
    page = page[page.index("### The values of a recipe") :]
    for kind in (Recipe, StageRecipe, ObjectiveRecipe, BackboneRecipe):
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in page or f"`[{field.name}]`" in page, field.name
            if not isinstance(field.default, (bool, tuple, str, type(dataclasses.MISSING))):
                row = next(line for line in page.replace("\n(", " (").splitlines() if f"`{field.name}`" in line)
                assert f"{field.default:g}".replace("e-05", "e-5").replace("e-08", "e-8") in row, field.name
