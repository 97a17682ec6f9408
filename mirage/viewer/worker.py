# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A thread for work that a browser asks for faster than it can be done."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable


class Worker:
    """Runs jobs in a thread, one after the other. Of the jobs with the same key that wait, only the last is run.

    Args:
        on_error: called in the thread with what a job raises; the next jobs are run.

    Example:
        >>> done, begun, finished = [], threading.Event(), threading.Event()
        >>> worker = Worker(print)
        >>> worker.submit("first", begun.wait)
        >>> worker.submit("second", lambda: done.append(1))
        >>> worker.submit("second", lambda: done.append(2))  # replaces the one that waits
        >>> worker.submit("last", finished.set)
        >>> begun.set()
        >>> finished.wait()
        True
        >>> worker.close()
        >>> done
        [2]
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._waiting: dict[Hashable, Callable[[], object]] = {}
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self._thread.start()

    def submit(self, key: Hashable, job: Callable[[], object]) -> None:
        """Run a job when those before it are done; a waiting job with the same key is replaced."""
        with self._changed:
            self._waiting[key] = job
            self._changed.notify()

    def close(self) -> None:
        """Wait for the job that runs, drop those that wait, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
                job = self._waiting.pop(next(iter(self._waiting)))
            try:
                job()
            except Exception as error:
                self._on_error(error)
