# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``mirage remember``: a memory from a recording."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import layouts
import pytest
import torch
from layouts import LAYOUTS, make_frames, write_layout
from PIL import Image

import mirage.cli.remember
from mirage.cameras import read_cameras_json
from mirage.cli.main import main
from mirage.filters import EdgeFilter, Filters
from mirage.memory import LatentSpatialMemory
from mirage.recordings.frames import RecordedFrame, Recording

FRAMES = make_frames(6)
OUTPUTS = {"m.safetensors", "m_contact_sheet.png", "m_report.json", "m_cameras.json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return layouts.write_folder(tmp_path / "recording", FRAMES)


def remember(recording: Path, out: Path, *options: str) -> int:
    return main(["remember", str(recording), "--out", str(out / "m.safetensors"), "--block", "8", *options])


def read_report(out: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((out / "m_report.json").read_text())
    return report


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mirage: error: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_recording_becomes_a_memory(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "folder"
    assert remember(folder, out) == 0
    assert {path.name for path in out.iterdir()} == OUTPUTS
    memory, report = LatentSpatialMemory.load(out / "m.safetensors"), read_report(out)
    assert memory.codec == "dct-8"
    assert len(memory.history) == 6
    assert memory.history.stamps.tolist() == [0, 4, 8, 12, 16, 20]
    assert report["points"] == len(memory) == sum(frame["points_added"] for frame in report["frames"])
    assert report["frames_used"] == 6
    assert report["frames_refused"] == []
    assert [frame["name"] for frame in report["frames"]] == [f"00{n}.png" for n in range(6)]
    assert report["frames"][0]["known_share"] == 0
    assert 0.3 < report["frames"][1]["known_share"] < 1
    file = (out / "m.safetensors").stat().st_size
    assert report["bytes"]["file"] == file
    assert 0 <= file - report["bytes"]["points"] - report["bytes"]["history"] < 5000  # the header
    assert set(report["seconds"]) == {"read", "encode", "write", "total"}
    assert report["settings"]["size"] == [48, 64]
    assert len(read_cameras_json(out / "m_cameras.json")) == 6
    with Image.open(out / "m_contact_sheet.png") as sheet:
        assert sheet.size == (5 * 366 + 6, 6 + 2 * (18 + 270 + 6))
    summary = capsys.readouterr().out
    assert "6 frames, " in summary
    assert f"{file / 2**20:.2f} MiB (points " in summary


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "folder"])
def test_every_layout_gives_the_same_memory(name: str, folder: Path, tmp_path: Path) -> None:
    path, intrinsics = write_layout(name, tmp_path / "other", FRAMES)
    options = [] if intrinsics is None else ["--intrinsics", str(intrinsics)]
    assert remember(path, tmp_path / "a", *options) == 0
    assert remember(folder, tmp_path / "b") == 0
    first, second = (LatentSpatialMemory.load(tmp_path / part / "m.safetensors") for part in "ab")
    assert len(first) == len(second)
    torch.testing.assert_close(first.cache.xyz, second.cache.xyz, atol=1e-4, rtol=0)
    assert torch.equal(first.cache.features(), second.cache.features())
    assert torch.equal(first.cache.stamp, second.cache.stamp)


@pytest.mark.long
def test_a_real_recording_gives_the_same_memory_in_every_layout(data: Path, tmp_path: Path) -> None:
    frames = layouts.read_hololens(data / "hololens_dev", 6)
    memories = {}
    for name in LAYOUTS:
        path, intrinsics = write_layout(name, tmp_path / name, frames)
        options = [] if intrinsics is None else ["--intrinsics", str(intrinsics)]
        assert remember(path, tmp_path / f"{name}-memory", "--height", "176", *options) == 0
        memories[name] = LatentSpatialMemory.load(tmp_path / f"{name}-memory" / "m.safetensors")
    first = memories.pop("folder")
    for memory in memories.values():  # poses of the file are rotations to 1e-6 only
        assert abs(len(memory) - len(first)) <= 0.005 * len(first)
        rows = min(len(memory), len(first), 300)  # of the first frame, which are the same in every layout
        torch.testing.assert_close(memory.cache.xyz[:rows], first.cache.xyz[:rows], atol=1e-3, rtol=0)
        assert torch.equal(memory.cache.features()[:rows], first.cache.features()[:rows])


def test_unreadable_frames_are_refused_with_a_reason(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "images" / "000.png").write_bytes(b"")
    (folder / "depth" / "003.png").unlink()
    assert remember(folder, tmp_path / "out") == 0
    report = read_report(tmp_path / "out")
    assert report["frames_used"] == 4
    assert [refused["frame"] for refused in report["frames_refused"]] == ["000.png", "003.png"]
    assert "expected an image" in report["frames_refused"][0]["reason"]
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mirage: warning: ")]
    assert len(warnings) == 1
    assert "2 of 6 frames were refused" in warnings[0]


def test_a_recording_without_a_readable_frame_is_an_error(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (folder / "images").iterdir():
        path.write_bytes(b"")
    assert remember(folder, tmp_path / "out") == 2
    assert "000.png: expected an image, got an empty file)" in error_of(capsys)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frames", "x"], "--frames: expected a number or START:STOP:STEP, got 'x'"),
        (["--frames", "9:"], "--frames: expected to select frames of 6, got '9:', which selects none"),
        (["--frames", "0"], "--frames: expected to select frames of 6, got '0', which selects none"),
        (["--height", "3"], "--height: expected at least 8, got 3"),
        (["--depth-scale", "0"], "--depth-scale: expected a number above 0, got 0"),
        (["--filters", "missing.json"], "missing.json: no such file"),
        (["--max-bytes", "much"], "--max-bytes: expected a number of bytes, such as 500M or 2G, got 'much'"),
        (["--history", "0"], "--history: expected 1 to 1048576, got 0"),
        (["--device", "cpu"], "--device: expected --model FOLDER with Wan2.2, got --model embedded"),
        (["--intrinsics", "missing.txt"], "missing.txt: no such file"),
        (["--model", "missing"], "--block: expected --model embedded, got --model missing"),
    ],
)
def test_wrong_options_are_named_before_any_work(
    options: list[str], message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert remember(folder, tmp_path / "out", *options) == 2
    assert message in error_of(capsys)
    assert not list(tmp_path.glob("out/*"))


def test_files_are_replaced_only_with_overwrite(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert remember(folder, tmp_path) == 0
    before = (tmp_path / "m.safetensors").read_bytes()
    assert remember(folder, tmp_path, "--frames", "2") == 2
    assert "m.safetensors, which exists; --overwrite replaces it" in error_of(capsys)
    (tmp_path / "m.safetensors").unlink()
    assert remember(folder, tmp_path, "--frames", "2") == 2
    assert "m_contact_sheet.png, which exists" in error_of(capsys)
    assert remember(folder, tmp_path, "--overwrite") == 0
    assert (tmp_path / "m.safetensors").read_bytes() == before  # the same recording gives the same bytes
    assert main(["remember", str(folder), "--out", str(tmp_path)]) == 2
    assert "--out: expected a file, such as" in error_of(capsys)


@pytest.mark.parametrize("at", ["LatentSpatialMemory.save", "write_image", "RecordedFrame"])
def test_an_interrupt_leaves_the_old_files(
    at: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert remember(folder, tmp_path) == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("m*")}

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if at == "RecordedFrame":
        monkeypatch.setattr(Recording, "read", interrupt)
    else:
        monkeypatch.setattr(f"mirage.cli.remember.{at}", interrupt)
    assert remember(folder, tmp_path, "--overwrite", "--frames", "2") == 130
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path != folder} == before


def test_frames_size_and_filters(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edges = tmp_path / "edges.json"
    edges.write_text(Filters([EdgeFilter(max_masked=0.0)]).to_json())
    options = ("--frames", "1::2", "--height", "30", "--filters", str(edges), "--max-bytes", "1M", "--history", "2")
    assert remember(folder, tmp_path, *options) == 0
    report = read_report(tmp_path)
    assert [frame["name"] for frame in report["frames"]] == ["001.png", "003.png", "005.png"]
    assert report["settings"]["size"] == [32, 40]
    assert report["settings"]["filters"][0]["filter"] == "EdgeFilter"
    assert report["settings"]["max_bytes"] == 1 << 20
    assert "kept" in report["frames"][0]["cells"]
    memory = LatentSpatialMemory.load(tmp_path / "m.safetensors")
    assert len(memory.history) == 2
    assert memory.history.cameras is not None
    assert memory.history.cameras.size == (4, 5)
    assert "mirage: note: frames of 64x48 pixels are scaled and cropped to 40x32, 6.2% of" in capsys.readouterr().err


def test_depth_in_millimeters_is_noticed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert remember(folder, tmp_path, "--depth-scale", "1", "--frames", "20") == 0
    err = capsys.readouterr().err
    assert "000.png: the median depth is 2023; if it is in millimeters, pass --depth-scale 0.001" in err
    assert "mirage: note: --frames 20: the recording has 6 frames; using all of them" in err


def test_few_frames_are_in_memory_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = layouts.write_folder(tmp_path / "long", make_frames(24, (16, 16)))
    edges = tmp_path / "edges.json"
    edges.write_text(Filters([EdgeFilter()]).to_json())
    read, alive, most = Recording.read, [], 0

    def count(self: Recording, *args: Any, **options: Any) -> RecordedFrame:
        nonlocal most
        most = max(most, sum(reference() is not None for reference in alive))
        frame = read(self, *args, **options)
        alive.append(weakref.ref(frame.image))
        return frame

    monkeypatch.setattr(mirage.cli.remember.Recording, "read", count)
    assert remember(folder, tmp_path, "--filters", str(edges)) == 0
    assert len(alive) == 26  # the first one three times: for the block, for the size, and to write it
    assert most <= 8 + 5 + 1  # what filters compare with, the contact sheet, and one at hand
    capsys.readouterr()
