# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage data build`` and ``mirage train``."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_training
import tiny
import torch
from accelerate.state import AcceleratorState
from tiny_pipeline import make_pipeline

from mirage.cli.main import main
from mirage.models.wan.codec import WanCodec
from mirage.training.dataset import TrainingData, pad_text
from mirage.training.loop import StageTrainer
from mirage.training.shards import ShardReader


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Let every test choose precision: accelerate keeps that of a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def build(out: Path, *more: str) -> int:
    return main(["data", "build", "procedural:0-1", "--out", str(out), "--height=64", "--width=96", "--frames=21",
                 "--targets=3", "--samples=1", *more])  # fmt: skip


def train(data: Path, out: Path, *more: str) -> int:
    each = [f"{stage}.{value}" for stage in ("base", "adapter", "lora") for value in ("steps=2", "warmup=0")]
    values = ["stages=['base','adapter','lora']", *small_training.TINY, "held_out=0", *each]
    return main(["train", "paper", "--data", str(data), "--out", str(out), "--cpu", *more, "--set", *values])


def test_from_clips_to_lora(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(tmp_path / "data") == 0
    shown = capsys.readouterr().out
    assert re.fullmatch(rf"{tmp_path / 'data'}: 2 samples of 2 clips; the memory shows \d+% of their cells\n", shown)
    assert train(tmp_path / "data", tmp_path / "run") == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path / 'run' / 'lora'}: 2 steps" in shown
    assert f"use them: mirage generate --model {tmp_path / 'run'} --lora {tmp_path / 'run'}" in shown
    assert (tmp_path / "run" / "lora" / "pytorch_lora_weights.safetensors").is_file()


def test_shards_of_wan_with_texts(tmp_path: Path) -> None:
    pipe = make_pipeline()
    pipe.save_pretrained(tmp_path / "wan")
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({"procedural:0-1": "a kitchen"}))
    wan = ("--model", str(tmp_path / "wan"), "--text", "--device=cpu", "--max-words=12")
    assert build(tmp_path / "data", *wan, "--captions", str(captions)) == 0
    data = TrainingData(tmp_path / "data")
    assert data.settings["codec"] == "wan-48-16"
    codec = WanCodec(tiny.vae())
    torch.testing.assert_close(data.white_latents(), codec.white_latents(5, 4, 6))
    text = data.text(0)
    assert text is not None
    expected = pipe.encode_prompt("a kitchen", do_classifier_free_guidance=False, max_sequence_length=12)
    torch.testing.assert_close(pad_text(text, 12, tiny.TEXT_DIM), expected[0][0], atol=0.02, rtol=0.01)
    boundaries = ["boundary" in ShardReader(tmp_path / "data")[n].tensors for n in range(2)]
    befores = [data.sample(n).info["before"] > 0 for n in range(2)]
    assert boundaries == befores


BUILD_ERRORS = [
    (["--height=60"], "--height: expected a multiple of 32, got 60"),
    (["--targets=1"], "--targets: expected 2 to"),
    (["--samples=0"], "--samples: per_clip: expected 1 to|--samples: expected 1 to"),
    (["--extents=a"], "--extents: expected numbers separated by commas, got 'a'"),
    (["--extents=-1"], "--extents: .*expected at least 0"),
    (["--threshold=2"], "--threshold: .*expected at most 1"),
    (["--part=3/2"], "--part: expected I/N with I from 1 to N, got '3/2'"),
    (["--text"], "--text: expected --model FOLDER with a text encoder, got --model embedded"),
    (["--captions", "none.json"], "none.json: no such file"),
    (["--frames=4"], "SOURCE: expected clips that samples can be made of, got none"),
    (["--depth-model", "none"], "--depth-model: "),
]


@pytest.mark.parametrize(("options", "message"), BUILD_ERRORS, ids=lambda value: str(value)[:30])
def test_wrong_options_of_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert build(tmp_path / "data", *options) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("mirage: error: ")
    assert re.search(message, error), error


@pytest.mark.parametrize("source", ["procedural:", "nothing", "realestate10k:nothing"])
def test_wrong_sources(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str) -> None:
    assert main(["data", "build", source, "--out", str(tmp_path / "data")]) == 2
    assert source.partition(":")[0] in capsys.readouterr().err.splitlines()[-1]


def test_wrong_options_of_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more, message in (
        (["--adapter", "none.safetensors"], "none.safetensors: no such file; expected an adapter"),
        (["--tracker", "none"], "--tracker: expected one of aim, clearml, comet_ml"),
        (["--tracker", "tensorboard"], "--tracker: tensorboard is not installed: pip install tensorboard"),
    ):
        assert train(tmp_path, tmp_path / "run", *more) == 2
        assert message in capsys.readouterr().err
    assert train(tmp_path / "none", tmp_path / "run") == 2
    assert "expected a folder of shards, got no such folder" in capsys.readouterr().err
    assert main(["train", "best", "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "RECIPE: expected nano, paper, release or a file" in capsys.readouterr().err


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """A process that a shell has started in the background ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_training_with_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    assert build(tmp_path / "data") == 0
    step = StageTrainer._step
    monkeypatch.setattr(StageTrainer, "_step", lambda *a: (os.kill(os.getpid(), number), step(*a))[1])
    capsys.readouterr()
    assert train(tmp_path / "data", tmp_path / "run") == status
    shown = capsys.readouterr().err
    assert "stopping after this step; once more to stop at once" in shown
    assert "stopped after step 1 of the stage base; start the command again to go on" in shown
    monkeypatch.undo()
    AcceleratorState._reset_state(reset_partial_state=True)
    assert train(tmp_path / "data", tmp_path / "run") == 0
    assert "going on from step 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "variables", "spins"),
    [
        ("train", {}, "10000"),
        ("train", {"GOMP_SPINCOUNT": "7"}, "7"),
        ("train", {"OMP_WAIT_POLICY": "ACTIVE"}, "None"),
        ("generate", {}, "None"),
    ],
)
def test_openmp_leaves_cores_to_workers(command: str, variables: dict[str, str], spins: str) -> None:
    # A stand-in for the command line, whose import would load torch.
    code = f"""
import os, sys, types
import mirage.__main__ as program
sys.modules["mirage.cli"] = types.ModuleType("mirage.cli")
sys.modules["mirage.cli.main"] = types.SimpleNamespace(main=lambda arguments: 0)
program._note_missing_kernels = lambda arguments: None
program.main([{command!r}])
print("torch" in sys.modules, os.environ.get("GOMP_SPINCOUNT"))
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", code], env=environment | variables, capture_output=True, text=True)
    assert done.stdout == f"False {spins}\n", done.stderr
