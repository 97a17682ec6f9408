# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The studies as programs, and what they share."""

from __future__ import annotations

import json
import runpy
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from mirage.evaluation import _studies, corridor, filters

NAMES = ("memories", "corridor", "completeness", "filters", "depth_drift", "look", "closed_loop", "holes")


def test_calls_alternate_and_long_ones_are_seldom_repeated() -> None:
    made: list[str] = []
    calls = {name: (lambda name=name: made.append(name)) for name in "ab"}
    assert set(_studies.medians(calls, 3, patience=1.0, brief=0.1)) == {"a", "b"}
    assert made == ["a", "b"] + ["a", "a", "b", "b"] * 3, "short ones twice, after one that warms up"
    made.clear()
    _studies.medians(calls, 3, warm_up=2)
    assert made == ["a", "b"] * 5
    made.clear()
    _studies.medians(calls, 31, patience=0.0)
    assert made == ["a", "b"] * 2


def test_the_second_of_two_short_calls_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    takes = iter([0.05, *[0.06, 0.01] * 5])

    def call() -> None:
        clock[0] += next(takes)

    monkeypatch.setattr(_studies.time, "perf_counter", lambda: clock[0])
    assert _studies.medians({"a": call}, 5, brief=0.1) == {"a": pytest.approx(0.01)}


@pytest.mark.parametrize("name", NAMES)
def test_every_study_is_a_program(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of runpy: other tests have imported the module
        with pytest.raises(SystemExit):
            runpy.run_module(f"mirage.evaluation.{name}", run_name="__main__", alter_sys=True)
    told = capsys.readouterr().out
    assert f"usage: python -m mirage.evaluation.{name}" in told
    assert "--out DIR" in told


def test_a_short_corridor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corridor, "EARLY_RUNS", 1)
    monkeypatch.setattr(_studies, "touch_memory", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["corridor", "--chunks", "10", "--out", str(tmp_path)])
    corridor.main()
    content: dict[str, Any] = json.loads((tmp_path / "corridor.json").read_text())
    assert {"kind", "machine", "data", "method", "ratios", "voxel_cache", "append_only"} == set(content)
    (row,), (appended,) = content["voxel_cache"], content["append_only"]
    assert row["chunk"] == appended["chunk"] == 10
    assert row["rows"] == appended["rows"] == 18 * corridor.Corridor().added, "none of them shares a voxel"
    assert 0.5 < row["visible"] < 0.7, "no walls beyond 2.7 m"
    assert min(row["read"], row["insert"], appended["read"], appended["insert"]) > 0


def test_too_short_a_corridor_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["corridor", "--chunks", "9"])
    with pytest.raises(SystemExit):
        corridor.main()
    assert "--chunks: expected at least 10, got 9" in capsys.readouterr().err.splitlines()[-1]


def test_the_outline_of_the_sky_is_part_of_the_package() -> None:
    sky = filters.sky_reference()
    assert 0.05 < sky.float().mean() < 0.95
