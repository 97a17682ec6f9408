# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of one backend, measured in a process of its own: what raises, hangs or dies there costs one row, and the
rows after it are measured in a new process."""

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
from benchmarks.gpu.rows import BYTES_A_POINT, Case, cases

ROW_SECONDS = 60.0  # for a row, its input and its check included; also for a process to start
GIB = 2**30


class Settings(NamedTuple):
    """What a process is to measure.

    Attributes:
        backend: by name, or ``torch`` for what the others are held against.
        device: cuda or cpu.
        size: a name of ``rows.SIZES``.
        log: a file for tracebacks and whatever libraries print.
    """

    backend: str
    device: str
    size: str
    log: Path


def measure_case(case: Case, clock: Clock, s: Settings) -> dict[str, Any]:
    """The row as ``results.json`` has it."""
    if s.device == "cuda":
        torch.cuda.empty_cache()
        free, needed = torch.cuda.mem_get_info()[0], case.points * BYTES_A_POINT
        if free < needed:
            raise RuntimeError(f"GPU memory: expected {needed / GIB:.1f} GiB free, got {free / GIB:.1f}")
    what, timing, goal, nbytes, also = case.row(clock)
    row = {
        "what": what, "backend": s.backend, "seconds": timing.seconds, "goal": goal if s.size == "full" else None,
        "nbytes": nbytes, "how": timing.how, "samples": timing.samples, "total_seconds": timing.total,
    }  # fmt: skip
    return {"rows": [row], **also}


def work(connection: Connection, settings: Settings, names: list[str]) -> None:
    """In the new process: send why the backend is absent, or None; then for each name the row, or why there is none.
    Nothing follows an error: after an illegal access every call of the process fails."""
    log = os.open(settings.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable()
    held_against = settings.backend == "torch"
    reason = None if held_against else mk.backends()[settings.backend]
    connection.send({"absent": reason})
    if reason is not None:
        return
    # in PyTorch operations some reads wait for the device, and cannot be captured
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
    """What the process sends next, or in place of it why nothing came."""
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
    """A process at work, and the end that its answers come out of."""
    spawn = multiprocessing.get_context("spawn")  # a fork would share what torch has set up
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
    """For each case its name with what to add to the results, or why there is nothing. Where the backend is absent, one
    reason under no name.

    Args:
        settings: what to measure.
        deadline: of :func:`time.monotonic`; what is not done by then is left out.
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
