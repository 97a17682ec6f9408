# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Training runs: what a stage trains, exact resumption, exports, and a loss that falls."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from small_training import SIZE, TableClips, build, recipe, state_of, trainer_of

from mirage.errors import DataError
from mirage.models.wan.codec import WanCodec
from mirage.models.wan.conditioning import Conditioning
from mirage.training.batches import stack
from mirage.training.checkpoints import find_checkpoints
from mirage.training.dataset import TrainingData
from mirage.training.log import read_log
from mirage.training.loop import StageTrainer, TrainingStoppedError
from mirage.training.models import make_model
from mirage.training.recipe import StageName
from mirage.training.run import train
from mirage.training.samples import SampleSettings
from mirage_kernels import load_tensors

CHECKED = ("checkpoint_every=2", "keep_checkpoints=9", "validate_every=3", "validation_steps=2")


def final_state(out: Path, stage: str) -> dict[str, torch.Tensor]:
    return state_of(find_checkpoints(out / stage / "checkpoints")[-1][1])


@pytest.mark.parametrize("stage", ["base", "adapter", "lora"])
def test_a_stage_changes_its_own_weights_only(shards: Path, finished: Path, tmp_path: Path, stage: StageName) -> None:
    trainer = trainer_of(shards, tmp_path, recipe(), stage, finished)
    before = {name: weight.detach().clone() for name, weight in trainer.model.state_dict().items()}
    trainer.train()
    after = trainer.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    expected = {
        "base": {name for name in before if not name.startswith("adapter.")},
        "adapter": {name for name in before if name.startswith("adapter.")},
        "lora": {name for name in before if ".lora_" in name},
    }[stage]
    assert changed == expected
    assert all(p.dtype == torch.float32 for p in trainer.state.parameters.values())
    if stage == "lora":
        assert not any(".adapter." in name or name.startswith("adapter.") for name in changed)


@pytest.mark.filterwarnings("ignore:Mismatch dtype")  # of norms, whose weights are float32
def test_trained_weights_are_float32_and_move_at_small_learning_rates(
    shards: Path, finished: Path, tmp_path: Path
) -> None:
    made = recipe("precision=bf16", "adapter.learning_rate=1e-5", "adapter.warmup=0", "adapter.ema=0")
    trainer = trainer_of(shards, tmp_path, made, "adapter", finished, torch.bfloat16)
    frozen = {
        n: p for n, p in trainer.model.named_parameters() if not p.requires_grad and "blocks" in n and "attn" in n
    }
    assert {p.dtype for n, p in frozen.items() if ".to_" in n} == {torch.bfloat16}
    before = {name: weight.detach().clone() for name, weight in trainer.state.parameters.items()}
    trainer.train()
    for name, weight in trainer.state.parameters.items():
        assert weight.dtype == torch.float32
        moved = (weight != before[name]).float().mean()
        assert moved > 0.9, name  # with weights of 16 bits, most would not


def test_the_adapter_runs_once_and_without_gradients_while_lora_is_trained(
    shards: Path, finished: Path, tmp_path: Path
) -> None:
    trainer = trainer_of(shards, tmp_path, recipe("checkpointing=true", steps=1), "lora", finished)
    calls: list[str] = []
    hints: list[torch.Tensor] = []
    for block in trainer.model.adapter.control_blocks:
        block.register_forward_pre_hook(lambda *_: calls.append("adapter"))
        block.register_forward_hook(lambda _, __, output: hints.append(output[0]))
    for block in trainer.model.blocks:
        block.register_forward_pre_hook(lambda *_: calls.append("backbone"))
    trainer.train()
    assert calls.count("adapter") == len(trainer.model.adapter.control_blocks)
    assert calls.count("backbone") == 2 * len(trainer.model.blocks)  # the backward pass computes them again
    assert not any(hint.requires_grad for hint in hints)


@pytest.mark.parametrize("stage", ["base", "adapter", "lora"])
def test_a_run_that_was_stopped_ends_with_the_same_bits(
    shards: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: StageName
) -> None:
    made = recipe(*CHECKED)
    step, done = StageTrainer._step, iter(range(5))

    def interrupted(trainer: StageTrainer, *arguments: Any) -> Any:
        if next(done, None) is None:
            raise KeyboardInterrupt
        return step(trainer, *arguments)

    monkeypatch.setattr(StageTrainer, "_step", interrupted)
    trainer = trainer_of(shards, tmp_path, made, stage, finished)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    monkeypatch.setattr(StageTrainer, "_step", step)
    resumed = trainer_of(shards, tmp_path, made, stage, finished)
    assert resumed.resume()
    assert resumed.step == 4
    resumed.train()
    expected, got = final_state(finished, stage), state_of(find_checkpoints(tmp_path / "checkpoints")[-1][1])
    assert set(got) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name
    losses = [
        [e["loss"] for e in read_log(path) if "loss" in e]
        for path in (tmp_path / "log.jsonl", finished / stage / "log.jsonl")
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


def test_checkpoints_rotate_and_finished_stages_are_skipped(shards: Path, tmp_path: Path) -> None:
    made = recipe("stages=['base']", "checkpoint_every=1", "keep_checkpoints=2")
    train(made, shards, tmp_path)
    folder = tmp_path / "base" / "checkpoints"
    assert [step for step, _ in find_checkpoints(folder)] == [5, 6]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name != "recipe.json"}
    result = train(made, shards, tmp_path)
    assert result["base"]["steps"] == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_run_leaves_pictures_and_a_log(finished: Path) -> None:
    for stage in ("adapter", "lora"):
        assert sorted(path.name for path in (finished / stage / "validation").iterdir()) == [
            "step-00000003.png", "step-00000006.png"]  # fmt: skip
    entries = read_log(finished / "adapter" / "log.jsonl")
    assert [e["step"] for e in entries if "loss" in e] == [1, 2, 3, 4, 5, 6]
    assert [e["step"] for e in entries if "validation_loss" in e] == [3, 6]
    assert all({"learning_rate", "gradient_norm", "waited"} <= set(e) for e in entries if "loss" in e)
    assert json.loads((finished / "recipe.json").read_text())["preset"] == "paper"


def test_the_control_latent_of_white_is_read_once(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    original = TrainingData.white_latents
    monkeypatch.setattr(TrainingData, "white_latents", lambda data: (read.append(1), original(data))[1])
    train(recipe("stages=['base']", preset="release"), shards, tmp_path)
    read.clear()
    made = recipe("stages=['adapter']", "validation_steps=0", preset="release")
    train(made, shards, tmp_path)
    assert len(read) == 1


def test_white_latents_of_a_shorter_video_are_the_first_ones() -> None:
    """So that one encoding serves all numbers of preceding latents, also with the autoencoder of Wan2.2."""
    codec = WanCodec(tiny.vae())
    frames = torch.ones(1, 3, 17, 32, 32)
    whole = codec.encode(frames)
    for count in (2, 3, 4):
        torch.testing.assert_close(whole[:, :, :count], codec.encode(frames[:, :, : 4 * count - 3]))


def train_short(shards: Path, out: Path, steps: int) -> dict[str, list[float]]:
    """Train a small recipe, and return the losses on held-out noise of each stage."""
    sizes = ("backbone.num_attention_heads=4", "backbone.attention_head_dim=48", "backbone.ffn_dim=384")
    values = ("batch_size=8", "learning_rate=3e-3")
    stages = [f"{stage}.{value}" for stage in ("base", "adapter") for value in values]
    made = recipe("stages=['base','adapter']", *sizes, *stages, f"validate_every={steps // 2}",
                  "validation_samples=16", "held_out=0", steps=steps)  # fmt: skip
    train(made, shards, out)
    logs = {stage: read_log(out / stage / "log.jsonl") for stage in ("base", "adapter")}
    return {name: [e["validation_loss"] for e in log if "validation_loss" in e] for name, log in logs.items()}


def test_a_short_recipe_lowers_the_loss(shards: Path, tmp_path: Path) -> None:
    losses = train_short(shards, tmp_path, 40)
    first = next(entry["loss"] for entry in read_log(tmp_path / "base" / "log.jsonl"))
    assert losses["base"][0] < 0.85 * first
    assert losses["base"][1] < 0.95 * losses["base"][0]
    assert losses["adapter"][1] < losses["adapter"][0] < losses["base"][1]


@pytest.mark.long
def test_two_hundred_steps_lower_the_loss(shards: Path, tmp_path: Path, figures: Callable[[str], None]) -> None:
    losses = train_short(shards, tmp_path, 200)
    figures(f"losses after 100 and 200 steps: {losses}")
    first = next(entry["loss"] for entry in read_log(tmp_path / "base" / "log.jsonl"))
    assert losses["base"][1] < 0.5 * first
    assert losses["adapter"][1] < 0.9 * losses["base"][1]


def test_a_run_that_is_asked_to_stop_writes_a_checkpoint(shards: Path, finished: Path, tmp_path: Path) -> None:
    asked = iter([False, False, False, True])
    trainer = trainer_of(shards, tmp_path, recipe("checkpoint_every=100"), "adapter", finished)
    with pytest.raises(TrainingStoppedError, match="stopped after step 4 of the stage adapter"):
        trainer.train(should_stop=lambda: next(asked))
    assert [step for step, _ in find_checkpoints(tmp_path / "checkpoints")] == [4]
    again = trainer_of(shards, tmp_path, recipe("checkpoint_every=100"), "adapter", finished)
    again.resume()
    again.train()
    expected = final_state(finished, "adapter")
    assert all(
        torch.equal(t, expected[n]) for n, t in state_of(find_checkpoints(tmp_path / "checkpoints")[-1][1]).items()
    )


def test_cells_that_are_kept_need_not_count(shards: Path, finished: Path, tmp_path: Path) -> None:
    losses = {}
    for weight in (1.0, 0.25, 0.0):
        made = trainer_of(shards, tmp_path / "none", recipe(f"adapter.known_weight={weight}"), "adapter", finished)
        batch = stack([made.dataset.sequence(0, slot) for slot in range(2)])
        assert not isinstance(batch, DataError)
        opened = batch.unpack()
        assert 0 < opened.mask[:, 1 : opened.targets.shape[2]].float().mean() < 1
        losses[weight] = made.loss(opened).item()
    assert len(set(losses.values())) == 3
    assert min(losses[1.0], losses[0.0]) < losses[0.25] < max(losses[1.0], losses[0.0])


def test_lora_generates_what_the_adapter_keeps(shards: Path, finished: Path, tmp_path: Path) -> None:
    backbone = finished / "base" / "transformer"
    made = recipe("stages=['adapter']", "keep_known=true", steps=1)
    train(made, shards, tmp_path, model=backbone)
    adapter = tmp_path / "adapter" / "adapter.safetensors"
    _, settings = load_tensors(adapter, kind="adapter", version=1)
    assert settings["conditioning"]["keep_known"]
    conditioning = Conditioning.from_dict(settings["conditioning"])
    model = make_model("lora", made, 48, conditioning, backbone, adapter, torch.float32)
    assert not model.conditioning.keep_known
    assert model.conditioning == dataclasses.replace(conditioning, keep_known=False)


def test_stages_draw_other_noise(shards: Path, finished: Path, tmp_path: Path) -> None:
    noise = [
        trainer_of(shards, tmp_path / stage, recipe(), stage, finished).dataset.sequence(0, 0).noise
        for stage in ("base", "adapter", "lora")
    ]
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[1], noise[2])


def test_a_longer_run_goes_on(shards: Path, tmp_path: Path) -> None:
    trainer_of(shards, tmp_path, recipe(steps=3), "base").train()
    longer = trainer_of(shards, tmp_path, recipe(steps=5), "base")
    assert longer.resume()
    longer.train()
    assert find_checkpoints(tmp_path / "checkpoints")[-1][0] == 5


def test_texts_reach_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"a wall": torch.full((2, 8), 3.0), "": torch.full((1, 8), -1.0)}
    build(tmp_path / "data", [TableClips(4)], SampleSettings(targets=2, per_clip=1), encode_text=texts.__getitem__)
    data = TrainingData(tmp_path / "data")
    assert data.has_texts
    seen = set()
    made = recipe("objective.prompt_dropout=0.5", "base.batch_size=4", "max_sequence_length=3", steps=8)
    trainer = trainer_of(tmp_path / "data", tmp_path / "out", made, "base")
    loss = StageTrainer.loss

    def watched(self: StageTrainer, batch: Any) -> torch.Tensor:
        seen.update(tuple(words) for words in batch.text[:, :, 0].tolist())
        return loss(self, batch)

    monkeypatch.setattr(StageTrainer, "loss", watched)
    trainer.train()
    assert seen == {(3.0, 3.0, 0.0), (-1.0, 0.0, 0.0)}
    assert SIZE == (64, 96)
