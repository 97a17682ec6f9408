# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Values out of any range, empty values, and outputs that would replace an input: one line, before any work."""

from __future__ import annotations

import shlex
from pathlib import Path

import layouts
import numpy as np
import pytest
import torch
from layouts import make_frames

from mirage.cli.main import main
from mirage.io.images import write_image


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(Path("photo.png"), torch.rand(3, 64, 96))
    np.save("nan.npy", np.full((64, 96), np.nan))
    layouts.write_folder(Path("recording"), make_frames(2))


PHOTO, RECORDING = "generate --image photo.png", "remember recording"
WRONG = [
    (f"{PHOTO} --fps 99999999999", "--fps: expected at most 1000, got 99999999999"),
    ("render --memory none --fps 99999999999", "--fps: expected at most 1000, got 99999999999"),
    (
        f"{PHOTO} --seed 99999999999999999999",
        "--seed: expected at least 0 and less than 2^63, got 99999999999999999999",
    ),
    (f"{PHOTO} --frames 99999999999997", "--frames: expected at most 1000000, got 99999999999997"),
    ("render --memory none --frames 99999999999", "--frames: expected at most 1000000, got 99999999999"),
    (f"{PHOTO} --frames 6", "--frames: expected 4 N + 1, got 6"),
    (f"{PHOTO} --block 999999", "--block: expected at most 256, got 999999"),
    (f"{RECORDING} --block 999999", "--block: expected at most 256, got 999999"),
    (f"{PHOTO} --height 8192 --width 16", "--height, --width: expected sides of frames that differ by a factor of at"),
    (f"{RECORDING} --height 8192 --width 16", "--height, --width: expected sides of frames that differ by a factor"),
    (f"{RECORDING} --height 99999999", "--height: expected at most 8192 pixels, got 99999999"),
    (f"{PHOTO} --intrinsics 1e15,1e15,48,32", "expected intrinsics in pixels of the image, got a field of view of"),
    (f"{PHOTO} --intrinsics 1e30,1e30,48,32", "fx: expected a focal length of 2^-64 to 2^64 cells, got 1e+30"),
    (f"{PHOTO} --actions w*4 --step 1e39", "--step: expected a number above 0, below 1e+30, got 1e+39"),
    (f"{PHOTO} --trajectory pan --amount inf", "--amount: expected a finite number, below 1e+30, got inf"),
    (f"{PHOTO} --worldscore jump", "--worldscore: expected moves among fixed"),
    (f"{PHOTO} --out ''", "--out: expected a value, got an empty one; is a variable of the shell not set?"),
    (f"{PHOTO} --intrinsics=", "--intrinsics: expected a value, got an empty one"),
    ("remember '' --out m.safetensors", "expected a value, got an empty one"),
    (f"{PHOTO} --mask nan.npy", "nan.npy: expected a mask, got an array with NaN"),
    (f"{RECORDING} --max-bytes 1", "--max-bytes: expected at least"),
    (f"{RECORDING} --max-bytes 2K", "--max-bytes: expected room for the points of one frame, got 2K"),
    (f"{RECORDING} --out photo.png/m.safetensors", "--out: expected a folder that can be written, got photo.png"),
]


@pytest.mark.parametrize(("command", "message"), WRONG)
def test_one_line_names_the_option(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(command)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("mirage: error: ")
    assert message in lines[-1]


@pytest.mark.parametrize("out", ["recording/images/000.png", "photo.png", "recording/images/memory.safetensors"])
def test_a_recording_is_not_replaced(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in Path().rglob("*.*") if path.is_file()}
    assert main(["remember", "recording", "--overwrite", "--out", out]) == 2
    assert "mirage: error: --out: expected" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path().rglob("*.*") if path.is_file()} == before


def test_depth_beyond_any_scene_is_no_depth(capsys: pytest.CaptureFixture[str]) -> None:
    depth = np.full((64, 96), 2.0, np.float32)
    depth[:32], depth[32:40] = 1e25, np.finfo(np.float32).max
    np.save("depth.npy", depth)
    command = f"{PHOTO} --depth depth.npy --fov 60 --frames 5 --chunk 5 --out out"
    assert main(shlex.split(command)) == 0
    np.save("depth.npy", np.full((64, 96), 1e300))
    assert main(shlex.split(f"{command} --overwrite")) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "depth.npy: expected a valid depth" in lines[-1]
    assert not any("RuntimeWarning" in line for line in lines)


def test_an_empty_memory_is_said_and_commands_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    Path("all.json").write_text('[{"filter": "EdgeFilter", "max_masked": 0.0}]')
    np.save("noise.npy", np.random.default_rng(0).uniform(1, 9, (48, 64)))
    for name in ("000", "001"):
        (Path("recording/depth") / f"{name}.png").unlink()
        np.save(f"recording/depth/{name}.npy", np.load("noise.npy"))
    assert main(["remember", "recording", "--out", "my memory.safetensors", "--filters", "all.json"]) == 0
    out, err = capsys.readouterr()
    assert "mirage generate --memory 'my memory.safetensors'" in out
    assert "mirage: warning: recording: no points were written, the memory is empty" in err
