# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""RESULTS.md and the charts: the committed ones belong to the committed data, and unusual data are shown correctly."""

from __future__ import annotations

import copy
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

import benchmarks.report.__main__ as report
from benchmarks.report import plots, tables

ROOT = Path(__file__).resolve().parents[2] / "benchmarks"


@cache
def committed() -> dict[str, Any]:
    return report.load(ROOT / "results")


def test_the_committed_text_is_made_from_the_committed_data() -> None:
    assert (ROOT / "RESULTS.md").read_text() == report.compose(committed()), "run python -m benchmarks.report"


def test_every_link_of_the_committed_text_has_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "RESULTS.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_study_has_committed_data() -> None:
    kinds = {content.get("kind", "operations") for content in committed().values()}
    assert kinds == {
        "operations", "memories", "corridor", "completeness", "filters", "depth_drift", "closed_loop", "holes",
        "denoising_steps", "lora_place", "long_walk", "depth_guess", "nano_training",
        "control_input", "processes",
    }  # fmt: skip


@pytest.mark.long
def test_the_charts_of_the_text_are_drawn(tmp_path: Path) -> None:
    plots.draw_all(committed(), tmp_path)
    linked = set(re.findall(r"\(results/(\w+\.png)\)", report.compose(committed())))
    assert {path.name for path in tmp_path.iterdir()} == linked


def test_what_was_not_measured_is_said(tmp_path: Path) -> None:
    assert report.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "RESULTS.md").read_text()
    assert text.count("\nNot measured.\n") == len(report.MAKERS)
    assert "{{" not in text


def faster(factor: float) -> dict[str, Any]:
    """The committed operations, with torch.unique so many times as fast as it is."""
    content: dict[str, Any] = copy.deepcopy(committed()["operations"])
    for bench in content["benchmarks"]:
        if bench["extra_info"]["implementation"] == "torch.unique":
            bench["stats"]["median"] /= factor
    return content


def test_an_implementation_that_is_faster_is_bold_and_has_its_reason() -> None:
    assert "faster than mirage_kernels: none" in "\n".join(tables.operations("operations", faster(0.01)))
    lines = tables.operations("operations", faster(100))
    found = [line for line in lines if line.startswith("* torch.unique, build, 1,000,000 points at 5 cm: **0.0")]
    assert found
    assert found[0].endswith("(it builds no table, boxes or history, so that nothing can be added later)")
    row = next(line for line in lines if line.startswith("| build | 1,000,000 points at 5 cm | hololens |"))
    assert "torch.unique **0.02x**" in row


def test_slowdowns_are_relative_to_the_default_backend_of_the_group() -> None:
    content = faster(1)
    group = next(g for g in tables.groups_of(content) if g.operation == "splat" and g.size == "1,000,000 points")
    slow = group.best._replace(implementation="triton", median=2 * group.best.median)
    both = group._replace(ours=[group.best, slow])
    assert both.best.implementation == "triton", "the default where it is available"
    assert both.slowdown(slow) == 1
    assert both.slowdown(group.others[0]) == pytest.approx(group.slowdown(group.others[0]) / 2)


def test_a_broken_file_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, told in (
        ("{", "expected JSON"),
        (json.dumps({"kind": "memoirs"}), "expected the results of a benchmark"),
    ):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(SystemExit):
            report.main([str(tmp_path), "--out", str(tmp_path / "out")])
        assert re.search(rf"broken\.json: {told}", capsys.readouterr().err)
        assert not (tmp_path / "out").exists()


def test_numbers() -> None:
    assert [tables.duration(s) for s in (2.5, 0.12345, 1.4e-5)] == ["2.50 s", "123 ms", "14.0 µs"]
    assert [tables.significant(v) for v in (1234.5, 12.34, 0.01234, 0)] == ["1,234", "12.3", "0.0123", "0"]
    assert [tables.factor(v) for v in (2472.3, 10.57, 3.04, 1.1, 0.094)] == [
        "2,472x",
        "11x",
        "3.0x",
        "1.10x",
        "**0.09x**",
    ]
    assert tables.table([(1, None)], {"a": lambda row: row[0], ">b": lambda _: ""})[1] == "| --- | ---: |"
