# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A lock on an output folder, so that two processes do not write to it at once."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

from ..errors import DataError

LOCK = ".lock"


class FolderLock:
    """A lock on a folder, held by a process until :meth:`release`, or until the process ends in any way.

    Args:
        folder: an existing folder.

    Raises:
        DataError: another process holds the lock.
        OSError: the folder is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._lock(folder)
                # Another process may have removed the file after it was opened here.
                if self.path.exists() and os.path.samestat(os.fstat(self._file), self.path.stat()):
                    break
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()} {_where()}\n".encode(), 0)

    def _lock(self, folder: Path) -> None:
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
                raise DataError(
                    f"{folder}: expected a folder that no other process writes to, got one of process {process} on "
                    f"another machine or in another container; if that has ended, remove {self.path}"
                ) from None
        else:
            return
        expected = "a folder that no other process writes to"
        raise DataError(f"{folder}: expected {expected}, got one of process {self._holder()[0] or 'unknown'}") from None

    def _holder(self) -> tuple[int, str]:
        """Number of the process that wrote the file, and where it runs; 0 and here for an empty file."""
        number, _, where = os.pread(self._file, 300, 0).decode(errors="replace").strip().partition(" ")
        return int(number) if number.isdecimal() and len(number) < 20 else 0, where or _where()

    def release(self) -> None:
        """Remove the lock."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
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
