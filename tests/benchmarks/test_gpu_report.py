# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a run on a GPU says of itself where something is missing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pytest

import benchmarks.gpu.__main__ as program
from benchmarks.gpu import checks, report


def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, asked: set[str], *absent: str) -> list[Any]:
    monkeypatch.setattr(program, "measure", lambda s, _: [("", "not there")] if s.backend in absent else [])
    args = argparse.Namespace(
        out=tmp_path, device=device, sizes="small", asked=asked, backends=["cuda", "cpp", "reference"]
    )
    return list(program.run_measure(args, report.Results(tmp_path, "cpu")))


def test_a_backend_that_was_asked_for_and_is_absent_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(tmp_path, monkeypatch, "cpu", set()) == [("measure", "ok")]
    assert states(tmp_path, monkeypatch, "cpu", set(), "cpp") == [("measure", "ok (cpp not measured)")]
    assert states(tmp_path, monkeypatch, "cpu", {"cpp"}, "cpp") == [("measure", "FAILED (cpp not measured)")]
    assert states(tmp_path, monkeypatch, "cuda", set(), "cuda") == [("measure", "FAILED (cuda not measured)")]


def test_a_run_that_ends_early_is_not_taken_for_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "measure", interrupted)
    args = argparse.Namespace(out=tmp_path, device="cpu", sizes="small", asked=set(), backends=["cpp"])
    with pytest.raises(KeyboardInterrupt):
        list(program.run_measure(args, report.Results(tmp_path, "cpu")))
    assert report.read(tmp_path / "results.json")["checks"] == {"measure": "not finished"}


@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"machine": {}}'])
def test_damaged_results_are_set_aside(text: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(text)
    assert report.Results(tmp_path, "cpu").content["rows"] == []
    assert (tmp_path / "results.damaged").read_text() == text


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_cannot_be_written_to_is_refused_before_any_work(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--device", "cpu", "--out", str(tmp_path / place)])
    with pytest.raises(SystemExit) as error:
        program.main()
    assert error.value.code == 2
    assert "--out: expected a folder that can be written to, got" in capsys.readouterr().err.splitlines()[-1]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("printed", "state"),
    [
        ("== 3 passed, 1 skipped in 1.50s ==", "ok (== 3 passed, 1 skipped in 1.50s ==)"),
        ("== 120 skipped in 9.88s ==", "not run: 120 skipped in 9.88s"),
    ],
)
def test_a_warning_after_the_end_is_not_the_result(printed: str, state: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"print({printed!r}); print('a late warning')"]
    assert checks.Check("tests", command, 20).run(tmp_path / "log") == state
