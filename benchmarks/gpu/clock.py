# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Times of device work: events around graph replays, so that neither launches nor Python count; a wall clock for calls
that wait for the device themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple

import torch

Call = Callable[[], Any]
WARM = 0.2  # seconds of work before anything counts: an idle GPU clocks down
LEAST = 0.1  # seconds of samples that a figure is made of
FEWEST = 3  # samples, where there is time for them
MOST = 5.0  # seconds that a figure may take, the warm-up included
BATCH = 2e-3  # seconds of replays between two events: the launch of the first one must not count


class Timing(NamedTuple):
    """One figure.

    Attributes:
        seconds: median of a call.
        samples: how many it is the median of; a sample may be several calls.
        total: seconds of all samples.
        how: graph replay, or eager.
    """

    seconds: float
    samples: int
    total: float
    how: str


class Clock:
    """Seconds a call takes, as the median of many samples. A sample makes every one of several calls, over inputs of
    their own, so that none finds the caches filled by itself.

    Args:
        device: where the calls run.
        graphs: whether calls that never wait for the device are captured; else they are timed eagerly too.
    """

    def __init__(self, device: str, *, graphs: bool) -> None:
        self.device, self.graphs = device, graphs

    def wait(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def captured(self, calls: Sequence[Call]) -> Timing:
        """Of calls that never wait for the device: replays of a graph that holds them all."""
        if not self.graphs:
            return self.eager(calls)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # what is compiled or set up at the first call cannot be captured
            for call in calls:
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        kept: list[Any] = []  # what the calls return lives as long as the graph
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
        """Of calls as a program makes them, the wait at the end included."""

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
    """Of samples of so many calls each; ``sample`` makes them and returns the seconds they took."""
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
