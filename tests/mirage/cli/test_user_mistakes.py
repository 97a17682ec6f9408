# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What new users got wrong, and what the commands say to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mirage.cli.main import main


@pytest.fixture
def start(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    Image.open(tmp_path / "image.png").save(tmp_path / "photo.jpg")
    return ["generate", "--image", str(tmp_path / "image.png"), "--fov=60", "--block=8", "--out", str(tmp_path / "out")]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("option", ["--poses", "--cameras"])
def test_the_convention_of_poses_is_said_unless_it_was_asked_for(
    option: str, start: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poses = tmp_path / "poses.txt"
    poses.write_text("\n".join([" ".join(map(str, np.eye(4).flatten()))] * 5))
    said = f"mirage: note: {poses}: poses are read as world-to-camera; with --pose-convention c2w, as camera-to-world"
    assert main([*start, option, str(poses)]) == 0
    assert said in capsys.readouterr().err.splitlines()
    memory = str(tmp_path / "out" / "memory.safetensors")
    views = ["render", "--memory", memory, option, str(poses), "--out", str(tmp_path / "views"), "--overwrite"]
    assert main(views) == 0
    assert said in capsys.readouterr().err.splitlines()
    assert main([*views, "--pose-convention", "w2c"]) == 0
    assert "poses are read" not in capsys.readouterr().err
    assert main([*views[:4], str(tmp_path / "out" / "cameras.json"), *views[5:]]) == (2 if option == "--poses" else 0)
    assert "poses are read" not in capsys.readouterr().err or option == "--poses"


def test_a_folder_that_cannot_be_made(start: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*start[:-1], "/proc/mirage"]) == 2
    assert last_line(capsys).startswith(
        "mirage: error: --out: expected a folder that can be written, got /proc/mirage ("
    )


@pytest.mark.usefixtures("start")
@pytest.mark.parametrize("command", ["generate", "render"])
def test_an_image_is_not_a_memory(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("photo.jpg", "image.png"):
        assert main([command, "--memory", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
        assert last_line(capsys) == (
            f"mirage: error: {tmp_path / name}: expected a memory file, got a damaged file (it begins like no "
            "safetensors file)"
        )


@pytest.mark.parametrize("arguments", [
    ["generate", "--imag", "a.png"], ["remember", "folder", "--overwri"], ["render", "--memo", "m"],
])  # fmt: skip
def test_options_are_not_abbreviated(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    said = last_line(capsys)
    assert "unrecognized arguments" in said or "required" in said
