# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Signals that end a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import first_line


class Terminated(BaseException):
    """The process was asked to end, other than by Ctrl-C.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


_raised: list[BaseException] = []  # by signals of the running command


def _raise(number: int, _: FrameType | None) -> None:
    error = KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)
    _raised.append(error)
    raise error


def raise_again() -> None:
    """Raise what a signal has raised and something has dropped: Python prints what a finalizer raises, and goes on."""
    if _raised:
        raise _raised[0]


def _numbers() -> list[int]:
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, and :class:`Terminated` on SIGTERM and on SIGHUP (the terminal was closed).

    Between two steps of its work, a command calls :func:`raise_again`.

    Signals that are ignored, as nohup does, stay ignored. In other threads than the main one, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _numbers()}
    replaced = {n: handler for n, handler in before.items() if handler in (signal.SIG_DFL, signal.default_int_handler)}
    _raised.clear()
    try:
        for number in replaced:
            signal.signal(number, _raise)
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


@contextmanager
def stop_on_signals(note: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Let work come to an end after the first signal that would raise an error; a second one raises it.

    Args:
        note: called with what a user should know at the first signal.

    Yields:
        A function that returns whether there was a signal. At the end of the block, its error is raised.
    """
    first: list[int] = []
    handlers = {n: handler for n in _numbers() if (handler := signal.getsignal(n)) is _raise}

    def handle(number: int, _: FrameType | None) -> None:
        for other in handlers:
            signal.signal(other, _raise)
        first.append(number)
        note("stopping after this step; once more to stop at once")

    for number in handlers:
        signal.signal(number, handle)
    try:
        yield lambda: bool(first)
    finally:
        for number in handlers:
            signal.signal(number, _raise)
    if first:
        _raise(first[0], None)


def describe(error: BaseException) -> str:
    """Why a run ended, in a few words."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, Terminated) else first_line(Exception(str(error) or type(error).__name__))
