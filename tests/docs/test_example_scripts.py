# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The scripts in examples/ run and print what they promise. (two_streams.py: tests/mirage/models/wan.)"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def keep_random_state() -> None:
    torch.manual_seed(0)


def run(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


def test_every_script_has_a_test() -> None:
    tested = set(re.findall(r'"(\w+\.py)"', Path(__file__).read_text())) | {"two_streams.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


def test_twelve_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("twelve_lines.py", monkeypatch, capsys)
    assert printed == "3,520 points; 93% of the cells of the new view are known\n"


def test_memory_in_a_loop(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run("memory_in_a_loop.py", monkeypatch, capsys).splitlines()
    assert lines[0].startswith("chunk 0: 0% known before, ")
    assert all(re.match(r"chunk [12]: 100% known before, 0 points added", line) for line in lines[1:])


def test_nearest_and_alpha(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("nearest_and_alpha.py", monkeypatch, capsys, str(tmp_path / "a.png"))
    image = torch.frombuffer(bytearray(Image.open(tmp_path / "a.png").tobytes()), dtype=torch.uint8).float()
    nearest, blended = image.view(240, 640, 3).split(320, 1)
    # In the middle of the front sphere: the same color, with less noise.
    a, b = nearest[100:130, 150:180], blended[100:130, 150:180]
    assert (a.mean((0, 1)) - b.mean((0, 1))).abs().max() < 20
    assert b.std((0, 1)).max() < 0.6 * a.std((0, 1)).max()
    assert blended[0, 0].tolist() == [255, 255, 255]


def test_refine_pose(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run("refine_pose.py", monkeypatch, capsys).splitlines()
    first, last = ([float(x) for x in re.findall(r"[\d.]+(?= rad| m)", line)] for line in (lines[0], lines[-1]))
    assert last[0] < 0.1 * first[0]
    assert last[1] < 0.1 * first[1]


def test_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    printed = run("own_model.py", monkeypatch, capsys, str(tmp_path / "a.mp4"))
    assert "2 chunks, 17 frames" in printed
    assert (tmp_path / "a.mp4").stat().st_size > 1000
