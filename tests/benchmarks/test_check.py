# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What `make bench-check` says of given ratios; it measures nothing here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import check
from benchmarks.timing import Case

CASE = Case("an operation", "nowhere", "small", int, lambda _: None)
WATCHED = {"splat": check.Watched(lambda: CASE, "product"), "build": check.Watched(lambda: CASE, "copy")}


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The baseline of ratios 1.9, 2.0, 2.1 that were measured for each operation."""
    values = iter(2 * [2.0, 1.9, 2.1, *[2.0] * (check.REPEATS - 3)])
    monkeypatch.setattr(check, "ratio", lambda *_: next(values))
    path = tmp_path / "baseline.json"
    check.keep(WATCHED, path)
    return path


def answer(monkeypatch: pytest.MonkeyPatch, ratios: list[float]) -> Iterator[float]:
    left = iter(ratios)
    monkeypatch.setattr(check, "ratio", lambda *_: next(left))
    return left


def test_a_baseline_is_of_a_processor_and_has_its_spread(kept: Path) -> None:
    stored = json.loads(kept.read_text())
    assert list(stored) == [check.here()]
    assert stored[check.here()]["ratios"]["splat"] == {"ratio": 2.0, "varied": pytest.approx(0.0526, abs=1e-4)}
    assert {"torch", "commit", "date"} < set(stored[check.here()])


def test_a_third_more_is_named(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, [*[2.0] * check.TRIES[0], *[2.6] * check.TRIES[1]])
    (line,) = check.check(WATCHED, kept)
    assert line.startswith("build: 1.30 of its baseline (at most 1.11)")


def test_a_bad_moment_is_forgiven(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bad ones of three are not believed before more were measured."""
    left = answer(monkeypatch, [3.0, 3.0, 2.0, 2.1, 2.0, *[2.0] * check.TRIES[0]])
    assert check.check(WATCHED, kept) == []
    assert list(left) == []


def test_a_good_moment_hides_nothing(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, [1.5, 2.6, 2.6, 1.5, *[2.6] * 5, *[2.0] * check.TRIES[0]])
    (line,) = check.check(WATCHED, kept)
    assert line.startswith("splat: 1.30 of its baseline")


def test_bounds_follow_what_varied() -> None:
    assert check.bound(0.0) == pytest.approx(1.10)
    assert check.bound(0.07) == pytest.approx(1.14)
    assert check.bound(0.5) == pytest.approx(1.17), "or a third more would go unnoticed"


def test_another_processor_has_wide_bounds(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    was = check.here()
    monkeypatch.setattr(check, "here", lambda: "another, avx2")
    answer(monkeypatch, [*[2.6] * check.TRIES[0], *[4.2] * check.TRIES[1]])
    (line,) = check.check(WATCHED, kept)
    assert line.startswith("build: 2.10 of its baseline (at most 2.00)")
    assert f"baseline of {was} (this one has none: bounds are wide)" in capsys.readouterr().out


def test_a_second_processor_leaves_the_first(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was = check.here()
    monkeypatch.setattr(check, "here", lambda: "another, avx2")
    monkeypatch.setattr(check, "ratio", lambda *_: 5.0)
    check.keep(WATCHED, kept)
    stored = json.loads(kept.read_text())
    assert [stored[name]["ratios"]["build"]["ratio"] for name in (was, "another, avx2")] == [2.0, 5.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"expected a baseline; make bench-baseline"),
        ("{", r"baseline\.json: expected the baseline as JSON"),
    ],
)
def test_no_baseline_is_an_error(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "baseline.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit, match=message):
        check.check(WATCHED, path)


def test_an_operation_without_a_ratio_is_an_error(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, [2.0] * 9)
    more: dict[str, Any] = WATCHED | {"read": WATCHED["build"]}
    with pytest.raises(SystemExit, match=r"expected a ratio of 'read'"):
        check.check(more, kept)


def test_what_is_kept_has_a_ratio_of_everything_watched() -> None:
    for name, processor in check.read().items():
        assert set(processor["ratios"]) == set(check.WATCHED), name
        assert all(0 < one["varied"] < 0.12 for one in processor["ratios"].values()), name


def test_a_ratio_is_that_of_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(check.time, "thread_time", lambda: next(clock) * 0.01)
    calls: list[str] = []
    case = CASE._replace(run=lambda: calls.append("ours"))
    assert check.ratio(case, lambda: calls.append("yardstick")) == pytest.approx(1.0)
    assert calls[0] == "ours", "how long it takes decides how often it is called"
    assert calls[1:] == ["ours", "yardstick", "yardstick"] * (len(calls) // 3)
