# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The cases of the suites and how they are timed: only after their result has been checked."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import torch

import mirage_kernels as mk
from benchmarks.gpu.clock import Clock

DEVICE = os.environ.get("MIRAGE_BENCH_DEVICE", "cpu")  # cuda where there is a GPU
BACKENDS = ("reference", "cpp", "triton", "cuda")
KINDS = ("ours", "reference", "method", "library", "bound", "variant")
SECONDS = 0.3  # per benchmark, roughly
ROUNDS = (3, 200)
MAX_PREPARATION = 10.0  # seconds per benchmark
SLOW = 0.5  # seconds; a call that takes longer is timed once


class Case(NamedTuple):
    """One operation on one input.

    Attributes:
        operation: its name, such as ``"splat"``.
        scene: the name of the scene.
        size: the name of the input's size.
        run: the call to time; takes what ``prepare`` returns.
        check: raises AssertionError when a result is wrong.
        prepare: returns new arguments for a call; not timed.
        facts: ``bytes``, the minimum that has to be moved; ``operations`` of float32 in the definition; the number of
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


def backends() -> list[str]:
    """The backends that are available on the device."""
    names = ("reference", "cpp") if DEVICE == "cpu" else ("reference", "triton", "cuda")
    return [name for name in names if mk.backends()[name] is None]


def synchronize() -> None:
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def time_case(benchmark: Any, case: Case, implementation: str, kind: str = "", note: str = "") -> None:
    """Check the result of a case, then time it and record what it is.

    Args:
        benchmark: the fixture of pytest-benchmark.
        case: what to time.
        implementation: a backend, or the name of a baseline.
        kind: one of :data:`KINDS`; by default from the name of the backend.
        note: why it is faster than ours, where it is.

    Raises:
        ValueError: the kind is unknown.
        AssertionError: the result is wrong; nothing is timed.
    """
    kind = kind or ("reference" if implementation == "reference" else "ours")
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if DEVICE != "cpu" and kind in ("method", "library", "bound"):
        import pytest  # only the suites need it

        pytest.skip("baselines are measured on a CPU")
    benchmark.group = case.group
    benchmark.extra_info.update(
        operation=case.operation, scene=case.scene, size=case.size, implementation=implementation, kind=kind,
        **case.facts,
    )  # fmt: skip
    if note:
        benchmark.extra_info["note"] = note

    def call(*arguments: Any) -> None:
        case.run(*arguments)
        synchronize()

    ours = implementation in BACKENDS
    with mk.use_backend(cast(mk.BackendName, implementation)) if ours else contextlib.nullcontext():
        begin = time.perf_counter()
        arguments = case.prepare()
        prepared = time.perf_counter()
        result = case.run(*arguments)
        synchronize()
        once = time.perf_counter() - prepared
        with mk.use_backend(None):  # a check may compute on the CPU, which the backend of a GPU refuses
            case.check(result)
        del result, arguments
        if once > SLOW:
            rounds, iterations, warm = 1, 1, 0
        else:
            rounds = int(min(max(SECONDS / once, ROUNDS[0]), ROUNDS[1], 1 + MAX_PREPARATION / (prepared - begin)))
            # many calls per round where the resolution of the clock is not far below the time of a call
            iterations, warm = (10 if once < 1e-3 and case.prepare is tuple else 1), 1 + rounds // 10
        setup: Callable[[], Any] | None = None if iterations > 1 else lambda: (case.prepare(), {})
        benchmark.pedantic(call, setup=setup, rounds=rounds, iterations=iterations, warmup_rounds=warm)
    if benchmark.stats and "bytes" in case.facts:
        bandwidth = case.facts["bytes"] / benchmark.stats.stats.median
        benchmark.extra_info["bandwidth"] = bandwidth
        benchmark.extra_info["share_of_copy"] = bandwidth / copy_bandwidth()


@cache
def copy_bandwidth() -> float:
    """Bytes per second, read and written, of a copy that exceeds every cache."""
    source = torch.ones(1 << 26, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.nbytes / Clock(DEVICE, graphs=False).eager([lambda: target.copy_(source)]).seconds


@cache
def peak() -> float:
    """Float32 operations per second of a large matrix product."""
    n = 2048
    a = torch.ones(n, n, device=DEVICE)
    return 2 * n**3 / Clock(DEVICE, graphs=False).eager([lambda: a @ a]).seconds
