# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage view``, and ``mirage generate --view``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from walls import CAMERA, wall_memory

from mirage.cli.main import main
from mirage.io.files import read_image
from mirage.memory import LatentSpatialMemory
from mirage.viewer import MemoryViewer


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    wall_memory().save(tmp_path / "memory.safetensors")
    return tmp_path / "memory.safetensors"


@pytest.fixture
def while_waiting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[MemoryViewer], None]], None]:
    """What to do instead of waiting for Ctrl-C."""
    return lambda act: monkeypatch.setattr(MemoryViewer, "wait", act)


def press(viewer: MemoryViewer, key: str, text: str) -> None:
    """Press a key in a browser, and wait for what the page says then."""
    browsers = pytest.importorskip("browsers")
    page = browsers.Messages(viewer.url)
    page.send_camera((0.0, 0.0, 0.0))
    command = page.wait_for(lambda m: m["type"] == "RegisterCommandMessage" and m["props"]["hotkey"] == key)
    page.send("CommandTriggerMessage", uuid=command["uuid"])
    page.wait_for(lambda m: text in str(m.get("updates", {}).get("_markdown")), 10)
    page.close()


def test_a_still_image_needs_no_viewer(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    for options in ([], ["--from", "above"], ["--color", "components"]):
        assert main(["view", str(memory), f"--out={tmp_path / 'a.png'}", "--height=60", "--width=80", *options]) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'a.png'}: 32 points, 2 cameras\n"
        image = read_image(tmp_path / "a.png")
        assert image.shape == (3, 60, 80)
        assert image.amin() < 0.5


def test_latents_that_cannot_be_decoded_are_drawn_as_components(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = LatentSpatialMemory(48, codec="wan-48-16")
    memory.write(torch.rand(48, 1, 4, 6), CAMERA, torch.full((1, 32, 48), 2.0))
    memory.save(tmp_path / "m.safetensors")
    assert main(["view", str(tmp_path / "m.safetensors"), f"--out={tmp_path / 'a.png'}"]) == 0
    assert main(["view", str(tmp_path / "m.safetensors"), f"--out={tmp_path / 'a.png'}", "--color=image"]) == 2
    assert "--color: expected 'components' or 'frame' for latents of 'wan-48-16'" in capsys.readouterr().err


def test_a_missing_extra_is_named(
    memory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mirage.errors.importlib.util.find_spec", lambda _: None)
    assert main(["view", str(memory)]) == 2
    error = capsys.readouterr().err
    assert error == "mirage: error: the viewer needs viser: pip install 'mirage-kernels[viewer]'\n"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--step=1"], "--step: expected --model as well, got none"),
        (["--save=a"], "--save: expected --model as well, got none"),
        (["--model=fill", "--turn=0"], "--turn: expected a number above 0, got 0"),
        (["--model=fill", "--out=a.png"], "--model: expected no --out"),
        (["--prompt=x"], "--prompt: expected --model FOLDER"),
        (["--height=9"], "--height: expected 16 to 8192, got 9"),
        (["--model=fill", "--block=16"], "--model: expected one with latents of 'dct-8', got 'dct-16'"),
        (["--port=99999"], "--port: expected 0 to 65535, got 99999"),
    ],
)
def test_wrong_options(memory: Path, options: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(memory), *options]) == 2
    assert error in capsys.readouterr().err


def test_what_was_walked_to_is_saved(
    memory: Path, tmp_path: Path, while_waiting: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("viser")
    while_waiting(lambda viewer: press(viewer, "L", "8 frames generated"))
    saved = tmp_path / "walked.safetensors"
    assert main(["view", str(memory), "--model=fill", "--turn=5", f"--save={saved}", "--port=0"]) == 0
    more = len(LatentSpatialMemory.load(saved)) - 32
    assert more > 0
    captured = capsys.readouterr()
    assert captured.out == f"{memory}: 1 chunks walked, {more} points added, saved to {saved}\n"
    assert "the memory is shown on http://127.0.0.1:" in captured.err


def test_looking_ends_without_a_trace(memory: Path, while_waiting: Callable[..., None]) -> None:
    pytest.importorskip("viser")
    before = memory.read_bytes()
    while_waiting(lambda _: None)
    assert main(["view", str(memory), "--port=0"]) == 0
    assert memory.read_bytes() == before


def test_a_run_is_shown_and_goes_on_by_keys(
    arguments: list[str], tmp_path: Path, while_waiting: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("viser")
    while_waiting(lambda viewer: press(viewer, "W", "8 frames generated"))
    assert main([*arguments, "--view", "--port=0"]) == 0
    assert f"the files in {tmp_path / 'out'} are complete" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["finished"], metrics["frames_done"]) == (True, 13)
    # The frames that were walked to are not among them.
    assert len(LatentSpatialMemory.load(tmp_path / "out" / "memory.safetensors")) == metrics["points"]


def test_the_viewer_changes_nothing_about_a_run(
    arguments: list[str], tmp_path: Path, while_waiting: Callable[..., None]
) -> None:
    pytest.importorskip("viser")
    while_waiting(lambda _: None)
    assert main([*arguments, "--view", "--port=0"]) == 0
    shown = (tmp_path / "out" / "memory.safetensors").read_bytes()
    assert main([*arguments, "--overwrite"]) == 0
    assert (tmp_path / "out" / "memory.safetensors").read_bytes() == shown
