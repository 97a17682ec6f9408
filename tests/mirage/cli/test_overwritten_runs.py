# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Results that a new run replaces stay until there is something in their place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import layouts
import pytest

from mirage.cli import render
from mirage.cli.main import main
from mirage.cli.output_folder import OutputFolder
from mirage.cli.run_store import RunStore
from mirage.memory import LatentSpatialMemory
from mirage.rollout import Chunk, RolloutSession
from mirage_kernels._safetensors import SafetensorsReader


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def end(error: BaseException, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """End a run before the step of a chunk, or for chunk 1 when it is saved, or its videos are encoded."""
    step, encode = RolloutSession.step, OutputFolder._encode

    def fail(*_: Any) -> None:
        raise error

    def fail_in_step(self: RolloutSession, *args: Any, **options: Any) -> Chunk:
        if self.chunks == chunk - 1:
            raise error
        return step(self, *args, **options)

    def fail_in_encoding(self: OutputFolder, chunks: int, *args: Any) -> None:
        if chunks == 1:
            raise error
        encode(self, chunks, *args)

    if chunk == 1 and isinstance(error, KeyboardInterrupt):
        monkeypatch.setattr(RunStore, "save", fail)
    elif chunk == 1:
        monkeypatch.setattr(OutputFolder, "_encode", fail_in_encoding)
    else:
        monkeypatch.setattr(RolloutSession, "step", fail_in_step)


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["disk", "Ctrl-C"])
def test_an_earlier_run_stays_until_the_first_chunk_is_finished(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    is_finished: bool,
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        if not is_finished:
            end(KeyboardInterrupt(), 3, patch)
        assert main(arguments) == (0 if is_finished else 130)
    before = contents(out)
    with monkeypatch.context() as patch:
        end(error, 1, patch)
        assert main([*arguments, "--seed=1", "--overwrite"]) in (2, 130)
    assert "is as it was" in capsys.readouterr().err
    assert contents(out) == before
    if not is_finished:
        assert main(["generate", "--resume", str(out)]) == 0
    with monkeypatch.context() as patch:
        end(KeyboardInterrupt(), 2, patch)
        assert main([*arguments, "--seed=1", "--overwrite"]) == 130
    assert main(["generate", "--resume", str(out)]) == 0
    assert not [name for name in contents(out) if "resume" in name]


def test_an_earlier_run_comes_back_after_a_kill(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, killed = tmp_path / "out", tmp_path / "killed"
    with monkeypatch.context() as patch:
        end(KeyboardInterrupt(), 3, patch)
        assert main(arguments) == 130
    before, forget = contents(out), OutputFolder._replace

    def copy_and_replace(self: OutputFolder) -> None:
        if not killed.exists():
            shutil.copytree(out, killed)  # what a kill would leave
        forget(self)

    monkeypatch.setattr(OutputFolder, "_replace", copy_and_replace)
    assert main([*arguments, "--seed=1", "--overwrite"]) == 0
    shutil.rmtree(out)
    killed.rename(out)
    with pytest.raises(ValueError, match="expected a folder without a run"):
        OutputFolder(out)
    assert contents(out) == before
    assert main(["generate", "--resume", str(out)]) == 0


def test_a_memory_is_continued_in_its_own_folder(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert main(arguments) == 0
    before = (out / "memory.safetensors").read_bytes()
    end(OSError(28, "No space left on device"), 1, monkeypatch)
    again = ["generate", "--memory", str(out / "memory.safetensors"), "--frames=13", "--chunk=5", "--out", str(out)]
    assert main([*again, "--overwrite"]) == 2
    assert (out / "memory.safetensors").read_bytes() == before


def test_views_that_another_process_has_made_meanwhile(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    views = ["render", "--memory", str(tmp_path / "out" / "memory.safetensors"), "--frames", "3", "--trajectory", "pan"]
    load = LatentSpatialMemory.load.__func__  # type: ignore[attr-defined]

    def load_slowly(cls: Any, *args: Any, **options: Any) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(LatentSpatialMemory, "load", classmethod(load))
            assert main([*views, "--out", str(tmp_path / "views"), "--fps", "5"]) == 0
        return load(cls, *args, **options)

    monkeypatch.setattr(render.LatentSpatialMemory, "load", classmethod(load_slowly))
    assert main([*views, "--out", str(tmp_path / "views")]) == 2
    assert "got " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("options", [["--out", "q.one"], ["--out", "q"], ["--history", "2000000"]])
def test_what_could_not_be_read_later(options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    layouts.write_folder(tmp_path / "recording", layouts.make_frames(3))
    assert main(["remember", "recording", *options]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["recording"]


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), MemoryError(), RuntimeError("out of memory")])
def test_what_is_finished_is_kept_when_it_cannot_be_read_again(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    """It is read when files are made of it, after an interrupt."""

    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        end(KeyboardInterrupt(), 3, patch)
        patch.setattr(SafetensorsReader, "read", fail)
        assert main(arguments) == 130
    note = capsys.readouterr().err.splitlines()[-2]
    assert "what is finished is kept, but it could not be read" in note
    assert RunStore(tmp_path / "out" / "resume").load() is not None
    assert main(["generate", "--resume", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_called_resume_and_is_none_of_a_run(kind: str, arguments: list[str], tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.mkdir()
    (other / "cv.txt").write_text("mine")
    if kind == "link":
        (out / "resume").symlink_to(other)
    elif kind == "folder":
        shutil.copytree(other, out / "resume")
    else:
        (out / "resume").write_text("mine")
    before = contents(tmp_path)
    assert main(arguments) == 2
    assert main([*arguments, "--overwrite"]) == 2
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", ["generate", "remember"])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_called_like_a_lock_and_is_none(kind: str, command: str, arguments: list[str], tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    out.mkdir()
    other.write_text("mine")
    lock = out / (".lock" if command == "generate" else ".m.safetensors.lock")
    if kind == "link":
        lock.symlink_to(other)
    else:
        lock.write_text("mine")
    if command == "remember":
        layouts.write_folder(tmp_path / "recording", layouts.make_frames(3))
        arguments = ["remember", str(tmp_path / "recording"), "--out", str(out / "m.safetensors"), "--block", "8"]
    assert main(arguments) == 2
    assert (other.read_text(), lock.read_text()) == ("mine", "mine")


def test_only_files_of_the_folder_are_removed(arguments: list[str], tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim_view.png"
    out.mkdir()
    victim.write_text("mine")
    (out / "metrics.json").write_text('{"finished": true, "../victim_view_psnr": 3}')
    assert main([*arguments, "--overwrite"]) == 0
    assert victim.read_text() == "mine"
