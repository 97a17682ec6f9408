# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What is timed, and how: never before its result was checked, and beside what the machine can do at most."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from statistics import median
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import torch

import mirage_kernels as mk

DEVICE = os.environ.get("MIRAGE_BENCH_DEVICE", "cpu")  # cuda, where there is a GPU
BACKENDS = ("reference", "cpp", "triton", "cuda")
KINDS = ("ours", "reference", "method", "library", "bound", "variant")
SECONDS = 0.3  # spent on one benchmark, roughly
ROUNDS = (3, 200)
MOST = 10.0  # seconds spent on preparing
SLOW = 0.5  # seconds; what takes longer is timed once


class Case(NamedTuple):
    """One operation on one input.

    Attributes:
        operation: its name, such as ``"splat"``.
        scene: what it works on.
        size: the name of its size.
        run: what is timed; takes what ``prepare`` returns.
        check: raises where a result is wrong.
        prepare: makes fresh arguments for every call, outside the clock.
        facts: ``bytes``, the least that has to be moved; ``operations``, of float32, that the definition states;
            points, rows and views.
    """

    operation: str
    scene: str
    size: str
    run: Callable[..., Any]
    check: Callable[[Any], None]
    prepare: Callable[[], tuple[Any, ...]] = tuple
    facts: Mapping[str, int] = MappingProxyType({})

    @property
    def group(self) -> str:
        return f"{self.operation}, {self.scene}, {self.size}"


def ways() -> list[str]:
    """The backends there are for the device."""
    fits = ("reference", "cpp") if DEVICE == "cpu" else ("reference", "triton", "cuda")
    return [name for name in fits if mk.backends()[name] is None]


def using(way: str) -> contextlib.AbstractContextManager[Any]:
    """The backend of that name; nothing for a baseline, which has none."""
    return mk.use_backend(cast(mk.BackendName, way)) if way in BACKENDS else contextlib.nullcontext()


def wait() -> None:
    """Until the device has done what it was given."""
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def time_case(benchmark: Any, case: Case, way: str, kind: str = "", note: str = "") -> None:
    """Check a case's result, then time it and say what it is.

    Args:
        benchmark: pytest-benchmark's fixture.
        case: what to time.
        way: who does it: a backend, or the name of a baseline.
        kind: one of :data:`KINDS`; told from ``way`` for a backend.
        note: why it is faster than ours, where it is.
    """
    kind = kind or ("reference" if way == "reference" else "ours")
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if DEVICE != "cpu" and kind in ("method", "library", "bound"):
        import pytest  # only the suites need it

        pytest.skip("baselines are measured on a CPU")
    benchmark.group = case.group
    benchmark.extra_info.update(
        operation=case.operation, scene=case.scene, size=case.size, way=way, kind=kind, **case.facts
    )
    if note:
        benchmark.extra_info["note"] = note

    def call(*arguments: Any) -> None:
        case.run(*arguments)
        wait()

    with using(way):
        begin = time.perf_counter()
        arguments = case.prepare()
        prepared = time.perf_counter()
        result = case.run(*arguments)
        wait()
        once = time.perf_counter() - prepared
        with mk.use_backend(None):  # what a check computes may be on the CPU, which a GPU's backend refuses
            case.check(result)
        del result, arguments
        if once > SLOW:
            rounds, iterations, warm = 1, 1, 0
        else:
            rounds = int(min(max(SECONDS / once, ROUNDS[0]), ROUNDS[1], 1 + MOST / (prepared - begin)))
            # where the clock is not far finer than the call, a round is many calls
            iterations, warm = (10 if once < 1e-3 and case.prepare is tuple else 1), 1 + rounds // 10
        setup: Callable[[], Any] | None = None if iterations > 1 else lambda: (case.prepare(), {})
        benchmark.pedantic(call, setup=setup, rounds=rounds, iterations=iterations, warmup_rounds=warm)
    if benchmark.stats and "bytes" in case.facts:
        bandwidth = case.facts["bytes"] / benchmark.stats.stats.median
        benchmark.extra_info["bandwidth"] = bandwidth
        benchmark.extra_info["share_of_copy"] = bandwidth / copy_bandwidth()


def seconds_of(call: Callable[[], Any], rounds: int) -> float:
    """The median of several calls, after one that is not counted."""
    call()
    wait()
    found = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        wait()
        found.append(time.perf_counter() - begin)
    return median(found)


@cache
def copy_bandwidth() -> float:
    """Bytes a second, read and written, of a copy that no cache holds."""
    source = torch.ones(1 << 26, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds_of(lambda: target.copy_(source), 10)


@cache
def peak() -> float:
    """Float32 operations a second of a large matrix product."""
    n = 2048
    a = torch.ones(n, n, device=DEVICE)
    return 2 * n**3 / seconds_of(lambda: a @ a, 5)
