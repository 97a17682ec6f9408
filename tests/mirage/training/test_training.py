# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Training runs: what a stage trains, exact resumption, exports, and a loss that falls."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from small_training import SIZE, TableClips, build, recipe

from mirage.errors import DataError
from mirage.models.wan.codec import WanCodec
from mirage.models.wan.conditioning import Conditioning
from mirage.training.batches import stack
from mirage.training.checkpoints import find_checkpoints
from mirage.training.dataset import TrainingData
from mirage.training.log import read_log
from mirage.training.loop import StageTrainer, TrainingStoppedError
from mirage.training.models import make_model
from mirage.training.recipe import Recipe, StageName
from mirage.training.run import find_conditioning, make_accelerator, train
from mirage.training.samples import SampleSettings
from mirage_kernels import load_tensors

ALL = "stages=['base','adapter','lora']"
CHECKED = ("checkpoint_every=2", "keep_checkpoints=9", "validate_every=3", "validation_steps=2")


@pytest.fixture(scope="module")
def finished(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of all stages; tests must not change it."""
    out = tmp_path_factory.mktemp("run")
    train(
        recipe(ALL, "checkpoint_every=2", "keep_checkpoints=9", "validate_every=3", "validation_steps=2"), shards, out
    )
    return out


def state_of(path: Path) -> dict[str, torch.Tensor]:
    return load_tensors(path, kind="training state", version=1)[0]


def final_state(out: Path, stage: str) -> dict[str, torch.Tensor]:
    return state_of(find_checkpoints(out / stage / "checkpoints")[-1][1])


def trainer_of(
    shards: Path, out: Path, made: Recipe, stage: StageName, run: Path | None = None, dtype: torch.dtype = torch.float32
) -> StageTrainer:
    data = TrainingData(shards, made.held_out)
    folder = None if run is None else run / "base" / "transformer"
    adapter = None if run is None or stage != "lora" else run / "adapter" / "adapter.safetensors"
    torch.manual_seed(0)
    model = make_model(stage, made, 48, find_conditioning(made, data), folder, adapter, dtype)
    return StageTrainer(make_accelerator(made, out, cpu=True), stage, made, data, model, out)


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


def test_wrong_inputs_are_named(shards: Path, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--model: expected a folder with Wan2\.2 in diffusers' layout, or the stage"):
        train(recipe("stages=['adapter']"), shards, tmp_path / "a")
    with pytest.raises(DataError, match="--adapter: expected the file of the adapter that LoRA is trained with"):
        train(recipe("stages=['lora']"), shards, tmp_path / "a", model=finished / "base" / "transformer")
    trainer = trainer_of(shards, tmp_path / "b", recipe("checkpoint_every=3"), "base")
    trainer.train()
    other = trainer_of(shards, tmp_path / "b", recipe("checkpoint_every=3", "seed=1"), "base")
    with pytest.raises(DataError, match=r"expected a checkpoint of this run, got seed 0 instead of 1; use another"):
        other.resume()
    larger = trainer_of(shards, tmp_path / "b", recipe("backbone.ffn_dim=32"), "base")
    with pytest.raises(DataError, match=r"got backbone.ffn_dim 64 instead of 32; use another"):
        larger.resume()
    with pytest.raises(DataError, match="--tracker"):
        make_accelerator(recipe(), tmp_path, "nothing")


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


def test_other_recipes_and_data_need_another_folder(shards: Path, tmp_path: Path) -> None:
    made, out = "stages=['base','adapter']", tmp_path / "run"
    train(recipe("stages=['base']", steps=2), shards, out)
    before = (out / "recipe.json").read_text()
    for values, message in (
        (("base.learning_rate=1e-4",), r"got base.learning_rate 0.003 instead of 0.0001; use another --out"),
        (("seed=3",), "got seed 0 instead of 3"),
        (("backbone.num_layers=3",), "got backbone.num_layers 2 instead of 3"),
    ):
        with pytest.raises(DataError, match=message):
            train(recipe(made, *values, steps=2), shards, out)
    build(tmp_path / "other", [TableClips(8)])
    with pytest.raises(DataError, match=r"finished.json: expected a stage of this recipe and data, got data"):
        train(recipe(made, steps=2), tmp_path / "other", out)
    assert (out / "recipe.json").read_text() == before
    # More steps: it goes on. What concerns the memory does not concern this stage.
    train(recipe("stages=['base']", "keep_known=true", "base.known_weight=0.5", steps=3), shards, out)
    assert find_checkpoints(out / "base" / "checkpoints")[-1][0] == 3
    train(recipe(made, steps=3), shards, out)
    with pytest.raises(DataError, match=r"expected 3 base\.steps, because the stage adapter has begun .*, got 4"):
        train(recipe(made, "base.steps=4", steps=3), shards, out)
    with pytest.raises(DataError, match="got data"):
        trainer_of(tmp_path / "other", out / "base", recipe(steps=5), "base").resume()


def test_an_unfinished_build_is_refused(tmp_path: Path) -> None:
    build(tmp_path, [TableClips(8)], part=(0, 2))
    with pytest.raises(DataError, match="expected 3 shards, got 2; let mirage data build finish"):
        TrainingData(tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoints(shards: Path, tmp_path: Path) -> None:
    values = ("base.learning_rate=1e30", "base.warmup=0", "checkpoint_every=1", "log_every=50")
    trainer = trainer_of(shards, tmp_path, recipe(*values, steps=20), "base")
    with pytest.raises(DataError, match=r"base: expected finite weights and .* got a loss of .* in step \d+"):
        trainer.train()
    for _, path in find_checkpoints(tmp_path / "checkpoints"):
        assert all(tensor.isfinite().all() for tensor in state_of(path).values())


def test_ranges_that_no_sample_has(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"base.references: expected at least 4, got samples with at most \d"):
        trainer_of(shards, tmp_path, recipe("base.references=[4,64]"), "base")


def test_lora_is_trained_as_the_adapter_was(shards: Path, finished: Path, tmp_path: Path) -> None:
    source = {"model": finished / "base" / "transformer", "adapter": finished / "adapter" / "adapter.safetensors"}
    with pytest.raises(DataError, match=r"expected an adapter that was trained as LoRA is to be, got flow_shift 5.0"):
        train(recipe("stages=['lora']", "objective.flow_shift=1.5"), shards, tmp_path, **source)
    copy = tmp_path / "own"
    (copy / "adapter").mkdir(parents=True)
    (copy / "adapter" / "adapter.safetensors").write_bytes(source["adapter"].read_bytes())
    with pytest.raises(DataError, match=r"--adapter: expected none, because .* exists"):
        train(recipe("stages=['lora']"), shards, copy, **source)


def test_other_frozen_weights_need_another_folder(shards: Path, finished: Path, tmp_path: Path) -> None:
    trainer_of(shards, tmp_path, recipe(steps=2), "adapter", finished).train()
    folder = tmp_path / "other"
    train(recipe("stages=['base']", "seed=5"), shards, folder)
    other = trainer_of(shards, tmp_path, recipe(steps=3), "adapter", folder)
    with pytest.raises(DataError, match="expected a checkpoint of this run, got backbone weights"):
        other.resume()


def test_lora_needs_the_backbone_of_the_adapter(shards: Path, finished: Path, tmp_path: Path) -> None:
    train(recipe("stages=['adapter']", steps=2), shards, tmp_path / "run", model=finished / "base" / "transformer")
    train(recipe("stages=['base']", "seed=5", steps=2), shards, tmp_path / "other")
    made = recipe("stages=['adapter','lora']", steps=2)
    with pytest.raises(DataError, match=r"--model: expected the backbone that .* was trained with"):
        train(made, shards, tmp_path / "run", model=tmp_path / "other" / "base" / "transformer")


def test_an_adapter_is_conditioned_as_its_backbone(shards: Path, finished: Path, tmp_path: Path) -> None:
    """Other data has other statistics, which the backbone does not know."""
    build(tmp_path / "data", [TableClips(4)])
    stage = "stages=['adapter']"
    backbone = finished / "base" / "transformer"
    trained = Conditioning.from_dict(json.loads((backbone / "conditioning.json").read_text()))
    own = find_conditioning(recipe(stage), TrainingData(tmp_path / "data"))
    assert own.latents_mean != trained.latents_mean
    train(recipe(stage, steps=1), tmp_path / "data", tmp_path / "run", model=backbone)
    _, settings = load_tensors(tmp_path / "run" / "adapter" / "adapter.safetensors", kind="adapter", version=1)
    assert Conditioning.from_dict(settings["conditioning"]).latents_mean == trained.latents_mean
    with pytest.raises(DataError, match=r"conditioning.json: expected prediction flow, got sample"):
        train(recipe(stage, "objective.prediction=sample"), shards, tmp_path / "other", model=backbone)


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


def test_stages_draw_other_noise(shards: Path, finished: Path, tmp_path: Path) -> None:
    noise = [
        trainer_of(shards, tmp_path / stage, recipe(), stage, finished).dataset.sequence(0, 0).noise
        for stage in ("base", "adapter", "lora")
    ]
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[1], noise[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_sample_is_named(tmp_path: Path, workers: int) -> None:
    build(tmp_path / "data", [TableClips(4)], SampleSettings(targets=2, per_clip=1))
    shard = tmp_path / "data" / "00000.tar"
    data = bytearray(shard.read_bytes())
    for at in range(5000, len(data), 5000):
        data[at] ^= 255
    shard.write_bytes(data)
    trainer = trainer_of(tmp_path / "data", tmp_path, recipe(f"workers={workers}", steps=8), "base")
    with pytest.raises(DataError, match=r"00000.tar: expected sample \S+, got a damaged one") as error:
        trainer.train()
    assert "Traceback" not in str(error.value)


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


@pytest.mark.parametrize("kind", ["DEEPSPEED", "MEGATRON_LM"])
def test_what_checkpoints_do_not_support_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType[kind])
    with pytest.raises(DataError, match=f"accelerate: expected one process, DDP or FSDP2, got {kind}"):
        make_accelerator(recipe(), tmp_path, cpu=True)
