# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How `benchmarks.gpu` times and compares, with stand-ins for what only a GPU has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch.overrides import TorchFunctionMode

import mirage_kernels as mk
from benchmarks import timing
from benchmarks.gpu import clock, measure, rows
from mirage_kernels import backend


@pytest.mark.parametrize(("seconds", "samples"), [(1e-3, 100), (0.04, 3), (1.5, 1), (3.0, 1)])
def test_a_figure_takes_as_long_as_it_must(seconds: float, samples: int) -> None:
    now = [0.0]

    def sample() -> float:
        now[0] += seconds
        return seconds

    with mock.patch.object(clock.time, "perf_counter", side_effect=lambda: now[0]):
        figure = clock.timing(sample, 2, "eager")
    assert figure.samples == pytest.approx(samples, abs=1)
    assert figure.total == pytest.approx(figure.samples * seconds)
    assert figure.seconds == pytest.approx(seconds / 2)
    assert clock.WARM + clock.LEAST <= now[0] <= clock.MOST


def test_reads_are_warm_before_they_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    """With graphs and events in the place of torch.cuda's: a replay takes 50 us."""
    course: list[str] = []
    events: list[int] = []

    class Event:
        def record(self) -> None:
            events.append(course.count("replay"))

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, _: Event) -> float:
            return 0.05 * (events[-1] - events[-2])

    @contextlib.contextmanager
    def capture(_: Any) -> Iterator[None]:
        course.append("begin")
        yield
        course.append("end")

    for name in ("Stream", "stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, mock.MagicMock())
    graph = mock.MagicMock(replay=lambda: course.append("replay"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "Event", lambda **_: Event())
    timer = clock.Clock("cuda", graphs=True)
    figure = timer.captured([lambda: course.append("a"), lambda: course.append("b")])
    assert course[:9] == ["a", "b", "begin", "a", "b", "end", "replay", "replay", "replay"]
    assert set(course[9:]) == {"replay"}
    assert figure.how == "graph replay"
    assert figure.seconds == pytest.approx(25e-6)
    assert figure.total >= clock.LEAST
    assert len(course) * 50e-6 > clock.WARM + clock.LEAST


class There(torch.Tensor):
    """A tensor of a device that is not there: its memory is the CPU's."""


class StandIn(TorchFunctionMode):
    """Tensors can be made on cuda:0 and moved there and back, and say that they are there."""

    def __torch_function__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        to = str(args[1]) if function == torch.Tensor.to else ""
        if function == torch.Tensor.device.__get__ and isinstance(args[0], There):  # type: ignore[attr-defined]
            return torch.device("cuda:0")
        if function == torch.Tensor.is_cpu.__get__ and isinstance(args[0], There):  # type: ignore[attr-defined]
            return False
        if to == "cuda:0":
            return args[0].as_subclass(There)
        if to == "cpu" or function == torch.Tensor.cpu:
            return function(args[0].as_subclass(torch.Tensor), *args[1:], **kwargs)
        if str(kwargs.get("device")) == "cuda:0":
            return function(*args, **{**kwargs, "device": "cpu"}).as_subclass(There)
        return function(*args, **kwargs)


@contextlib.contextmanager
def stand_in() -> Iterator[clock.Clock]:
    """The backend ``cuda`` is selected and refuses tensors of the CPU, as where there is a GPU; its operations are
    the C++ kernels."""
    generator = torch.Generator()
    timer = clock.Clock("cuda:0", graphs=False)
    with (
        mock.patch.object(backend, "_unavailable_reason", return_value=None),
        mock.patch.object(torch, "Generator", return_value=generator),
        mock.patch.object(timer, "wait"),
        mock.patch.multiple(clock, WARM=0, LEAST=0, FEWEST=1),
        StandIn(),
        mk.use_backend("cuda"),
    ):
        yield timer


@pytest.mark.skipif(mk.backends()["cpp"] is not None, reason="the stand-in's kernels are the C++ ones")
@pytest.mark.parametrize("backend_name", ["torch", "cuda"])
def test_the_cpu_works_with_a_backend_of_its_own(backend_name: str) -> None:
    """Every comparison is between the device's backend on the device and the CPU's on the CPU."""
    with stand_in() as timer:
        with pytest.raises(RuntimeError, match="'cuda' was selected"):
            mk.splat(*rows.room(9, 1)[:1], torch.ones(9, 1), rows.room(9, 1)[1])
        for case in rows.cases(backend_name, "small"):
            assert case.row(timer).timing.samples >= 1, case.name


def test_checks_of_the_suites_may_compute_on_the_cpu() -> None:
    asked: list[str | None] = []

    def note(*_: Any) -> None:
        asked.append(backend._requested)

    timing.time_case(mock.MagicMock(stats=None), timing.Case("splat", "room", "small", note, note), "reference")
    assert asked == ["reference", None]


def test_a_wrong_result_is_not_timed() -> None:
    timer = clock.Clock("cpu", graphs=False)
    wrong = mock.patch.object(rows, "on_cpu", lambda call, *operands: call(operands[0] + 1, *operands[1:]))
    with wrong, pytest.raises(AssertionError, match=r"overlap of 1 x 8 sets .*: differs from the CPU"):
        rows.overlap_row(timer, rows.SIZES["small"])


def test_large_inputs_are_not_asked_of_the_reference() -> None:
    names = {name: [case.name for case in rows.cases(name, "full")] for name in ("cuda", "reference")}
    assert "splat N=10,000,000 V=33" in names["cuda"]
    assert "splat N=1,000,000 V=9" in names["reference"]
    assert not {"splat N=10,000,000 V=9", "insert", "build", "culled read"} & set(names["reference"])


def test_a_large_row_is_not_begun_without_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (24 * 2**30, 24 * 2**30))
    settings = measure.Settings("cuda", "cuda", "full", tmp_path / "log")
    begun = mock.Mock(return_value=rows.Row("any", clock.Timing(1.0, 1, 1.0, "eager")))
    for case in rows.cases("cuda", "full"):
        room = case.name != "culled read"
        with contextlib.nullcontext() if room else pytest.raises(RuntimeError, match="GPU memory: expected 46"):
            measure.measure_case(case._replace(row=begun), mock.Mock(), settings)
    assert begun.call_count == len(rows.cases("cuda", "full")) - 1
