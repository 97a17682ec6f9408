# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The time of device work: events around replays of a CUDA graph, which exclude launches and Python, or a wall clock
for calls that synchronize with the device."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch

Call = Callable[[], Any]
WARM = 0.2  # seconds of work before the first sample: an idle GPU lowers its clock
LEAST = 0.1  # seconds of samples per figure
FEWEST = 3  # samples, where MOST allows them
MOST = 5.0  # seconds per figure, warm-up included
BATCH = 2e-3  # seconds of replays between two events, so that the first launch is negligible


class Timing(NamedTuple):
    """One figure.

    Attributes:
        seconds: median time of a call.
        samples: number of samples; a sample may be several calls.
        total: time of all samples in seconds.
        how: ``graph replay`` or ``eager``.
    """

    seconds: float
    samples: int
    total: float
    how: str


class Clock:
    """Measures the median time of a call. A sample is several calls with different inputs, so that no call finds its
    own input in the caches.

    Args:
        device: where the calls run.
        graphs: whether :meth:`captured` uses CUDA graphs; otherwise it is the same as :meth:`eager`.
    """

    def __init__(self, device: str, *, graphs: bool) -> None:
        self.device, self.graphs = device, graphs

    def wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def captured(self, calls: Sequence[Call]) -> Timing:
        """Time calls that do not synchronize with the device, as replays of one graph of all calls."""
        if not self.graphs:
            return self.eager(calls)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # compilation and set-up at the first call cannot be captured
            for call in calls:
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        kept: list[Any] = []  # results live as long as the graph
        with torch.cuda.graph(graph):
            kept.extend(call() for call in calls)
        begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

        def replay(times: int) -> float:
            begin.record()
            for _ in range(times):
                graph.replay()
            end.record()
            end.synchronize()
            return float(begin.elapsed_time(end)) * 1e-3

        times = max(1, int(BATCH / max(1e-6, min(replay(1) for _ in range(3)))))
        return timing(lambda: replay(times), times * len(calls), "graph replay")

    def eager(self, calls: Sequence[Call]) -> Timing:
        """Time calls as a program makes them, with synchronization at the end."""

        def turn() -> float:
            seconds = 0.0
            for call in calls:
                self.wait()
                begin = time.perf_counter()
                call()
                self.wait()
                seconds += time.perf_counter() - begin
            return seconds

        return timing(turn, len(calls), "eager")


def timing(sample: Callable[[], float], calls: int, how: str) -> Timing:
    """Repeat ``sample``, which makes so many calls and returns their time in seconds."""
    stop, warm = time.perf_counter() + MOST, 0.0
    while warm < WARM:
        seconds = sample()
        if seconds > MOST / 2:  # no time for another one
            return Timing(seconds / calls, 1, seconds, how)
        warm += seconds
    found: list[float] = []
    while len(found) < FEWEST or sum(found) < LEAST:
        found.append(sample())
        if time.perf_counter() + found[-1] > stop:
            break
    return Timing(median(found) / calls, len(found), sum(found), how)
