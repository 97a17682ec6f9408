# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Folders that vanish or change owner during a run, and signals that something drops."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import layouts
import pytest

from mirage.cli.main import main
from mirage.cli.output_folder import OutputFolder
from mirage.cli.output_lock import OutputLock
from mirage.errors import DataError
from mirage.recordings.frames import Recording
from mirage.rollout import Chunk, RolloutSession


def before_chunk(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], None]) -> None:
    step, add = RolloutSession.step, OutputFolder.add

    def add_and_wait(self: OutputFolder, *args: Any) -> None:
        add(self, *args)
        self._wait()  # else the other thread may write while the folder is deleted

    monkeypatch.setattr(OutputFolder, "add", add_and_wait)

    def act(self: RolloutSession, *args: Any, **options: Any) -> Chunk:
        if self.chunks == number - 1:
            action()
        return step(self, *args, **options)

    monkeypatch.setattr(RolloutSession, "step", act)


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_a_folder_that_is_deleted(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    chunk: int,
) -> None:
    before_chunk(monkeypatch, chunk, lambda: shutil.rmtree(tmp_path / "out"))
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"mirage: error: {tmp_path / 'out'}: expected the folder that this process has locked")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_a_folder_that_another_process_has_made_again(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """Nothing is written to it, and the other one's lock stays."""
    out, locks = tmp_path / "out", []

    def replace() -> None:
        shutil.rmtree(out)
        (out / "resume").mkdir(parents=True)
        (out / "resume" / "state-000007.safetensors").write_text("of another run")
        locks.append(OutputLock(out))

    before_chunk(monkeypatch, chunk, replace)
    assert main(arguments) == 2
    assert sorted(os.listdir(out)) == [".lock", "resume"]
    assert os.listdir(out / "resume") == ["state-000007.safetensors"]
    with pytest.raises(DataError, match="no other process writes to"):
        OutputLock(out)
    locks[0].release()


class Dropped:
    """Sends a signal in its finalizer: Python prints what the handler raises there, and goes on."""

    def __init__(self, number: signal.Signals) -> None:
        self.number, self.circle = number, self

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["generate", "remember"])
def test_a_signal_in_a_finalizer_ends_the_command(
    command: str, number: signal.Signals, status: int, arguments: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def drop() -> None:
        Dropped(number)
        gc.collect()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if command == "generate":
            before_chunk(monkeypatch, 2, drop)
            assert main(arguments) == status
            assert (tmp_path / "out" / "resume").is_dir()
            return
        read = Recording.read

        def read_and_drop(self: Recording, *args: Any, **options: Any) -> Any:
            drop()
            return read(self, *args, **options)

        monkeypatch.setattr(Recording, "read", read_and_drop)
        folder = layouts.write_folder(tmp_path / "recording", layouts.make_frames(3))
        assert main(["remember", str(folder), "--out", str(tmp_path / "m.safetensors"), "--block", "8"]) == status
        assert not list(tmp_path.glob("*m[._]*"))
    finally:
        signal.signal(signal.SIGINT, before)
