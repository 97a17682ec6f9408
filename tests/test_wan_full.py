# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the memory costs beside the diffusion model: the program from end to end in its tiny configuration, and what the
full one consists of."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import wan_chunk, wan_full, wan_models
from mirage.rollout import Chunk

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.wan_full", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_tiny_configuration_from_end_to_end(tmp_path: Path) -> None:
    done = run("--size", "tiny", "--device", "cpu", "--chunks", "2", "--steps", "3", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("memory: about") < done.stdout.index("| part of a chunk |")
    assert "12/12" in done.stderr, "four chunks of three steps"
    result = json.loads((tmp_path / "wan_full.json").read_text())
    settings, summary = result["settings"], result["summary"]
    assert (settings["size"], settings["chunks"], result["device"]) == ("tiny", 2, "cpu")
    assert len(result["measured"]) == 2
    assert {"torch", "diffusers", "commit", "date", "processor"} <= set(result["machine"])
    assert result["remembered"]["references"] > 0
    assert result["remembered"]["coloured points"] == 64 * 96 * (1 + 8 * 4)
    parts = {"read", "retrieve", "denoise", "decode", "depth", "write"}
    assert set(summary["ms"]) == set(summary["shares"]) == {"latent", "rgb_video", "rgb_frames"}
    for way, shares in summary["shares"].items():
        assert set(shares) == parts | ({"encode"} if way != "latent" else set())
        assert min(summary["ms"][way].values()) > 0
        assert sum(shares.values()) == pytest.approx(1)
        assert summary["chunk_ms"][way] == pytest.approx(sum(summary["ms"][way].values()))
    assert sum(summary["shares"]["latent"][part] for part in parts - {"denoise", "decode"}) == pytest.approx(
        summary["memory_share"]["latent"]
    )
    assert min(summary["memory_path_ratio"].values()) > 0
    text = (tmp_path / "wan_full.md").read_text()
    assert text in done.stdout
    assert text.startswith("**A tiny configuration")
    assert f"takes {summary['memory_share']['latent']:.3%} of the chunk" in text


def test_twenty_steps_are_counted() -> None:
    """Parts, shares and ratios of figures that can be summed by hand."""
    shared = {"retrieve": 2.0, "denoise": 90.0, "decode": 4.0, "depth": 1.0}
    chunk = {
        "latent": {"read": 1.0, **shared, "write": 2.0},
        "rgb_video": {"read": 10.0, "encode": 20.0, **shared, "write": 3.0},
        "rgb_frames": {"read": 2.0, "encode": 8.0, **shared, "write": 2.0},
        "step": {"denoise": 4.5},
    }
    slow = {way: {part: 9 * seconds for part, seconds in parts.items()} for way, parts in chunk.items()}
    summary = wan_chunk.summarise([chunk, slow, chunk])
    assert summary["denoise_step_ms"] == 4500
    assert summary["chunk_ms"] == {"latent": 100e3, "rgb_video": 130e3, "rgb_frames": 109e3}
    assert summary["memory_share"]["latent"] == pytest.approx(0.06)
    assert summary["memory_path_ratio"] == pytest.approx({"rgb_video": 6.0, "rgb_frames": 2.5})
    assert summary["read_ratio"] == pytest.approx({"rgb_video": 30.0, "rgb_frames": 10.0})


@pytest.mark.parametrize("steps", [2, 20])
def test_steps_that_were_not_made_are_added(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = wan_models.build(wan_models.describe("tiny"), "cpu")
    bar = type("Bar", (), {"update": lambda _: None})()
    course = wan_chunk.Course(pipe, (64, 96), 1, steps, bar)
    made: dict[str, float] = {}
    monkeypatch.setattr(wan_chunk, "median", lambda seconds: made.setdefault("count", len(seconds)) and 100.0)
    chunks: list[Chunk] = []
    walk_on = course._session.step
    monkeypatch.setattr(course._session, "step", lambda cameras: chunks.append(walk_on(cameras)) or chunks[-1])
    seconds = course.step()
    whole = sum(chunks[0].seconds.values())
    assert sum(seconds["latent"].values()) == pytest.approx(whole + 100 * (20 - steps)), "nothing counts twice"
    assert made["count"] == steps - 1
    assert 100 * (20 - steps) < seconds["latent"]["denoise"] < 100 * (20 - steps) + 60


def test_the_full_model_is_wan() -> None:
    models = wan_models.describe("full")
    assert {value.device.type for model in models[:2] for value in model.parameters()} == {"meta"}
    counts = wan_models.count_parameters(models)
    assert counts == {"transformer": 4_999_787_712, "adapter": 2_607_077_376, "vae": 704_688_668}
    needed = wan_models.estimate_bytes(models, 57)
    assert 2 * sum(counts.values()) < needed["weights"] < 2.05 * sum(counts.values())


def test_weights_are_what_diffusers_would_load() -> None:
    """bfloat16 but for what stays in float32; the same every time; every layer's output about as large as its input."""
    pipe, again = (wan_models.build(wan_models.describe("tiny"), "cpu") for _ in range(2))
    weights = pipe.transformer.state_dict()
    assert pipe.transformer.dtype == pipe.vae.dtype == torch.bfloat16
    assert weights["blocks.0.scale_shift_table"].dtype == weights["blocks.0.norm2.weight"].dtype == torch.float32
    assert weights["blocks.0.attn1.to_q.weight"].dtype == torch.bfloat16
    assert all(torch.equal(weights[name], value) for name, value in again.transformer.state_dict().items())
    fresh = wan_models.MirageTransformer3DModel(**wan_models.SIZES["tiny"].transformer)
    assert torch.equal(pipe.transformer.rope.freqs_cos, fresh.rope.freqs_cos)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--chunks", "0"), "--chunks: expected at least 1, got 0"),
        (("--warm-up", "1"), "--warm-up: expected at least 2, got 1"),
        (("--size", "full", "--device", "cpu"), "--size: expected a GPU for full"),
    ],
)
def test_errors_are_one_line(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = run(*arguments, "--out", str(tmp_path / "none"))
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert not (tmp_path / "none").exists()


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wan_full.missing() is None
    find = importlib.util.find_spec

    def without(name: str) -> Any:
        return None if name in ("diffusers", "accelerate") else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    told = wan_full.missing()
    assert told is not None
    assert told.startswith("expected diffusers, accelerate, got none: pip install 'diffusers")
