# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Training runs that are refused, or end with an error that names its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from accelerate import Accelerator
from accelerate.utils import DistributedType
from small_training import TableClips, build, recipe, state_of, trainer_of

from mirage.errors import DataError
from mirage.models.wan.conditioning import Conditioning
from mirage.training.checkpoints import find_checkpoints
from mirage.training.dataset import TrainingData
from mirage.training.run import find_conditioning, make_accelerator, train
from mirage.training.samples import SampleSettings
from mirage_kernels import load_tensors


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


@pytest.mark.parametrize("kind", ["DEEPSPEED", "MEGATRON_LM"])
def test_what_checkpoints_do_not_support_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType[kind])
    with pytest.raises(DataError, match=f"accelerate: expected one process, DDP or FSDP2, got {kind}"):
        make_accelerator(recipe(), tmp_path, cpu=True)
