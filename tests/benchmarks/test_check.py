# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What `make bench-check` says of given ratios; it measures nothing here."""

from __future__ import annotations

import contextlib
import json
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import check
from benchmarks.timing import Case
from mirage.evaluation import machine

NAMES = ("splat", "build")


def answer(monkeypatch: pytest.MonkeyPatch, splat: list[float], build: list[float]) -> None:
    """What every process will measure; those that are not told measure 2.0."""
    left = {"splat": iter(splat), "build": iter(build)}
    monkeypatch.setattr(check, "measure", lambda names: {name: next(left[name], 2.0) for name in names})
    monkeypatch.setattr(machine, "commit", lambda: "c0ffee")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The baseline of ratios 1.9, 2.0, ... 2.1 that were measured for each operation."""
    answer(monkeypatch, [1.9, 2.1], [2.1, 1.9])
    path = tmp_path / "baseline.json"
    check.keep(NAMES, path)
    return path


def test_a_baseline_is_of_a_processor_and_has_its_spread(kept: Path) -> None:
    stored = json.loads(kept.read_text())
    assert list(stored) == [check.here()]
    assert stored[check.here()]["ratios"]["splat"] == {"ratio": 2.0, "varied": pytest.approx(0.0526, abs=1e-4)}
    assert {"torch", "commit", "date"} < set(stored[check.here()])


def test_a_third_more_is_named(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, [], [2.6] * check.TRIES[1])
    (line,) = check.check(NAMES, kept)
    assert line == "build: 1.30 of its baseline (at most 1.12), which is 2 times a copy"


def test_bad_moments_are_forgiven(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the first ones are not believed before more were measured."""
    answer(monkeypatch, [], [3.0, 3.0, 3.0, 2.0, 2.0])
    assert check.check(NAMES, kept) == []


def test_good_moments_hide_nothing(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, [1.5, 2.6, 2.6, 1.5, *[2.6] * 7], [])
    (line,) = check.check(NAMES, kept)
    assert line.startswith("splat: 1.30 of its baseline")


def test_only_what_exceeds_its_bound_is_measured_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def measure(names: list[str]) -> dict[str, float]:
        asked.append(tuple(names))
        return {name: 2.6 if name == "build" else 2.0 for name in names}

    monkeypatch.setattr(check, "measure", measure)
    check.check(NAMES, kept)
    assert asked == [NAMES] * check.TRIES[0] + [("build",)] * (check.TRIES[1] - check.TRIES[0])


def test_bounds_follow_what_varied() -> None:
    assert check.bound(0.0) == pytest.approx(1.12)
    assert check.bound(0.07) == pytest.approx(1.14)
    assert check.bound(0.5) == pytest.approx(1.17), "or a third more would go unnoticed"


def test_another_processor_measures_the_commit_beside(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "here", lambda: "another, avx2")
    asked: list[Path] = []

    @contextlib.contextmanager
    def built(commit: str) -> Iterator[Path]:
        assert commit == "c0ffee"
        yield tmp_path

    def measure(names: list[str], root: Path = check.ROOT) -> dict[str, float]:
        asked.append(root)
        then, now = {"splat": 9.0, "build": 9.0}, {"splat": 9.5, "build": 12.0}
        return {name: (then if root == tmp_path else now)[name] for name in names}

    monkeypatch.setattr(check, "built", built)
    monkeypatch.setattr(check, "measure", measure)
    (line,) = check.check(NAMES, kept)
    assert line == "build: 1.33 of its baseline (at most 1.12)"
    assert asked == [tmp_path, check.ROOT] * check.TRIES[1], "in turn"
    assert (
        "another, avx2: no baseline of this processor; measured in turn with commit c0ffee" in capsys.readouterr().out
    )


def test_of_several_baselines_the_latest_is_built(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = json.loads(kept.read_text())
    (first,) = stored.values()
    kept.write_text(
        json.dumps({"old": first | {"date": "2026-01-02"}, "new": first | {"commit": "2", "date": "2026-01-10"}})
    )
    monkeypatch.setattr(check, "built", lambda commit: pytest.fail(f"commit {commit}"))
    with pytest.raises(pytest.fail.Exception, match="commit 2"):
        check.check(NAMES, kept)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One of two commits, whose builds leave the commit's word behind."""
    root = tmp_path / "repository"
    root.mkdir()

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.com")
        subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)

    git("init", "--quiet")
    for word in ("first", "second"):
        (root / "setup.py").write_text(
            f"import os, sys\nopen('built', 'w').write(f'{word} {{sys.argv[1:]}} {{os.environ[\"MIRAGE_CUDA\"]}}')\n"
        )
        git("add", ".")
        git("commit", "--quiet", "--message", word)
        git("tag", word)
    return root


def test_results_make_no_other_code(repository: Path, tmp_path: Path) -> None:
    named = machine.commit(repository)
    assert re.fullmatch("[0-9a-f]{7,}", named)
    (repository / "benchmarks" / "results").mkdir(parents=True)
    (repository / "benchmarks" / "results" / "one.json").write_text("{}")
    subprocess.run(["git", "add", "."], cwd=repository, check=True)
    assert machine.commit(repository) == named
    (repository / "setup.py").write_text("")
    assert machine.commit(repository) == f"{named}-dirty"
    assert machine.commit(tmp_path) == "unknown"


def test_a_commit_is_built_apart(repository: Path) -> None:
    with check.built("first", repository) as tree:
        assert (tree / "built").read_text() == "first ['-q', 'build_ext', '--inplace'] 0"
    assert not tree.exists()
    assert sorted(path.name for path in repository.iterdir()) == [".git", "setup.py"]


def test_a_commit_that_is_not_there_is_an_error(repository: Path) -> None:
    with (
        pytest.raises(SystemExit, match=r"expected commit third to compare with.*not a valid object"),
        check.built("third", repository),
    ):
        pass


def test_a_commit_that_does_not_build_is_an_error(repository: Path) -> None:
    (repository / "setup.py").write_text("raise SystemExit('no compiler')")
    subprocess.run(
        ["git", "-c", "user.name=n", "-c", "user.email=n@example.com", "commit", "-qam", "x"],
        cwd=repository,
        check=True,
    )
    with pytest.raises(SystemExit, match="HEAD does not build here:\nno compiler"), check.built("HEAD", repository):
        pass


def test_a_baseline_is_of_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "commit", lambda: "c0ffee-dirty")
    with pytest.raises(SystemExit, match="expected the code of a commit, got c0ffee-dirty"):
        check.keep(NAMES, tmp_path / "baseline.json")
    assert not (tmp_path / "baseline.json").exists()


def test_processors_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text(
        "processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n\nprocessor\t: 1\nmodel\t: 9\n"
    )
    monkeypatch.setattr(machine, "Path", lambda _: told)
    assert machine.processor() == "AMD EPYC (family 26, model 2)"
    told.write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert machine.processor() == platform.machine()


def test_a_second_processor_leaves_the_first(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    was = check.here()
    monkeypatch.setattr(check, "here", lambda: "another, avx2")
    answer(monkeypatch, [], [5.0] * check.REPEATS)
    check.keep(NAMES, kept)
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
        check.check(NAMES, path)


def test_an_operation_without_a_ratio_is_an_error(kept: Path) -> None:
    with pytest.raises(SystemExit, match=r"expected a ratio of 'read'"):
        check.check([*NAMES, "read"], kept)


def test_what_is_kept_has_a_ratio_of_everything_watched() -> None:
    for name, processor in check.read().items():
        assert set(processor["ratios"]) == set(check.WATCHED), name


def test_an_operation_is_measured_in_a_process_of_its_own() -> None:
    found = check.measure(["splat of a chunk"])
    assert list(found) == ["splat of a chunk"]
    assert found["splat of a chunk"] > 0


def test_a_ratio_is_that_of_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(check.time, "thread_time", lambda: next(clock) * 0.01)
    calls: list[str] = []
    case = Case("an operation", "nowhere", "small", lambda: calls.append("ours"), lambda _: None)
    assert check.ratio(case, lambda: calls.append("yardstick")) == pytest.approx(1.0)
    assert calls[0] == "ours", "how long it takes decides how often it is called"
    assert calls[1:] == ["ours", "yardstick", "yardstick"] * (len(calls) // 3)
