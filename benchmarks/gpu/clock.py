# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Times of device work: events around graph replays, so that neither launches nor Python count."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

Call = Callable[[], Any]
ROUNDS = 40


class Clock:
    """Seconds a call takes, as the median of many rounds. A round makes every one of several calls once, over inputs of
    their own, so that none finds the caches filled by itself."""

    def __init__(self, device: str) -> None:
        self.device = device

    def wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def captured(self, calls: Sequence[Call], rounds: int = ROUNDS) -> float:
        """Of calls that never wait for the device: the replay of a graph that holds them all."""
        if self.device != "cuda":
            return self.eager(calls, rounds)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for call in calls:
                call()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        kept: list[Any] = []  # what the calls return lives as long as the graph
        with torch.cuda.graph(graph):
            kept.extend(call() for call in calls)
        seconds = self._events(graph.replay, rounds) / len(calls)
        del graph, kept
        return seconds

    def eager(self, calls: Sequence[Call], rounds: int = ROUNDS) -> float:
        """Of calls as a program makes them, the wait at the end included."""
        seconds = []
        for turn in range(rounds + 3):
            for call in calls:
                self.wait()
                begin = time.perf_counter()
                call()
                self.wait()
                if turn >= 3:  # the first ones warm up
                    seconds.append(time.perf_counter() - begin)
        return median(seconds)

    def _events(self, call: Call, rounds: int) -> float:
        begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        seconds: list[float] = []
        for turn in range(rounds + 3):
            begin.record()
            call()
            end.record()
            end.synchronize()
            if turn >= 3:
                seconds.append(begin.elapsed_time(end) * 1e-3)
        return median(seconds)

    def copy_bandwidth(self, nbytes: int) -> float:
        """Bytes read and written a second by the copy of a large tensor."""
        source = torch.randint(0, 255, (nbytes,), dtype=torch.uint8, device=self.device)
        target = torch.empty_like(source)
        seconds = self.captured([lambda: target.copy_(source)])
        return 2 * nbytes / seconds
