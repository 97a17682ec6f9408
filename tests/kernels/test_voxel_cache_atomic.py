# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A change of a cache that is interrupted or fails leaves the old state or the new one, and the cache goes on."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from every_backend import READY
from torch import Tensor

from mirage_kernels import VoxelCache, testing, use_backend
from mirage_kernels.ops.voxel_cache import voxel_cache_operators as operators

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from interrupts import Failure, Interrupt, places, steps

Action = Callable[[VoxelCache], Any]
N, C = 80, 3


def points(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.rand(N, 3, generator=g), torch.rand(N, C, generator=g), torch.rand(N, generator=g) * 0.1 + 0.1


def insert(seed: int) -> Action:
    return lambda cache: cache.insert(*points(seed), stamp=seed)


def filled(*seeds: int, room: bool = False, **options: Any) -> VoxelCache:
    cache = VoxelCache(options.pop("voxel_size", 0.2), C, **options)
    for seed in seeds:
        insert(seed)(cache)
    if room:
        cache._store.state = cache._store.reserve(len(cache) + 2 * N)
    return cache


def carve(cache: VoxelCache) -> None:
    cameras = testing.random_cameras(torch.Generator().manual_seed(0), 3, (6, 9))
    cache.carve(torch.full((3, 6, 9), 9.0), cameras)


def load(cache: VoxelCache) -> None:
    cache.load_state_dict(filled(4, fusion=cache.fusion, storage=cache.storage).state_dict())


# What happens, and to which cache.
CHANGES: dict[str, tuple[Action, Callable[[], VoxelCache]]] = {
    "first insert": (insert(2), lambda: filled(voxel_size="auto")),
    "insert that grows": (insert(2), lambda: filled(1)),
    "insert in place": (insert(2), lambda: filled(1, room=True)),
    "mean in place": (insert(2), lambda: filled(1, room=True, fusion="mean")),
    "int8 in place": (insert(2), lambda: filled(1, room=True, storage="int8")),
    "touched in place": (insert(2), lambda: filled(1, room=True, eviction="untouched")),
    "insert that evicts": (insert(2), lambda: filled(1, max_rows=70)),
    "evict": (lambda cache: cache.evict(max_rows=30), lambda: filled(1)),
    "evict farthest": (
        lambda cache: cache.evict(max_rows=30, eviction="farthest", position=torch.zeros(3)),
        lambda: filled(1),
    ),
    "evict bytes": (lambda cache: cache.evict(max_bytes=4000), lambda: filled(1)),
    "carve": (carve, lambda: filled(1)),
    "touch": (lambda cache: cache.touch(torch.arange(20), 9), lambda: filled(1)),
    "shrink": (lambda cache: cache.shrink_to_fit(), lambda: filled(1, room=True)),
    "load": (load, lambda: filled(1)),
}


def contents(cache: VoxelCache) -> dict[str, Any]:
    """Everything that later calls depend on."""
    tensors = {name: tensor.clone() for name, tensor in cache.state_dict().items()}
    stats = cache.memory_stats()
    totals = {name: stats[name] for name in ("rows", "capacity", "added", "merged", "rejected", "evicted", "carved")}
    return {**tensors, **totals, "voxel_size": cache.voxel_size, "table": cache.state.table.clone()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    def equal(x: Any, y: Any) -> bool:
        return torch.equal(x, y) if isinstance(x, Tensor) else x == y

    return a.keys() == b.keys() and all(equal(value, b[name]) for name, value in a.items())


def check_boxes(cache: VoxelCache) -> None:
    """The boxes contain the rows: reading with them gives what reading every row gives."""
    rebuilt = cache.clone().state
    operators.index(rebuilt)
    for boxes, exact in zip(cache.state.boxes, rebuilt.boxes, strict=True):
        used = exact[:, 0] <= exact[:, 3]
        assert bool((boxes[used, :3] <= exact[used, :3]).all())
        assert bool((boxes[used, 3:] >= exact[used, 3:]).all())


class Change:
    """A change, the state before it and after it, and both after another insert."""

    def __init__(self, name: str) -> None:
        self.action, self.make = CHANGES[name]
        self.old, self.new = self.make(), self.make()
        self.action(self.new)
        self.results = [contents(self.old), contents(self.new)]
        self.later = []
        for cache in (self.old, self.new):
            insert(3)(cache)
            self.later.append(contents(cache))

    def check(self, cache: VoxelCache, allowed: tuple[int, ...], without: tuple[str, ...] = ()) -> None:
        """Check that a cache is in one of the allowed states, 0 old or 1 new, and goes on as that one does."""

        def is_same(got: dict[str, Any], expected: dict[str, Any]) -> bool:
            return same(got | dict.fromkeys(without), expected | dict.fromkeys(without))

        got = contents(cache)
        which = [n for n in allowed if is_same(got, self.results[n])]
        assert which
        check_boxes(cache)
        insert(3)(cache)
        assert is_same(contents(cache), self.later[which[0]])


def interrupt(name: str, backend: Any, stride: int) -> None:
    """Interrupt a change at every ``stride``-th of its steps; with 1, once at every place of the code."""
    with use_backend(backend):
        change = Change(name)
        first = change.make()
        for at in places(lambda: change.action(first)) if stride == 1 else steps(stride):
            cache = change.make()
            if not Interrupt(at).run(lambda cache=cache: change.action(cache)):
                break
            change.check(cache, (0, 1))
        assert at > 1


def fail(name: str, backend: Any, stride: int) -> None:
    with use_backend(backend):
        change = Change(name)
        # What was touched is noted after a native kernel has written the rows.
        allowed = (0, 1) if name == "touched in place" else (0,)
        for at in steps(stride):
            cache = change.make()
            if not Failure(at).run(lambda cache=cache: change.action(cache)):
                break
            change.check(cache, allowed)
        for at in steps(stride):
            cache = change.make()
            if not Failure(at, after=True).run(lambda cache=cache: change.action(cache)):
                break
            # The kernel has counted, and found the rows that are touched, but not returned. No interrupt comes there.
            change.check(cache, (0, 1), without=("merged", "touched"))


# A few of the steps and operators; test_an_interrupt_or_failure_at_any_place takes all of them.
@pytest.mark.parametrize("backend", READY)
@pytest.mark.parametrize("name", CHANGES)
def test_an_interrupt_leaves_the_old_state_or_the_new_one(backend: Any, name: str) -> None:
    interrupt(name, backend, 61 if backend == "cpp" else 199)


@pytest.mark.parametrize("backend", READY)
@pytest.mark.parametrize("name", CHANGES)
def test_a_failing_operator_leaves_the_old_state(backend: Any, name: str) -> None:
    fail(name, backend, 17)


@pytest.mark.long
@pytest.mark.parametrize("backend", READY)
@pytest.mark.parametrize("name", CHANGES)
def test_an_interrupt_or_failure_at_any_place(backend: Any, name: str) -> None:
    interrupt(name, backend, 1)
    fail(name, backend, 1)


def test_an_interrupted_roll_back_is_completed_by_the_next_call() -> None:
    change = Change("insert in place")
    cache = change.make()
    with cache.lock:
        cache.begin()
        change.action(cache)
        for at in range(1, 12, 3):
            Interrupt(at).run(cache.roll_back)
    change.check(cache, (0,))


def test_touches_are_rolled_back() -> None:
    cache = filled(1, eviction="untouched")
    before = contents(cache)
    with cache.lock:
        cache.begin()
        for stamp in (7, 8):
            cache.touch(torch.tensor([3, 3, 0, 5]), stamp)
        cache.roll_back()
    assert same(contents(cache), before)


@pytest.mark.parametrize("name", ["insert in place", "evict"])
def test_a_thread_that_was_interrupted_holds_no_lock(name: str) -> None:
    change = Change(name)
    for at in steps(61):
        cache = change.make()
        if not Interrupt(at).run(lambda cache=cache: change.action(cache)):
            break
        thread = threading.Thread(target=change.check, args=(cache, (0, 1)), daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()


def insert_many(cache: VoxelCache, seed: int, errors: list[BaseException]) -> None:
    try:
        for k in range(10):
            insert(100 * seed + k)(cache)
    except BaseException as error:
        errors.append(error)


@pytest.mark.parametrize("backend", READY)
def test_threads_lose_no_row(backend: Any) -> None:
    with use_backend(backend):
        cache, expected, errors = filled(), filled(), []
        threads = [threading.Thread(target=insert_many, args=(cache, seed, errors)) for seed in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for seed in (1, 2, 3):
            insert_many(expected, seed, errors)
    assert not errors
    got, wanted = cache.state_dict()["keys"], expected.state_dict()["keys"]
    assert torch.equal(got.sort().values, wanted.sort().values)
    assert cache.memory_stats()["added"] + cache.memory_stats()["merged"] == 30 * N
    check_boxes(cache)


def test_a_read_shows_one_version() -> None:
    """Every insert gives all rows the same features, so a read that shows two values shows two versions."""
    xyz = torch.rand(10_000, 3, generator=torch.Generator().manual_seed(0)) * 2
    cache = VoxelCache(0.1, C, fusion="latest")
    cache.insert(xyz, torch.zeros(len(xyz), C))
    stop, seen = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            features = cache.features()
            seen.append(float(features.max() - features.min()))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for k in range(1, 31):
            cache.insert(xyz, torch.full((len(xyz), C), float(k)))
            if k % 10 == 0:
                cache.evict(max_rows=len(cache) // 2)
    finally:
        stop.set()
        thread.join()
    assert set(seen) == {0.0}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_waits_for_no_thread() -> None:
    cache, other = filled(1), filled(1)
    started, done = threading.Event(), threading.Event()

    def hold() -> None:
        with cache.lock, other.lock:
            other.begin()
            insert(2)(other)
            started.set()
            done.wait()
            other.end()

    thread = threading.Thread(target=hold)
    thread.start()
    started.wait()
    child = os.fork()
    if child == 0:
        try:
            insert_fails = False
            try:
                len(other)
            except RuntimeError as error:
                insert_fails = "forked" in str(error)
            os._exit(0 if len(cache) > 0 and insert_fails else 1)
        finally:
            os._exit(2)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(other) > len(cache)
