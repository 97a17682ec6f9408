# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of one backend, measured in a separate process: an error, a hang or a crash costs one row, and the next rows
are measured in a new process."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch

import mirage_kernels as mk
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.rows import BYTES_PER_POINT, Case, cases

ROW_SECONDS = 60.0  # limit for a row with its input and check, and for the start of a process
GIB = 2**30


class Settings(NamedTuple):
    """What a process measures.

    Attributes:
        backend: a name, or ``torch`` for the baselines.
        device: cuda or cpu.
        size: a name of ``rows.SIZES``.
        log: file for tracebacks and the output of libraries.
    """

    backend: str
    device: str
    size: str
    log: Path


def measure_case(case: Case, clock: Clock, s: Settings) -> dict[str, Any]:
    """The row in the form of ``results.json``."""
    if s.device == "cuda":
        torch.cuda.empty_cache()
        free, needed = torch.cuda.mem_get_info()[0], case.points * BYTES_PER_POINT
        if free < needed:
            raise RuntimeError(f"GPU memory: expected {needed / GIB:.1f} GiB free, got {free / GIB:.1f}")
    what, timing, goal, nbytes, also = case.row(clock)
    row = {
        "what": what, "backend": s.backend, "seconds": timing.seconds, "goal": goal if s.size == "full" else None,
        "nbytes": nbytes, "how": timing.how, "samples": timing.samples, "total_seconds": timing.total,
    }  # fmt: skip
    return {"rows": [row], **also}


def work(connection: Connection, settings: Settings, names: list[str]) -> None:
    """Run in the new process: send the reason why the backend is absent, or None; then for each name the row, or the
    error. The process ends after an error: after an illegal access all further calls would fail."""
    log = os.open(settings.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable()
    held_against = settings.backend == "torch"
    reason = None if held_against else mk.backends()[settings.backend]
    connection.send({"absent": reason})
    if reason is not None:
        return
    # some PyTorch operations of the reference synchronize, and cannot be captured
    clock = Clock(settings.device, graphs=settings.device == "cuda" and settings.backend != "reference")
    known = {case.name: case for case in cases(settings.backend, settings.size)}
    with mk.use_backend(None if held_against else cast(mk.BackendName, settings.backend)):
        for name in names:
            try:
                connection.send(measure_case(known[name], clock, settings))
            except Exception as error:
                traceback.print_exc()
                first = (str(error).splitlines() or [""])[0]
                connection.send(f"{type(error).__name__}: {first}")
                return


def answer(connection: Connection, process: Any, deadline: float) -> Any:
    """The next message of the process, or the reason why there is none."""
    seconds = max(0.0, min(ROW_SECONDS, deadline - time.monotonic()))
    try:
        if connection.poll(seconds):
            return connection.recv()
    except (EOFError, ConnectionResetError):
        process.join(10)
        code = process.exitcode
        died = code is not None and code < 0
        return f"killed by {signal.Signals(-code).name}" if died else f"ended with code {code}"
    return f"not done after {seconds:.0f} s"


@contextlib.contextmanager
def started(settings: Settings, names: list[str]) -> Iterator[tuple[Connection, Any]]:
    """A running process, and the connection to receive its messages."""
    spawn = multiprocessing.get_context("spawn")  # a fork would share the state of torch
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=work, args=(theirs, settings, names), daemon=True)
    process.start()
    theirs.close()  # so that its death ends the pipe
    try:
        yield ours, process
    finally:
        process.kill()
        process.join(10)
        ours.close()


def measure(settings: Settings, deadline: float) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield the name of each case with its results or the reason why there are none. For an absent backend, yield one
    reason with an empty name.

    Args:
        settings: what to measure.
        deadline: on the clock of :func:`time.monotonic`; rows after it are not measured.
    """
    left = [case.name for case in cases(settings.backend, settings.size)]
    while left:
        if time.monotonic() > deadline:
            yield from ((name, "no time left") for name in left)
            return
        with started(settings, left) as (connection, process):
            ready = answer(connection, process, deadline)
            if isinstance(ready, str):
                yield from ((name, f"no process started: {ready}") for name in left)
                return
            if ready["absent"] is not None:
                yield "", ready["absent"]
                return
            while left:
                got = answer(connection, process, deadline)
                yield left.pop(0), got
                if isinstance(got, str):
                    break
