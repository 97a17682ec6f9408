# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a report is given may be broken, and it may fail half way: then it says so, and changes nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib")

import report_files as made

import benchmarks.report.__main__ as report
from benchmarks.report import figures
from benchmarks.report.read import read
from mirage.errors import DataError


def change(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        if value is KeyError:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return apply


@pytest.mark.parametrize(
    ("make", "spoil", "expected"),
    [
        (made.memories, change(("kind",), "memoirs"), "kind: expected one of memories, .* got 'memoirs'"),
        (
            made.memories,
            change(("runs", 0, "rows", 2, "read"), "fast"),
            r"runs\[0\]\.rows\[2\]\.read: expected a number",
        ),
        (
            made.memories,
            change(("runs", 1, "rows", 0, "memory"), "mine"),
            r"rows\[0\]\.memory: expected one of RGB points",
        ),
        (made.corridor, change(("machine", "commit"), KeyError), "machine.commit: expected in the file, got none"),
        (made.corridor, change(("method",), KeyError), "method: expected in the file, got none"),
        (made.forgetting, change(("rows",), {}), "rows: expected a list, got {}"),
        (made.filters, change(("stale", "left"), True), "stale.left: expected a whole number, got True"),
        (
            made.operations,
            change(("benchmarks", 0, "extra_info", "kind"), "foe"),
            "kind: expected one of bound, library",
        ),
        (made.operations, change(("machine_info", "peak"), KeyError), "machine_info.peak: expected in the file"),
    ],
)
def test_a_broken_file_is_named(
    tmp_path: Path, make: Callable[[], dict[str, Any]], spoil: Callable[[Any], None], expected: str
) -> None:
    content = copy.deepcopy(make())  # they share their machine
    spoil(content)
    made.save(tmp_path, {"spoilt": content})
    with pytest.raises(DataError, match=rf"spoilt\.json: .*{expected}"):
        read([tmp_path])


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "corridor", "ratios": NaN}', '{"rows": []}', "\udcff"])
def test_what_is_no_file_of_a_benchmark_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "odd.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=r"odd\.json: "):
        read([tmp_path])


def test_files_that_are_missing_or_say_the_same_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json: expected a file or a folder, got none"):
        read([tmp_path / "none.json"])
    made.save(tmp_path, {"a": made.corridor(), "b": made.corridor()})
    with pytest.raises(DataError, match=r"b\.json: expected one file of kind corridor, got .*a\.json too"):
        read([tmp_path])
    assert len(read([tmp_path / "a.json", tmp_path / "a.json"]).sources) == 1


def test_a_broken_file_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made.save(tmp_path / "json", {"corridor": made.corridor()})
    arguments = [str(tmp_path / "json"), "--out", str(tmp_path / "bench")]
    assert report.main(arguments) == 0
    before = (tmp_path / "bench" / "RESULTS.md").read_bytes()
    (tmp_path / "json" / "broken.json").write_text("{")
    with pytest.raises(SystemExit):
        report.main(arguments)
    assert "broken.json" in capsys.readouterr().err
    assert (tmp_path / "bench" / "RESULTS.md").read_bytes() == before


@pytest.mark.parametrize("fails", ["figures.draw", "Path.replace"])
def test_a_report_that_fails_half_way_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    made.save(tmp_path / "json", {"corridor": made.corridor()})
    root = tmp_path / "bench"
    root.mkdir()
    (root / "RESULTS.md").write_text("as it was")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(*((figures, "draw") if fails == "figures.draw" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="disk full"):
        report.write([tmp_path / "json"], root, None)
    assert (root / "RESULTS.md").read_text() == "as it was"
    assert [path.name for path in sorted(root.rglob("*"))] == ["RESULTS.md", "results"]
