# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Training in several processes, and in ones that are killed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
import small_training
import torch
from training_processes import run_together, start, train_here

from mirage.training.checkpoints import find_checkpoints
from mirage.training.log import read_log
from mirage.training.run import train
from mirage_kernels import load_tensors

STEPS_PER_KILL = 12  # more than a run does before it is killed
STAGES = "stages=['base','adapter','lora']"


def losses(out: Path, stage: str) -> list[float]:
    return [entry["loss"] for entry in read_log(out / stage / "log.jsonl") if "loss" in entry]


def weights(out: Path, stage: str) -> dict[str, torch.Tensor]:
    return load_tensors(find_checkpoints(out / stage / "checkpoints")[-1][1], kind="training state", version=1)[0]


def in_batches_of(size: int, *values: str) -> list[str]:
    """A recipe in which rounding stays small: AdamW divides gradients by their size, also where they are nothing but
    rounding (those of the keys' biases are 0)."""
    each = [
        f"{stage}.{value}" for stage in ("base", "adapter", "lora") for value in (f"batch_size={size}", "epsilon=1e-5")
    ]
    return [STAGES, *each, *values]


@pytest.fixture(scope="module")
def alone(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run in one process, with four samples in a step."""
    out = tmp_path_factory.mktemp("alone")
    train(small_training.recipe(*in_batches_of(4), steps=20), shards, out)
    return out


def test_two_processes_have_the_losses_of_one(shards: Path, alone: Path, tmp_path: Path) -> None:
    run_together(2, train_here, in_batches_of(2), 20, shards, tmp_path, None)
    for stage in ("base", "adapter", "lora"):
        got, expected = losses(tmp_path, stage), losses(alone, stage)
        assert len(got) == 20
        assert max(abs(a - b) for a, b in zip(got, expected, strict=True)) < 1e-5


def test_accumulated_batches_have_the_losses_of_large_ones(shards: Path, alone: Path, tmp_path: Path) -> None:
    values = [f"{stage}.accumulate=2" for stage in ("base", "adapter", "lora")]
    train(small_training.recipe(*in_batches_of(2, *values), steps=20), shards, tmp_path)
    for stage in ("base", "adapter", "lora"):
        pairs = zip(losses(tmp_path, stage), losses(alone, stage), strict=True)
        assert max(abs(a - b) for a, b in pairs) < 1e-5


def test_sharded_weights_train_and_export_the_same_adapter(shards: Path, alone: Path, tmp_path: Path) -> None:
    """FSDP2 on two processes; a run that was sharded goes on in one process."""
    values = in_batches_of(2, "validation_steps=2", "stages=['adapter']")
    base = alone / "base" / "transformer"
    run_together(2, train_here, values, 20, shards, tmp_path, base, True)
    got, expected = weights(tmp_path, "adapter"), weights(alone, "adapter")
    assert set(got) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, atol=1e-4, rtol=0)
    files = [folder / "adapter" / "adapter.safetensors" for folder in (tmp_path, alone)]
    exported, plain = (load_tensors(file, kind="adapter", version=1)[0] for file in files)
    for name, tensor in plain.items():
        torch.testing.assert_close(exported[name], tensor, atol=1e-4, rtol=0)
    pairs = zip(losses(tmp_path, "adapter"), losses(alone, "adapter"), strict=True)
    assert max(abs(a - b) for a, b in pairs) < 1e-4


def kill_and_resume(shards: Path, out: Path, kills: int, seed: int) -> tuple[int, int]:
    """Kill a run at random times until it has been killed often enough, then let it finish.

    Returns:
        How often it was killed, and how many of the times a checkpoint was being written.
    """
    rng = random.Random(seed)
    values = [STAGES, "checkpoint_every=1"]
    steps = STEPS_PER_KILL * kills
    killed = writing = 0
    while killed < kills:
        process = start(train_here, values, steps, shards, out, None, quiet=True)
        process.join(rng.uniform(0.05, 1.2))
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
            writing += any(path.suffix != ".safetensors" for path in out.rglob("*step-*.*") if path.suffix != ".png")
        else:
            assert process.exitcode == 0
            break
    process = start(train_here, values, steps, shards, out, None)
    process.join(300)
    assert process.exitcode == 0
    return killed, writing


def compare_with_an_undisturbed_run(shards: Path, out: Path, plain: Path, kills: int) -> None:
    process = start(train_here, [STAGES, "checkpoint_every=1000000"], STEPS_PER_KILL * kills, shards, plain, None)
    process.join(300)
    assert process.exitcode == 0
    for stage in ("base", "adapter", "lora"):
        got, expected = weights(out, stage), weights(plain, stage)
        assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())
        assert losses(out, stage) == losses(plain, stage)


def test_a_run_that_is_killed_goes_on(shards: Path, tmp_path: Path) -> None:
    kill_and_resume(shards, tmp_path / "killed", 3, 0)
    compare_with_an_undisturbed_run(shards, tmp_path / "killed", tmp_path / "plain", 3)


@pytest.mark.long
def test_fifty_kills(shards: Path, tmp_path: Path, figures: object) -> None:
    started = time.perf_counter()
    killed, writing = kill_and_resume(shards, tmp_path / "killed", 50, 1)
    assert callable(figures)
    figures(f"killed {killed} times, {writing} in a checkpoint's writing, {time.perf_counter() - started:.0f} s")
    assert killed == 50
    compare_with_an_undisturbed_run(shards, tmp_path / "killed", tmp_path / "plain", 50)
