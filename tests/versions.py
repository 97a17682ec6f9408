# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Threads that change and read one object, and the versions of it that existed."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class RecordingLock:
    """A re-entrant lock that records a version of what it protects, whenever a thread gives it back.

    Args:
        take: returns the present version.
        same: whether two versions are equal.
    """

    def __init__(self, take: Callable[[], Any], same: Callable[[Any, Any], bool]) -> None:
        self.versions, self._take, self._same = [take()], take, same
        self._lock, self._depth = threading.RLock(), 0

    def acquire(self, blocking: bool = True) -> bool:
        is_held = self._lock.acquire(blocking)
        self._depth += is_held
        return is_held

    def release(self) -> None:
        if self._depth == 1:
            version = self._take()
            if not self._same(version, self.versions[-1]):
                self.versions.append(version)
        self._depth -= 1
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Result(NamedTuple):
    """What a read gave, and between which versions."""

    name: str
    value: Any
    first: int
    last: int


@contextmanager
def many_switches() -> Iterator[None]:
    """Let threads alternate as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def run_threads(
    lock: RecordingLock,
    changes: dict[str, Callable[[int], Any]],
    reads: dict[str, Callable[[], Any]],
    *,
    seed: int,
    turns: int,
) -> list[Result]:
    """Run two threads for changes and two for reads, each with random ones; return what was read.

    Args:
        lock: that of the object.
        changes: take a number that is used once.
        reads: return values that no later change modifies.
        seed: of the order.
        turns: changes and reads of each thread.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def change(number: int) -> None:
        places = random.Random(f"{seed} {number}")
        for turn in range(turns):
            changes[places.choice(list(changes))](1000 * number + turn)

    def read(number: int) -> None:
        places = random.Random(f"{seed} {number}")
        for _ in range(turns):
            name, first = places.choice(list(reads)), len(lock.versions) - 1
            results.append(Result(name, reads[name](), first, len(lock.versions)))

    def run(target: Callable[[int], None], number: int) -> None:
        try:
            target(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(change, n)) for n in (1, 2)]
    threads += [threading.Thread(target=run, args=(read, n)) for n in (3, 4)]
    with many_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return results
