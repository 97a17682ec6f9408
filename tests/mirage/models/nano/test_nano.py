# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""mirage-nano, whose weights are part of the package: its files, and the command line with it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from layouts import make_frames, write_folder
from safetensors import safe_open
from stopped_runs import stopped_after_a_chunk

from mirage.cameras import out_and_back, pan
from mirage.cli.main import main
from mirage.data.procedural import ProceduralScene
from mirage.errors import DataError
from mirage.evaluation import denoising_steps
from mirage.evaluation.chunk_models import open_models
from mirage.evaluation.closed_loop import procedural_starts, walk_loop
from mirage.evaluation.holes import KnownClip
from mirage.evaluation.metrics import psnr
from mirage.io.images import write_image
from mirage.models.nano.depth import NanoDepth
from mirage.models.nano.files import WEIGHTS, find_lora, named_folder
from mirage.models.nano.model import load_small_model

SIZE = (128, 192)
FILES = {"transformer/diffusion_pytorch_model.safetensors", "adapter.safetensors", "night.safetensors",
         "depth.safetensors"}  # fmt: skip


def test_files_are_small_and_the_card_counts_them() -> None:
    paths = {path.relative_to(WEIGHTS).as_posix(): path for path in WEIGHTS.rglob("*.safetensors")}
    assert set(paths) == FILES
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*")) <= 8e6
    stated = dict(re.findall(r"^\| `([\w./]+)` \| ([\d,]+) \|", (WEIGHTS / "README.md").read_text(), re.MULTILINE))
    for name, path in paths.items():
        with safe_open(path, "pt") as file:
            tensors = [file.get_tensor(key) for key in file.keys()]  # noqa: SIM118
        assert {t.dtype for t in tensors} == {torch.float16}, name
        assert all(t.isfinite().all() for t in tensors), name
        count = sum(t.numel() for t in tensors)
        assert stated["transformer/" if name.startswith("transformer") else name] == f"{count:,}"
    assert sum(p.numel() for p in load_small_model().transformer.parameters()) >= 1_000_000


def test_the_memory_brings_the_first_view_back() -> None:
    """Out for a chunk and back for another: with the memory, the return resembles the start; without, it cannot."""
    (start,) = procedural_starts([10_000_000], SIZE)
    cameras = pan(start.camera, out_and_back(17), 40.0)
    returned = {}
    for model in open_models("nano", steps=4)[:2]:
        frames = walk_loop(model, start, cameras)
        returned[model.name] = psnr(frames[-1], start.image)
    assert returned["nano"] > returned["nano without memory"] + 3, returned


def test_more_denoising_steps_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small_clips(seeds: range) -> Iterator[KnownClip]:
        for seed in seeds:
            clip = ProceduralScene(seed, frames=17).clip(size=SIZE)
            yield KnownClip("small", clip.frames.float() / 255, clip.depth, clip.cameras, clip.moving | clip.sky)

    monkeypatch.setattr(denoising_steps, "procedural_starts", lambda seeds: procedural_starts(seeds, SIZE))
    monkeypatch.setattr(denoising_steps, "procedural_clips", small_clips)
    monkeypatch.setattr(denoising_steps, "CHUNKS", 1)
    denoising_steps.run(argparse.Namespace(out=tmp_path, model="nano", steps=[1, 2], scenes=2))
    summary = json.loads((tmp_path / "denoising_steps.json").read_text())["summary"]
    assert set(summary) == {"1", "2"}
    assert set(summary["1"]) == set(denoising_steps.SCORES)
    assert summary["1"]["in holes, dB"]["mean"] != summary["2"]["in holes, dB"]["mean"]


def test_depth_network_knows_rooms() -> None:
    """More pixels are within a factor of 1.25 than with the best constant, in scenes that it has not seen."""
    made, truth, network = [], [], NanoDepth.load()
    for seed in range(10_000_000, 10_000_008):
        scene = ProceduralScene(seed, frames=2)
        camera = scene.cameras(2, (192, 288), "on")[:1]
        image, depth, _ = scene.draw(camera, 0)
        made.append(network(image.float()[:, None] / 255, camera).depth[0][depth > 0])
        truth.append(depth[depth > 0])
    true, guessed = torch.cat(truth), torch.cat(made)
    within = [
        (torch.maximum(values / true, true / values) < 1.25).double().mean().item()
        for values in (guessed, true.median().expand_as(true))
    ]
    assert within[0] > within[1] + 0.05, within


def test_names() -> None:
    assert named_folder("nano") == WEIGHTS
    assert named_folder("./nano") == Path("nano")
    assert find_lora(WEIGHTS, "night") == WEIGHTS / "night.safetensors"
    with pytest.raises(DataError, match="lora: expected a file, or one of night in"):
        find_lora(WEIGHTS, "day")


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options of a walk of two chunks from a photograph."""
    monkeypatch.chdir(tmp_path)
    write_image(Path("photo.png"), torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1)))
    return [
        "generate",
        "--image=photo.png",
        "--model=nano",
        "--frames=17",
        "--steps=1",
        "--fov=60",
        "--depth-model=nano",
    ]


def metrics(out: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return made


def test_command_line(photo: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*photo, "--lora=night", "--lora-scale=0.5", "--out=out"]) == 0
    made = metrics(Path("out"))
    assert (made["generator"], made["chunk"], made["steps"], made["size"]) == ("small", 9, 1, list(SIZE))
    assert made["image_depth"] == "nano"
    assert not [line for line in capsys.readouterr().err.splitlines() if line.startswith("mirage: ")]
    assert main([*photo, "--lora=day", "--out=other"]) == 2
    assert "--lora: expected a file, or one of night in" in capsys.readouterr().err
    assert main([*photo, "--prompt=a room", "--out=other"]) == 2
    assert "--prompt: expected --model FOLDER with Wan2.2, got --model nano" in capsys.readouterr().err
    for scale in ("nan", "inf", "1e9"):
        assert main([*photo, "--lora=night", f"--lora-scale={scale}", "--out=other"]) == 2
        assert "--lora-scale: expected -100 to 100, got" in capsys.readouterr().err
    assert main([*photo, "--device=meta", "--out=other"]) == 2
    assert "--device: expected a device that works here, such as cpu, got meta" in capsys.readouterr().err
    assert not Path("other").exists()


def test_an_interrupted_walk_goes_on(photo: list[str]) -> None:
    assert main([*photo, "--out=whole"]) == 0
    with stopped_after_a_chunk():
        assert main([*photo, "--out=cut"]) == 130
    assert main(["generate", "--resume=cut"]) == 0
    assert metrics(Path("cut"))["points"] == metrics(Path("whole"))["points"]
    assert Path("cut/video.mp4").read_bytes() == Path("whole/video.mp4").read_bytes()


def test_a_recording_is_remembered_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the size of its training, and in whole patches of its transformer."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "walk", make_frames(3, (184, 480)))
    assert main(["remember", "walk", "--model=nano", "--out=wide.safetensors"]) == 0
    said = capsys.readouterr()
    assert "frames of 480x184 pixels are scaled and cropped to 384x160" in said.err
    assert said.out.endswith("go on from the last frame: mirage generate --memory wide.safetensors --model nano\n")
    assert main(["generate", "--memory=wide.safetensors", "--model=nano", "--frames=9", "--steps=1", "--out=on"]) == 0
    assert metrics(Path("on"))["size"] == [160, 384]
    assert main(["remember", "walk", "--block=16", "--height=144", "--out=other.safetensors"]) == 0
    capsys.readouterr()
    assert main(["generate", "--memory=other.safetensors", "--model=nano", "--out=no"]) == 2
    assert (
        "--memory: expected frames whose height is a multiple of 32, as this model needs, got 144 in other.safete"
        in (capsys.readouterr().err)
    )
    assert not Path("no").exists()
    assert main(["remember", "walk", "--model=nano", "--block=16", "--out=another.safetensors"]) == 2
    assert "--block: expected --model embedded, got --model nano" in capsys.readouterr().err


def test_a_folder_called_nano_needs_a_path(photo: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(WEIGHTS, "nano")
    os.remove("nano/night.safetensors")
    photo[photo.index("--model=nano")] = "--model=./nano"
    assert main([*photo, "--lora=night", "--out=out"]) == 2
    assert "--lora: expected a file, or one of none in nano" in capsys.readouterr().err
