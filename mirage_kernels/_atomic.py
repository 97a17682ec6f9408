# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are replaced as a whole."""

from __future__ import annotations

import errno
import glob
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path

# The temporary files of this process, with the permissions that they were made with. To write one of them atomically is
# to write it in place, with its lock.
_open_partials: dict[Path, int] = {}
_MAX_NAME = 200  # bytes of the file's name that its temporary name has; file systems allow 255


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file so that it is replaced atomically.

    Links are followed: the file that a symbolic link leads to is replaced, and its temporary file is in the same
    folder. A file that exists keeps its permissions; a new one gets those of the umask. What a killed process has left
    of an earlier write of the same file is removed, and never what belongs to a process that runs.

    Args:
        path: the file to write.

    Yields:
        The path of an empty temporary file, to be written in place. When the block ends, it is synced to disk and
        replaces ``path``. If the block raises, it is removed; then, and if the process is killed, ``path`` is
        unchanged.

    Raises:
        OSError: the file cannot be written, or ``path`` is a folder or a device. The message names the file.

    Example:
        >>> import tempfile
        >>> from mirage_kernels import atomic_write
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with atomic_write(Path(folder) / "note.txt") as partial:
        ...         _ = partial.write_text("done")
        ...     (Path(folder) / "note.txt").read_text()
        'done'
    """
    with atomic_writes([path]) as (partial,):
        yield partial


@contextmanager
def atomic_writes(paths: Sequence[str | Path]) -> Iterator[list[Path]]:
    """Write several files so that either all of them are replaced or none.

    All are complete and on disk before the first one is replaced. They are replaced in the order of ``paths``, so the
    last one tells whether all are there, should the process be killed in between.

    Args:
        paths: the files to write.

    Yields:
        The path of a temporary file for each; see :func:`atomic_write`.

    Raises:
        OSError: a file cannot be written; the message names it.

    Example:
        >>> import tempfile
        >>> from mirage_kernels import atomic_writes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     names = [Path(folder) / "data.txt", Path(folder) / "report.txt"]
        ...     with atomic_writes(names) as (data, report):
        ...         _ = data.write_text("1 2 3"), report.write_text("3 numbers")
        ...     sorted(path.name for path in Path(folder).iterdir())
        ['data.txt', 'report.txt']
    """
    targets = [Path(os.path.realpath(path)) for path in paths]
    with ExitStack() as stack:
        partials = []
        for path, target in zip(paths, targets, strict=True):
            with _naming(path):
                partials.append(stack.enter_context(_partial(path, target)))
        with _naming(", ".join(str(path) for path in paths), partials):
            yield partials
        for path, partial, target in zip(paths, partials, targets, strict=True):
            with _naming(path):
                _finish(partial, target)
        _replace(list(zip(paths, partials, targets, strict=True)))
    for folder in {target.parent for target in targets}:
        _sync_folder(folder)


def _replace(files: list[tuple[str | Path, Path, Path]]) -> None:
    """Replace files, given as path, temporary file and target. An interrupt is raised once all of them are replaced."""
    interrupt = None
    while files:
        try:
            path, partial, target = files[0]
            with _naming(path):
                if interrupt is None or partial.exists():  # else it was replaced just before the interrupt
                    partial.replace(target)
            del files[0]
        except Exception:
            raise
        except BaseException as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


@contextmanager
def _naming(path: str | Path, partials: Sequence[Path] = ()) -> Iterator[None]:
    """Let errors of the system name the file that is written rather than its temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno is None or (partials and error.filename not in (None, *map(str, partials), *partials)):
            raise  # not of the system, or of another file
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextmanager
def _partial(path: str | Path, target: Path) -> Iterator[Path]:
    """Make a temporary file that is locked as long as its process lives, and remove it at the end."""
    if target in _open_partials:
        yield target
        return
    if target.exists() and not target.is_file():
        raise OSError(f"{path}: expected a file, got a {'folder' if target.is_dir() else 'device'}")
    remove_partials(target)
    partial, file = _create(target)
    try:
        _open_partials[partial] = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield partial
    finally:
        try:
            _open_partials.pop(partial, None)
            partial.unlink(missing_ok=True)
        finally:
            file.close()


def _prefix(target: Path) -> str:
    """What the names of a file's temporary files begin with, after a dot."""
    prefix = target.name
    while len(os.fsencode(prefix)) > _MAX_NAME:
        prefix = prefix[:-1]
    return prefix


def _create(target: Path) -> tuple[Path, FileIO]:
    """A new file, which is open as long as its lock is needed.

    It is closed at the latest when nothing refers to it, because two interrupts may prevent that it is closed before.
    Its name is drawn: process numbers repeat in containers and on other hosts.
    """
    mode = 0o600 if target.exists() else 0o666  # the content may be secret until the file has its permissions
    while True:
        partial = target.with_name(f".{_prefix(target)}.{secrets.token_hex(8)}.partial")
        # Not a class of our own with __del__, in which Python would drop an interrupt.
        file = FileIO(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode), "r+")
        try:
            _lock(file.fileno(), wait=True)
            # Another process may have taken it for litter before it was locked.
            if partial.exists() and os.path.samestat(os.fstat(file.fileno()), partial.stat()):
                return partial, file
        except BaseException:
            partial.unlink(missing_ok=True)
            file.close()
            raise
        file.close()


def _lock(file: int, *, wait: bool) -> bool:
    """Lock a file for this process. False if another process holds it, or the file system has no locks."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        return False
    return True


def remove_partials(path: str | Path) -> None:
    """Remove the temporary files that killed processes have left of writes of a file; :func:`atomic_write` does so too.

    Those of processes that run are kept, which hold a lock on them. Where the file system has no locks, all are.

    Args:
        path: the file; links are followed.

    Raises:
        OSError: the folder cannot be read, or a file in it not removed.

    Example:
        >>> import tempfile
        >>> from mirage_kernels import remove_partials
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / ".note.txt.0123456789abcdef.partial").write_text("ha")
        ...     remove_partials(Path(folder) / "note.txt")
        ...     list(Path(folder).iterdir())
        []
    """
    target = Path(os.path.realpath(path))
    folder, prefix = target.parent, _prefix(target)
    # Earlier versions had the number of the process in the name.
    name = re.compile(rf"\.{re.escape(prefix)}\.([0-9a-f]{{16}}|\d+)\.partial")
    for partial in folder.glob(f".{glob.escape(prefix)}.*.partial"):
        if not name.fullmatch(partial.name):
            continue
        with suppress(OSError):
            file = os.open(partial, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
            try:
                if _lock(file, wait=False):
                    partial.unlink(missing_ok=True)
            finally:
                os.close(file)


def _finish(partial: Path, target: Path) -> None:
    """Give a temporary file the permissions of the file that it replaces, or without one those that it was made with,
    because safetensors puts a file in its place that its owner alone can read; and sync it."""
    mode, new = _open_partials[partial], partial.stat()
    with suppress(FileNotFoundError):
        old = target.stat()
        mode = stat.S_IMODE(old.st_mode)
        with suppress(PermissionError):
            if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
                os.chown(partial, old.st_uid, old.st_gid)
    with suppress(PermissionError):  # some file systems have no permissions
        partial.chmod(mode)
    with partial.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # not possible on this file system
            raise
    finally:
        os.close(descriptor)
