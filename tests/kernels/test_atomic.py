# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are replaced as a whole: links, permissions, names, what killed processes leave, and several at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mirage_kernels import atomic_write, atomic_writes

LOCK = "import fcntl, sys; f = open(sys.argv[1], 'rb'); fcntl.flock(f, fcntl.LOCK_EX); print('locked', flush=True); "
LOCK += "sys.stdin.read()"


def write(path: Path, text: str = "new") -> None:
    with atomic_write(path) as partial:
        partial.write_text(text)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_umask_is_obeyed_and_permissions_are_kept(tmp_path: Path) -> None:
    before = os.umask(0o026)
    try:
        write(tmp_path / "new")
        assert mode(tmp_path / "new") == 0o640
        for kept in (0o600, 0o644, 0o664, 0o400):
            (tmp_path / "new").chmod(kept)
            write(tmp_path / "new")
            assert mode(tmp_path / "new") == kept
        with atomic_write(tmp_path / "new") as partial:
            (tmp_path / "new").chmod(0o600)
            assert mode(partial) == 0o600, "the temporary file has the permissions of the file that it replaces"
        with atomic_write(tmp_path / "replaced") as partial:  # as safetensors does
            (tmp_path / "secret").touch(0o600)
            (tmp_path / "secret").replace(partial)
        assert mode(tmp_path / "replaced") == 0o640
    finally:
        os.umask(before)


def test_links_are_followed(tmp_path: Path) -> None:
    """A link may lead to another disk, where the temporary file has to be."""
    disk, folder = tmp_path / "disk", tmp_path / "folder"
    disk.mkdir()
    folder.mkdir()
    (folder / "file").symlink_to("../disk/file")  # of a file that is not there yet
    (folder / "again").symlink_to("file")
    (folder / "disk").symlink_to(disk)
    for path in (folder / "file", folder / "again", folder / "disk" / "file"):
        with atomic_write(path) as partial:
            partial.write_text(path.name)
            assert partial.parent == disk
        assert (disk / "file").read_text() == path.name
    assert (folder / "file").is_symlink()
    assert (folder / "again").is_symlink()
    assert os.listdir(disk) == ["file"]
    assert len(os.listdir(folder)) == 3


def test_names_differ_between_writers_with_the_same_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in two containers that share a folder."""
    monkeypatch.setattr("os.getpid", lambda: 7)
    path = tmp_path / "note.txt"
    with atomic_write(path) as first:
        first.write_text("first")
        with atomic_write(path) as second:
            second.write_text("second")
            assert first != second
            assert first.read_text() == "first"
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["note.txt"]


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path, number = tmp_path / "no[t]e.txt", "0123456789abcdef"
    litter = [tmp_path / f".no[t]e.txt.{name}.partial" for name in (number, "4711")]  # the latter by earlier versions
    others = [tmp_path / f".{name}.partial" for name in (f"note.txt.{number}", "no[t]e.txt.mine", f"a.{number}")]
    alive = tmp_path / f".no[t]e.txt.{number[::-1]}.partial"
    for file in (*litter, *others, alive):
        file.write_text("half")
    (tmp_path / f".no[t]e.txt.{'f' * 16}.partial").symlink_to(others[0])
    program = [sys.executable, "-S", "-c", LOCK, str(alive)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        write(path)
        assert not any(file.exists() for file in litter)
        assert all(file.read_text() == "half" for file in (*others, alive))
        other.communicate("")
    write(path)
    assert not alive.exists()
    assert all(file.exists() for file in others)


def test_long_names(tmp_path: Path) -> None:
    for name in ("a" * 255, "ä" * 127):
        write(tmp_path / name)
    assert len(os.listdir(tmp_path)) == 2


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """A named pipe stands for devices, which a test that fails must not replace."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("folder", "expected a file, got a folder"), ("pipe", "expected a file, got a device")):
        with pytest.raises(OSError, match=message):
            write(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_an_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        write(tmp_path / "no" / "file")
    assert str(error.value) == f"[Errno 2] No such file or directory: '{tmp_path}/no/file'"
    with pytest.raises(FileNotFoundError, match="other"), atomic_write(tmp_path / "file"):
        (tmp_path / "other").read_text()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["fsync", "write"])
def test_several_files_are_replaced_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    paths = [tmp_path / name for name in ("b", "a", "report")]
    with atomic_writes(paths) as partials:
        for partial in partials:
            partial.write_text("old")
    synced: list[int] = []

    def fail(file: int) -> None:
        synced.append(file)
        if len(synced) == 3 or step == "write":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)

    def write_all() -> None:
        with atomic_writes(paths) as partials:
            for partial in partials:
                partial.write_text("new")
            if step == "write":
                fail(0)

    with pytest.raises(OSError, match=r"No space left on device.*report"):
        write_all()
    assert [path.read_text() for path in paths] == ["old"] * 3
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "report"]


def test_a_temporary_file_is_written_in_place(tmp_path: Path) -> None:
    """Replacing it would lose its lock, and another process could take it for litter."""
    with atomic_write(tmp_path / "file") as outer:
        before = outer.stat().st_ino
        with atomic_write(outer) as inner:
            inner.write_text("text")
        assert outer.stat().st_ino == before
        assert len(os.listdir(tmp_path)) == 1
    assert (tmp_path / "file").read_text() == "text"
    assert os.listdir(tmp_path) == ["file"]


def write_all(paths: list[Path], text: str) -> None:
    with atomic_writes(paths) as partials:
        for partial in partials:
            partial.write_text(text)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_interrupt_while_several_files_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, after: bool
) -> None:
    """It is raised when all of them are."""
    paths, replace, calls = [tmp_path / name for name in ("b", "a", "report")], Path.replace, []

    def interrupt(self: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == number and not after:
            raise KeyboardInterrupt
        replace(self, target)
        if len(calls) == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_all(paths, "new")
    assert [path.read_text() for path in paths] == ["new"] * 3
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "report"]
