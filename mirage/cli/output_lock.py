# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A lock on what a command writes, so that two processes do not write it at once."""

from __future__ import annotations

import os
import platform
import re
from contextlib import suppress
from pathlib import Path

from ..errors import DataError

LOCK = ".lock"


class OutputBusyError(DataError):
    """Another process writes to the folder or file."""


class OutputLock:
    """A lock on a folder or file, held by a process until :meth:`release`, or until the process ends in any way.

    Args:
        target: an existing folder, or a file in one, which need not exist. The lock is a hidden file in the folder.

    Raises:
        OutputBusyError: another process holds the lock.
        DataError: there is another file in its place.
        OSError: the folder is not writable.
    """

    def __init__(self, target: Path) -> None:
        self.target, self._kind = target, "folder" if target.is_dir() else "file"
        file = Path(os.path.realpath(target))  # two links to one file
        self.path = target / LOCK if self._kind == "folder" else file.with_name(f".{file.name}{LOCK}")
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
            try:
                self._check_kind()
                self._lock()
                if self.is_in_place():  # another process may have removed the file after it was opened here
                    os.ftruncate(self._file, 0)
                    os.pwrite(self._file, f"{os.getpid()} {_where()}\n".encode(), 0)
                    return
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)

    def _check_kind(self) -> None:
        """Check that the file is a lock: empty, or with the number of a process."""
        if not re.fullmatch(rb"(\d+( [^\n]*)?\n)?", os.pread(self._file, 1000, 0)):
            raise DataError(f"{self.path}: expected a lock of mirage, got another file; move it")

    def _lock(self) -> None:
        try:
            import fcntl

            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released by the system when the process ends
        except BlockingIOError:
            pass
        except (ImportError, OSError):  # a system or file system without locks: go by the process number
            process, where = self._holder()
            if where == _where() and not _is_running(process):
                return
            if where != _where():  # nothing tells from here whether it runs
                raise OutputBusyError(
                    f"{self.target}: expected a {self._kind} that no other process writes to, got one of process "
                    f"{process} on another machine or in another container; if that has ended, remove {self.path}"
                ) from None
        else:
            return
        expected = f"a {self._kind} that no other process writes to"
        raise OutputBusyError(
            f"{self.target}: expected {expected}, got one of process {self._holder()[0] or 'unknown'}"
        ) from None

    def is_in_place(self) -> bool:
        """Whether the lock is where it was made: the folder was not deleted, moved or replaced."""
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def check(self) -> None:
        """Check that the lock still protects what is written.

        Raises:
            DataError: the folder was deleted, moved or replaced. Another process may write to what is there now.
        """
        if not self.is_in_place():
            raise DataError(
                f"{self.target}: expected the {self._kind} that this process has locked, but its lock {self.path} was "
                "deleted or replaced, so nothing more is written"
            )

    def _holder(self) -> tuple[int, str]:
        """Number of the process that wrote the file, and where it runs; 0 and here for an empty file."""
        number, _, where = os.pread(self._file, 300, 0).decode(errors="replace").strip().partition(" ")
        return int(number) if number.isdecimal() and len(number) < 20 else 0, where or _where()

    def release(self) -> None:
        """Remove the lock, but not that of another process in a folder that has taken the place of this one."""
        with suppress(OSError):
            if self.is_in_place():
                self.path.unlink()
        os.close(self._file)


def _where() -> str:
    """Host and, on Linux, the namespace that numbers of processes are unique in."""
    with suppress(OSError):
        return f"{platform.node()} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def _is_running(process: int) -> bool:
    if process in (0, os.getpid()):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
