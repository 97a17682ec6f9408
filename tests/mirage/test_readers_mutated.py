# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of every kind that is read, mutated: each is read, or refused by an error of one line that names it, within
bounds of memory and time. Nothing else is raised, and the process goes on."""

from __future__ import annotations

import faulthandler
import os
import random
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from reader_files import KINDS, Kind, mutate, read_first_frame, read_tum

from mirage.errors import DataError

MEMORY = 3 << 29  # bytes that reading may take beyond what the process has: the limit on pixels is not reached
SECONDS, PATIENCE = 10, 120  # of the processor, and of the clock
EACH, LONG = 8, 600  # mutations of a kind


def fault(kind: Kind, path: Path) -> str:
    """What is wrong with how a file is read; empty if nothing is."""
    try:
        kind.read(path)
    except (DataError, *kind.errors) as error:
        text = str(error)
        is_frame = kind.read in (read_first_frame, read_tum)  # errors of frames name the frame
        if "\n" in text or len(text) > 1000 or not (is_frame or str(path.parent) in text):
            return f"an error of several lines, of many words, or without the file: {text[:300]!r}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def try_all(name: str, folder: Path, count: int, tell: Callable[[str], object]) -> None:
    """Read mutations of a file. Tells the number of each before it is read, and what is wrong with it."""
    kind, path = KINDS[name], folder / KINDS[name].file
    kind.make(path)
    valid = path.read_bytes()
    kind.read(path)
    for number in range(count):
        path.write_bytes(mutate(valid, random.Random(f"{name} {number}")))
        tell(f"{name} {number}")
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        if wrong := fault(kind, path):
            tell(f"{name} {number}: {wrong}")


def limit() -> None:
    """Bound this process: memory by errors, time by signals that end it."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)


def in_child(names: list[str], folder: Path, count: int) -> list[str]:
    """The faults that reading mutations in a child process shows; the last one if it ended."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python 3.12, because other threads exist
        child = os.fork()
    if child == 0:
        code = 1
        try:
            torch.set_num_threads(1)
            warnings.simplefilter("ignore")
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)  # libraries print
            os.dup2(null, 2)
            faulthandler.disable()
            limit()
            for name in names:
                (folder / name).mkdir()
                try_all(name, folder / name, count, lambda text: os.write(writing, f"{text[:500]!a}\n".encode()))
            code = 0
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {str(error)[:300]}: outside\n".encode())
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as file:
        lines = file.read().splitlines()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = [line for line in lines if ": " in line]
    return (
        found if ended == 0 else [*found, f"the process ended with {ended} after {lines[-1] if lines else 'nothing'}"]
    )


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs the memory map of Linux")
def test_a_mutated_file_is_read_or_refused(tmp_path: Path) -> None:
    assert in_child(list(KINDS), tmp_path, EACH) == []


@pytest.mark.long
@pytest.mark.parametrize("name", KINDS)
def test_many_mutated_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    assert in_child([name], tmp_path, LONG) == []


def test_faults_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of another type, errors without the file, too much memory, no end."""

    def loop(_: Path) -> None:
        while True:
            pass

    def read_all(path: Path) -> bytearray:
        return bytearray(path.stat().st_size << 30)

    def fail(_: Path) -> None:
        raise DataError("damaged")

    def crash(_: Path) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    monkeypatch.setattr("test_readers_mutated.SECONDS", 0.1)
    for name, read, expected in (
        ("loop", loop, "ended with -27"),
        ("memory", read_all, "MemoryError"),
        ("message", fail, "without the file: 'damaged'"),
        ("crash", crash, "ended with -11"),
    ):
        calls = iter([lambda _: None, *[read] * 3])  # the valid file is read
        monkeypatch.setitem(
            KINDS, name, Kind("a", lambda p: p.write_text("text"), lambda p, calls=calls: next(calls)(p))
        )
        assert any(expected in line for line in in_child([name], tmp_path, 3)), name
