# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A recording becomes a memory, the memory a video and a set of views, as a new user would try it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import layouts
import pytest

from mirage.cli.main import main
from mirage.memory import LatentSpatialMemory


def test_recording_to_memory_to_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command as the one before suggests it, without any other option than paths and a length."""
    monkeypatch.chdir(tmp_path)
    layouts.write_folder(tmp_path / "my recording", layouts.make_frames(5, (64, 96)))
    assert main(["remember", "my recording", "--out", "room.safetensors"]) == 0
    hint = capsys.readouterr().out.splitlines()[-1]
    assert hint == "go on from the last frame: mirage generate --memory room.safetensors"
    command = hint.split("mirage ")[1].split()
    assert main([*command, "--frames", "9", "--out", "video"]) == 0
    before, after = (LatentSpatialMemory.load(path) for path in ("room.safetensors", "video/memory.safetensors"))
    assert before.codec == after.codec
    assert len(after) >= len(before)
    metrics = json.loads(Path("video/metrics.json").read_text())
    assert metrics["size"] == [64, 96]
    assert metrics["known_share"][0] > 0.5
    assert main(["render", "--memory", "room.safetensors", "--cameras", "room_cameras.json", "--out", "views"]) == 0
    assert json.loads(Path("views/report.json").read_text())["views"] == 5
    assert main(["render", "--memory", "video/memory.safetensors", "--frames", "3", "--out", "around"]) == 0


@pytest.mark.long
def test_the_real_recording(data: Path, tmp_path: Path) -> None:
    """All frames of hololens_dev in processes of their own; peak memory does not grow with the number of frames."""
    peaks = {}
    for frames in ("12", "73"):
        out = tmp_path / frames / "kitchen.safetensors"
        words = ["remember", str(data / "hololens_dev"), "--out", str(out), "--frames", frames]
        script = (
            "import resource, sys\n"
            "from mirage.cli.main import main\n"
            f"status = main({words!r})\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
            "sys.exit(status)\n"
        )
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        report = json.loads(out.with_name("kitchen_report.json").read_text())
        assert report["frames_used"] == int(frames)
        peaks[frames] = (int(run.stdout.split()[-1]) << 10) - report["bytes"]["points"] - report["bytes"]["history"]
    assert abs(peaks["73"] - peaks["12"]) < 0.1 * peaks["12"]
