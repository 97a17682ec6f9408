# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What an output folder may hold before a run, and who may write to it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from stopped_runs import stopped_after_a_chunk

from mirage.cli.main import main
from mirage.cli.output_files import FILES
from mirage.cli.output_folder import OutputFolder
from mirage.cli.output_lock import OutputLock
from mirage.errors import DataError
from mirage.io.packet_log import Packet, PacketLog


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    np.save(tmp_path / "depth.npy", np.full((32, 48), 2, np.float32))
    (tmp_path / "k.txt").write_text("40 40 24 16")
    files = [f"--{name}={tmp_path / file}" for name, file in (("image", "image.png"), ("depth", "depth.npy"))]
    return ["generate", *files, f"--intrinsics={tmp_path / 'k.txt'}", "--block=8", "--frames=9", "--chunk=5"]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_finished_run_is_replaced_only_on_request(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([*arguments, f"--out={out}"]) == 0
    assert set(os.listdir(out)) == set(FILES)
    (out / "note.txt").write_text("mine")
    before = contents(out)
    assert main([*arguments, f"--out={out}"]) == 2
    assert last_line(capsys) == (
        f"mirage: error: --out: expected a folder without a run, got {out} with a finished one; "
        "replace it with --overwrite"
    )
    assert main([*arguments, f"--out={out}", "--overwrite", "--depth=none.npy"]) == 2
    assert contents(out) == before, "an error before the first chunk changes nothing"
    assert main(["generate", "--resume", str(out)]) == 0
    assert "the run is finished, there is nothing to resume" in capsys.readouterr().err
    assert contents(out) == before
    assert main([*arguments, f"--out={out}", "--overwrite", "--frames=5"]) == 0
    assert set(os.listdir(out)) == {*FILES, "note.txt"}
    assert json.loads((out / "metrics.json").read_text())["frames"] == 5


def test_files_of_others_are_not_replaced(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "video.mp4").write_text("a film")
    assert main([*arguments, f"--out={out}"]) == 2
    assert f"got {out} with video.mp4; replace it with --overwrite" in last_line(capsys)
    assert contents(out) == {"video.mp4": b"a film"}


def test_an_unfinished_run_is_not_mixed_with_another(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with stopped_after_a_chunk():
        assert main([*arguments, f"--out={out}"]) == 130
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["finished"], metrics["reason"], metrics["frames_done"]) == (False, "interrupted", 5)
    assert last_line(capsys) == "mirage: interrupted"
    assert main([*arguments, f"--out={out}"]) == 2
    assert f"got {out} with an unfinished one (5 of 9 frames); go on with --resume FOLDER" in last_line(capsys)
    assert main(["generate", "--resume", str(out), "--frames", "13"]) == 2
    assert "--resume: expected no other option, because a run goes on with its own, got --frames" in last_line(capsys)
    for state in (out / "resume").glob("state-*"):
        state.write_bytes(state.read_bytes()[:-1])
    assert main(["generate", "--resume", str(out)]) == 2
    assert f"expected a folder with an unfinished run, got {out} without one" in last_line(capsys)
    assert main([*arguments, f"--out={out}", "--overwrite", "--frames=5"]) == 0
    assert set(os.listdir(out)) == set(FILES)


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_nothing_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    if kind == "file":
        (tmp_path / "out").write_text("")
    if kind == "empty":
        (tmp_path / "out").mkdir()
    assert main(["generate", "--resume", str(tmp_path / "out")]) == 2
    assert "--resume: expected a folder with an unfinished run, got " in last_line(capsys)
    assert (tmp_path / "out").exists() == (kind != "missing")
    assert kind != "empty" or not os.listdir(tmp_path / "out")


def test_weights_that_changed_are_not_resumed_with(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, filters = tmp_path / "out", tmp_path / "filters.json"
    filters.write_text("[]")
    with stopped_after_a_chunk():
        assert main([*arguments, f"--out={out}", f"--filters={filters}"]) == 130
    filters.write_text('[{"filter": "EdgeFilter"}]')
    before = contents(out / "resume")
    assert main(["generate", "--resume", str(out)]) == 2
    assert f"--resume: expected {filters} as it was when the run began, got another one" in last_line(capsys)
    assert contents(out / "resume") == before
    filters.write_text("[]")
    assert main(["generate", "--resume", str(out)]) == 0


def test_two_processes_do_not_share_a_folder(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code = "import sys; from pathlib import Path; from mirage.cli.output_lock import OutputLock; "
    code += "lock = OutputLock(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    out.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        assert main([*arguments, f"--out={out}"]) == 2
        expected = f"{out}: expected a folder that no other process writes to, got one of process {other.pid}"
        assert last_line(capsys) == f"mirage: error: {expected}"
        other.kill()
    assert os.listdir(out) == [".lock"], "left behind, but of no process that runs"
    assert main([*arguments, f"--out={out}"]) == 0
    assert set(os.listdir(out)) == set(FILES)


def test_locks_without_help_of_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    (tmp_path / ".lock").write_text(f"{os.getppid()}\n")
    with pytest.raises(DataError, match=f"got one of process {os.getppid()}"):
        OutputLock(tmp_path)
    (tmp_path / ".lock").write_text("999999999\n")
    OutputLock(tmp_path).release()
    assert not os.listdir(tmp_path)


def test_writing_is_tried_first(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unused(*_: Any, **__: Any) -> None:
        raise AssertionError("the run began")

    monkeypatch.setattr(OutputFolder, "start", unused)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere" / "folder")
    for out in ("/proc/mirage", str(tmp_path / "dangling"), str(tmp_path / "image.png" / "out"), "/dev/full"):
        assert main([*arguments, "--out", out]) == 2
        error = capsys.readouterr().err
        assert error.startswith("mirage: error: ")
        assert error.count("\n") == 1


def test_the_warning_for_a_memory_that_knows_nothing(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    turn = ["--trajectory=pan", "--amount=170", "--one-way", "--frames=33"]
    mask = torch.ones(32, 48, dtype=torch.uint8) * 255
    mask[8:16, 8:16] = 0  # one cell of the image is written
    Image.fromarray(mask.numpy()).save(tmp_path / "mask.png")
    assert main([*arguments, *turn, f"--out={tmp_path / 'lost'}", f"--mask={tmp_path / 'mask.png'}"]) == 0
    error = capsys.readouterr().err
    assert len(re.findall(r"mirage: warning: the memory knew less than 1 % of the cells in \d+ of 33 ", error)) == 1
    assert main([*arguments, f"--out={tmp_path / 'known'}"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_the_size_of_the_memory_is_that_of_the_file(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, f"--out={tmp_path / 'out'}"]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["memory_bytes"] == metrics["point_bytes"] + metrics["history_bytes"]
    header = (tmp_path / "out" / "memory.safetensors").stat().st_size - metrics["memory_bytes"]
    assert 0 < header < 4096
    total, points, past = (metrics[f"{name}_bytes"] / 2**20 for name in ("memory", "point", "history"))
    said = f"the memory takes {total:.2f} MiB: points {points:.2f} MiB, past latents {past:.2f} MiB"
    assert said in capsys.readouterr().out


def test_a_damaged_packet_log_ends_before_the_damage(tmp_path: Path) -> None:
    log = PacketLog(tmp_path / "video.packets")
    for number in (1, 2, 3):
        log.append(number, [Packet(number, True, bytes([number]) * 50)])
    whole = log.path.read_bytes()
    for at in range(len(whole)):
        log.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert log.count() == at // (len(whole) // 3)
    log.path.write_bytes(whole + whole[:30])
    log.truncate(2)
    assert [packet.frame for packet in log.packets()] == [1, 2]
    assert len(log.path.read_bytes()) == len(whole) * 2 // 3


def test_a_lock_of_another_container_is_not_taken_for_a_dead_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without locks of the file system, a process number means nothing on another machine or in another container."""

    def unsupported(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr("fcntl.flock", unsupported)
    (tmp_path / ".lock").write_text("999999999 elsewhere pid:[1]\n")
    with pytest.raises(DataError, match=r"got one of process 999999999 on another machine .* remove .*\.lock"):
        OutputLock(tmp_path)
    (tmp_path / ".lock").unlink()
    OutputLock(tmp_path).release()
