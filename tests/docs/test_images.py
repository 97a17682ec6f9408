# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The scripts that draw the images of the documentation run, and the committed diagrams are theirs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mirage.data.scenes import Scene
from mirage_kernels import Cameras

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, IMAGES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_diagrams_are_those_that_the_script_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diagrams = script("diagrams")
    monkeypatch.setattr(diagrams, "__file__", str(tmp_path / "diagrams.py"))
    diagrams.main()
    generated = {path.name: path.read_text() for path in tmp_path.glob("*.svg")}
    assert generated == {path.name: path.read_text() for path in IMAGES.glob("*.svg")}
    assert len(generated) == 3


def test_with_the_memory_the_last_frame_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    turn_away = script("turn_away")
    monkeypatch.setattr(turn_away, "FRAMES", 17)
    monkeypatch.setattr(turn_away, "CHUNK", 4)
    intrinsics = torch.tensor([[128.0, 0.0, 48.0], [0.0, 128.0, 32.0], [0.0, 0.0, 1.0]])
    camera = Cameras(intrinsics, torch.eye(4), (64, 96))
    scene = Scene(torch.rand(3, 64, 96), torch.full((64, 96), 2.0), camera, {})
    cameras = turn_away.pan(camera, turn_away.out_and_back(17), turn_away.DEGREES)
    remembered, forgotten = turn_away.with_memory(scene, cameras), turn_away.without_memory(scene, cameras)
    assert remembered.shape == forgotten.shape == (3, 17, 64, 96)
    torch.testing.assert_close(remembered[:, -1], remembered[:, 0])
    assert (forgotten[:, -1] - forgotten[:, 0]).abs().mean() > 0.05
    pages = turn_away.join(remembered, forgotten, ("with", "without"))
    assert len(pages) == 17
