# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Forks of the test process, which have torch already, that are killed or interrupted at a chosen moment."""

from __future__ import annotations

import argparse
import gc
import mmap
import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch

import mirage.cli.main as cli
from mirage.io.packet_log import PacketLog
from mirage_kernels import _atomic

Hook = Callable[[], None]
# What a child is sent: a kill, or an interrupt, some of them twice.
SIGNALS: dict[str, tuple[tuple[signal.Signals, ...], ...]] = {
    "kill": ((signal.SIGKILL,),),
    "interrupt": (
        (signal.SIGINT,), (signal.SIGTERM,), (signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT),
    ),
}  # fmt: skip
# Exit status of the command line. Once it has put back the handlers, SIGTERM ends the process by itself.
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}


class Board:
    """Numbers that a child process shares with its parent.

    Attributes:
        ready: whether the child expects signals.
        writing: how many files are being written now.
        begun: how many were begun.
        reported: what the child has counted as done.
        met: whether the signal met a file that was being written.
        events: how many files of the watched folder were touched.
    """

    NAMES = ("ready", "writing", "begun", "reported", "met", "events")
    ready: int
    writing: int
    begun: int
    reported: int
    met: int
    events: int

    def __init__(self) -> None:
        self.__dict__["_values"] = memoryview(mmap.mmap(-1, 8 * len(self.NAMES))).cast("q")

    def __getattr__(self, name: str) -> int:
        return int(self.__dict__["_values"][self.NAMES.index(name)])

    def __setattr__(self, name: str, value: int) -> None:
        self.__dict__["_values"][self.NAMES.index(name)] = value


class Moment(NamedTuple):
    """When signals are sent to a child.

    Attributes:
        numbers: the signals, one or two.
        event: just before the watched folder is touched for the ``event``-th time, and the second signal ``gap`` times
            later; 0 for one of the others.
        writing: the number of the file after whose beginning ``delay`` counts; 0 for the start of the child.
        delay, pause: in seconds, before the first and the second signal.
    """

    numbers: tuple[signal.Signals, ...]
    event: int = 0
    gap: int = 1
    writing: int = 0
    delay: float = 0.0
    pause: float = 0.0


class Undisturbed(NamedTuple):
    """What a child does if it is left alone."""

    seconds: float
    events: int
    begun: int

    def moment(self, turn: int, places: random.Random, numbers: tuple[signal.Signals, ...]) -> Moment:
        """A random moment: at an event, at a time, or while a file is written, in turns."""
        kind, pause = turn % 3, places.choice([0, 0.0002, 0.002, 0.02])
        if kind == 0:
            return Moment(numbers, places.randint(1, self.events), places.randint(1, 6))
        if kind == 1:
            return Moment(numbers, delay=places.uniform(0, self.seconds), pause=pause)
        delay = places.uniform(0, self.seconds / max(self.begun, 1) / 2)
        return Moment(numbers, writing=places.randint(1, self.begun), delay=delay, pause=pause)


class Ended(NamedTuple):
    """How a child ended: its exit status (negative: the signal), what it reported, and whether the signal met a
    writing."""

    status: int
    reported: int
    met: bool


def run_forked(
    action: Callable[[Board], int],
    moment: Moment | None = None,
    *,
    watched: Path | None = None,
    hook: Callable[[], Hook] | None = None,
    log: Path | None = None,
) -> tuple[Ended, Board]:
    """Run an action in a fork of this process.

    Args:
        action: sets ``board.ready``, and returns the exit status.
        moment: when it is killed or interrupted; None leaves it alone.
        watched: the folder whose events count.
        hook: makes, in the child, what is called before each of these events.
        log: gets what the child prints.
    """
    board = Board()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that other threads of this process do not exist in the child
        child = os.fork()
    if child == 0:
        status = 1
        try:
            status = _in_child(action, board, moment, watched, hook, log)
        except KeyboardInterrupt:  # after the action
            status = 130
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
    if moment is not None and not moment.event:
        _send_later(child, board, moment)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(ended, board.reported, bool(board.met)), board


def run_command(argv: list[str], board: Board) -> int:
    """Run the command line, which expects signals as soon as it has handlers for them."""
    build = cli.build_parser

    def build_and_tell() -> argparse.ArgumentParser:
        board.ready = 1
        return build()

    cli.build_parser = build_and_tell
    return cli.main(argv)


def _in_child(
    action: Callable[[Board], int],
    board: Board,
    moment: Moment | None,
    watched: Path | None,
    hook: Callable[[], Hook] | None,
    log: Path | None,
) -> int:
    torch.set_num_threads(1)  # the threads of this process are not in the child
    gc.freeze()  # objects that own such threads are not freed there either
    # Tests that run in the background inherit that it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    printed = os.open(os.devnull if log is None else log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    _count_writings(board)
    if watched is not None:
        on_event = (lambda: None) if hook is None else hook()
        # Every file that is opened, renamed, truncated or removed raises an event, before it happens.
        sys.addaudithook(lambda _, args: _on_event(board, moment, on_event) if _is_in(watched, args) else None)
    status = action(board)
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _is_in(folder: Path, args: tuple[Any, ...]) -> bool:
    return any(str(folder) in str(arg) for arg in args[:2])


def _on_event(board: Board, moment: Moment | None, on_event: Hook) -> None:
    board.events += 1
    on_event()
    if moment is None or not moment.event:
        return
    turn, remainder = divmod(board.events - moment.event, moment.gap)
    if remainder == 0 and 0 <= turn < len(moment.numbers):
        board.met = board.met or board.writing > 0
        os.kill(os.getpid(), moment.numbers[turn])


def _count_writings(board: Board) -> None:
    """Count the files that are being written, in this process."""
    partial, append = _atomic._partial, PacketLog.append

    @contextmanager
    def count_partial(path: str | Path, target: Path) -> Iterator[Path]:
        board.writing, board.begun = board.writing + 1, board.begun + 1
        try:
            with partial(path, target) as file:
                yield file
        finally:
            board.writing -= 1

    def count_append(self: PacketLog, *args: Any) -> None:
        board.writing, board.begun = board.writing + 1, board.begun + 1
        try:
            append(self, *args)
        finally:
            board.writing -= 1

    _atomic._partial = count_partial
    PacketLog.append = count_append  # type: ignore[method-assign]


def _send_later(child: int, board: Board, moment: Moment) -> None:
    while not (board.ready and board.begun >= moment.writing) and not _has_ended(child):
        time.sleep(0.0001)
    time.sleep(moment.delay)
    for turn, number in enumerate(moment.numbers):
        if turn == 0:  # stopped, so that what it does is known
            os.kill(child, signal.SIGSTOP)
            os.waitid(os.P_PID, child, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            board.met = board.writing > 0
        else:
            time.sleep(moment.pause)
        with suppress(ProcessLookupError):
            os.kill(child, number)
            os.kill(child, signal.SIGCONT)


def _has_ended(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def measure(action: Callable[[Board], int], watched: Path) -> Undisturbed:
    """Run an action in a fork that is left alone; return what it does."""
    since = time.perf_counter()
    ended, board = run_forked(action, watched=watched)
    assert ended.status == 0
    return Undisturbed(time.perf_counter() - since, board.events, board.begun)
