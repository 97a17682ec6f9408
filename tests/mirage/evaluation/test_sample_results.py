# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Results of samples: shards, restarts and other settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mirage.errors import DataError
from mirage.evaluation.sample_results import SampleResults

SAMPLES = {name: {"seed": n} for n, name in enumerate("abcde")}


def evaluate(results: SampleResults, done: list[str], **options: Any) -> Any:
    def one(name: str) -> dict[str, Any]:
        done.append(name)
        return {"score": ord(name)}

    return results.evaluate(SAMPLES, one, **options)


def test_processes_share_the_samples(tmp_path: Path) -> None:
    done: list[str] = []
    assert evaluate(SampleResults(tmp_path, {"steps": 4}), done, shard=(1, 2)) is None
    assert done == ["b", "d"]
    everything = evaluate(SampleResults(tmp_path, {"steps": 4}), done, shard=(0, 2))
    assert done == ["b", "d", "a", "c", "e"]
    assert everything == {name: {"score": ord(name)} for name in SAMPLES}
    assert evaluate(SampleResults(tmp_path, {"steps": 4}), done) == everything
    assert len(done) == 5, "finished samples are skipped"


def test_an_interrupted_process_goes_on(tmp_path: Path) -> None:
    done: list[str] = []

    def stop() -> None:
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(SampleResults(tmp_path, {}), done, on_sample=stop)
    assert evaluate(SampleResults(tmp_path, {}), done) is not None
    assert done == list("abcde")


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    done: list[str] = []
    evaluate(SampleResults(tmp_path, {"steps": 4}), done)
    with pytest.raises(DataError, match=r"a\.json: expected a result of these settings, got one of others"):
        evaluate(SampleResults(tmp_path, {"steps": 6}), done)
    with pytest.raises(DataError, match=r"a\.json: expected a result of these settings"):
        SampleResults(tmp_path, {"steps": 4}).evaluate({"a": {"seed": 7}}, lambda _: {})
    (tmp_path / "samples" / "c.json").write_text("[]")
    with pytest.raises(DataError, match=r"c\.json: expected the result of a sample, got another file"):
        evaluate(SampleResults(tmp_path, {"steps": 4}), done)
    assert len(done) == 5


def test_a_sample_that_fails_leaves_the_others(tmp_path: Path) -> None:
    def one(name: str) -> dict[str, Any]:
        if name in "bd":
            raise DataError(f"{name}: expected a path that returns")
        return {}

    results = SampleResults(tmp_path, {})
    message = "2 of 5 samples could not be evaluated, and the others are finished; the first one: b: expected a path"
    with pytest.raises(DataError, match=message):
        results.evaluate(SAMPLES, one)
    assert {path.stem for path in (tmp_path / "samples").iterdir()} == set("ace")
