# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Signals that end a run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
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


@contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C, and :class:`Terminated` on SIGTERM and on SIGHUP (the terminal was closed).

    Between two steps of its work, a command calls :func:`raise_again`.

    Signals that are ignored, as nohup does, stay ignored. In other threads than the main one, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.getsignal(number) for number in numbers}
    replaced = {n: handler for n, handler in before.items() if handler in (signal.SIG_DFL, signal.default_int_handler)}
    _raised.clear()
    try:
        for number in replaced:
            signal.signal(number, _raise)
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)


def describe(error: BaseException) -> str:
    """Why a run ended, in a few words."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return str(error) if isinstance(error, Terminated) else first_line(Exception(str(error) or type(error).__name__))
