# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Results of samples: shards, restarts and other settings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from mirage.errors import DataError
from mirage.evaluation.sample_results import SampleResults, has_scores

WAITING = "this part is finished; the summary is written when the others are"
SAMPLES = {name: {"seed": n} for n, name in enumerate("abcde")}


def evaluate(results: SampleResults, done: list[str], **options: Any) -> Any:
    def one(name: str) -> dict[str, Any]:
        done.append(name)
        return {"score": ord(name)}

    return results.evaluate(SAMPLES, one, report, **options)


def report(found: dict[str, dict[str, Any]], failed: dict[str, str]) -> str:
    return json.dumps([found, failed])


def test_processes_share_the_samples(tmp_path: Path) -> None:
    done: list[str] = []
    assert WAITING in evaluate(SampleResults(tmp_path, {"steps": 4}), done, shard=(1, 2))
    assert done == ["b", "d"]
    everything = evaluate(SampleResults(tmp_path, {"steps": 4}), done, shard=(0, 2))
    assert done == ["b", "d", "a", "c", "e"]
    assert json.loads(everything) == [{name: {"score": ord(name)} for name in SAMPLES}, {}]
    assert evaluate(SampleResults(tmp_path, {"steps": 4}), done) == everything
    assert len(done) == 5, "finished samples are skipped"


def test_an_interrupted_process_goes_on(tmp_path: Path) -> None:
    done: list[str] = []

    def stop() -> None:
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(SampleResults(tmp_path, {}), done, on_sample=stop)
    assert WAITING not in evaluate(SampleResults(tmp_path, {}), done)
    assert done == list("abcde")


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    done: list[str] = []
    evaluate(SampleResults(tmp_path, {"steps": 4}), done)
    with pytest.raises(
        DataError, match=r"a\.json: expected a result of these settings, got one of other steps; use another --out"
    ):
        evaluate(SampleResults(tmp_path, {"steps": 6}), done)
    with pytest.raises(DataError, match=r"a\.json: expected a result of these settings, got one of other seed"):
        SampleResults(tmp_path, {"steps": 4}).evaluate({"a": {"seed": 7}}, lambda _: {}, report)
    (tmp_path / "samples" / "c.json").write_text("[]")
    with pytest.raises(DataError, match=r"c\.json: expected the result of a sample, got another file"):
        evaluate(SampleResults(tmp_path, {"steps": 4}), done)
    assert len(done) == 5


def test_samples_that_fail_are_left_out_and_tried_again(tmp_path: Path) -> None:
    broken, reports = set("bd"), []

    def one(name: str) -> dict[str, Any]:
        if name in broken:
            raise DataError(f"{name}: expected a path that returns")
        return {}

    def keep(found: dict[str, dict[str, Any]], failed: dict[str, str]) -> str:
        reports.append((set(found), failed))
        return "table"

    results = SampleResults(tmp_path, {})
    reasons = {name: f"{name}: expected a path that returns" for name in "bd"}
    with pytest.raises(DataError, match="2 of 5 samples could not be evaluated; the first one: b: expected a path"):
        results.evaluate(SAMPLES, one, keep, shard=(1, 2))
    assert not reports
    message = r"2 of 5 samples could not be evaluated, and .*summary\.md is of the others; the first one: b: expected"
    with pytest.raises(DataError, match=message):
        results.evaluate(SAMPLES, one, keep, shard=(0, 2))
    assert reports == [(set("ace"), reasons)]
    (tmp_path / "failed" / "d.json").write_text("damaged")
    broken.remove("b")
    with pytest.raises(DataError, match=r"1 of 5 samples could not be evaluated, and .*; the first one: d: expected"):
        results.evaluate(SAMPLES, one, keep)
    assert reports[1:] == [(set("abce"), {"d": reasons["d"]})]
    broken.clear()
    assert results.evaluate(SAMPLES, one, keep) == "table"
    assert reports[2:] == [(set("abcde"), {})]
    assert not list((tmp_path / "failed").iterdir())


def test_no_summary_of_nothing(tmp_path: Path) -> None:
    def one(name: str) -> dict[str, Any]:
        raise DataError(f"{name}: no")

    with pytest.raises(DataError, match="5 of 5 samples could not be evaluated; the first one: a: no"):
        SampleResults(tmp_path, {}).evaluate(SAMPLES, one, report)


@pytest.mark.parametrize("damage", [
    {"laps": ["x"]}, {"revisits": ["x"]}, {"revisits": [[1]]}, {"scores": {"psnr": math.nan}},
    {"scores": {"psnr": True}}, {"scores": []}, {"laps": None}, {"views": ["x"], "scores": None},
])  # fmt: skip
def test_what_a_summary_needs(damage: dict[str, Any]) -> None:
    part: dict[str, Any] = {"scores": {"psnr": 1.5, "ssim": None}, "laps": [1, 2.5], "revisits": [[1, 2, 3.0, 4, None]]}
    assert has_scores({"memory": part}, ["memory"], laps=0, revisits=5)
    assert not has_scores({"memory": part | damage}, ["memory"], laps=0, revisits=5)
    assert not has_scores({"memory": part}, ["none"])
    assert not has_scores({"memory": part, "other": part}, ["memory"])
    assert has_scores({"memory": part | {"points": 3}}, ["memory"], ["points"])
    for wrong in ({}, {"points": None}, {"points": "3"}, {"points": [3]}):
        assert not has_scores({"memory": part | wrong}, ["memory"], ["points"])
