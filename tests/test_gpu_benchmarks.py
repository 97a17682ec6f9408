# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What `make gpu` runs, on a CPU and small: its own code must not be what fails on a machine with a GPU."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

import mirage_kernels as mk
from benchmarks import wan_full
from benchmarks.gpu import __main__ as program
from benchmarks.gpu import checks, clock, measure, rows

ROOT = Path(__file__).resolve().parents[1]
OPTIONAL = (
    "accelerate", "av", "diffusers", "hypothesis", "matplotlib", "peft", "PIL", "pytest", "scipy", "skimage",
    "torchvision", "tqdm", "transformers", "triton",
)  # fmt: skip
OPERATIONS = ["splat", "overlap", "unproject", "insert", "build", "culled read"]


def run(*arguments: str, script: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The program on a CPU; or a script that changes it and then runs it, in its processes too."""
    start = [script] if script else ["-m", "benchmarks.gpu"]
    command = [sys.executable, *start, *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)


def results(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "results.json").read_text())
    assert list(content) == [
        "kind", "machine", "data", "method", "copy_bandwidth", "rows", "argsort", "not measured", "checks",
    ]  # fmt: skip
    for row in content["rows"]:
        assert {"what", "backend", "seconds", "goal", "nbytes", "how"} < set(row)
    return content


def measured(content: dict[str, Any], backend: str) -> list[str]:
    """The operations that a backend has rows of, in order."""
    return [next(o for o in OPERATIONS if r["what"].startswith(o)) for r in content["rows"] if r["backend"] == backend]


@pytest.mark.long
def test_parts_run_one_after_the_other(tmp_path: Path) -> None:
    parts = ("sanitize", "measure", "test")
    done = run(*parts, "--device", "cpu", "--backends", "cpp", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    content = results(tmp_path)
    assert not content["not measured"]
    assert [row["backend"] for row in content["rows"]] == ["torch", "torch", *["cpp"] * 6]
    assert measured(content, "cpp") == OPERATIONS
    for row in content["rows"]:
        assert row["samples"] >= 1
        assert row["total_seconds"] >= clock.LEAST
        assert row["seconds"] == pytest.approx(row["total_seconds"] / row["samples"], rel=5)
    states = content["checks"]
    assert list(states) == ["measure", "self-test", "tests", "sanitizers"]
    assert states.pop("sanitizers") == "not run: no GPU"
    if not torch.cuda.is_available():
        assert re.fullmatch(r"not run: \d+ skipped in .*", states.pop("tests"))
    assert all(state.startswith("ok") for state in states.values()), states
    text = (tmp_path / "results.md").read_text()
    assert text in done.stdout
    assert f"| {content['rows'][1]['what']} | torch |" in text
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.md", "measure.log", "test.log"}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_model_is_asked_for_as_it_understands(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that measures the model is tested by its own tests; here, that it takes these options."""
    asked: dict[str, Any] = {}

    def record(args: Any) -> None:
        asked.update(vars(args))
        raise ValueError("far enough")

    def start(check: checks.Check, log: Path) -> str:
        assert (log.name, check.command[1:3]) == ("wan.log", ["-m", "benchmarks.wan_full"])
        monkeypatch.setattr(sys, "argv", check.command[2:])
        with pytest.raises(SystemExit):
            wan_full.main()
        return "ok"

    monkeypatch.setattr(checks.Check, "run", start)
    monkeypatch.setattr(wan_full, "run", record)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
    assert dict(program.CHECKS["wan"](tmp_path, device)) == {"wan_full": "ok"}
    assert (asked["device"], asked["size"]) == (device, {"cpu": "tiny", "cuda": "full"}[device])
    assert asked["out"] == tmp_path


def test_at_most_eight_files_come_of_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: argparse.Namespace, found: program.report.Results) -> checks.States:
        (found.folder / "measure.log").touch()
        yield "measure", "ok"

    def start(check: checks.Check, log: Path) -> str:
        log.touch()
        for name in ("json", "md") if check.name == "wan_full" else ():
            (log.parent / f"wan_full.{name}").touch()
        return "ok"

    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    monkeypatch.setattr(program, "run_measure", write)
    monkeypatch.setattr(checks.Check, "run", start)
    monkeypatch.setattr(checks.shutil, "which", lambda *_, **__: "compute-sanitizer")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        program.report, "facts", lambda _: {"processor": "", "torch": "", "triton": "", "commit": "", "date": ""}
    )
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--out", str(tmp_path)])
    assert program.main() == 0
    assert len(list(tmp_path.iterdir())) == 8
    assert list(json.loads((tmp_path / "results.json").read_text())["checks"]) == [
        "measure", "self-test", "tests", "memcheck", "racecheck", "synccheck", "initcheck", "wan_full",
    ]  # fmt: skip


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which Python finds torch, numpy and this package, and no program is found at all."""
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({OPTIONAL}))\n")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "PATH": str(folder)}


def test_measuring_needs_torch_alone(tmp_path: Path, bare: dict[str, str]) -> None:
    out = tmp_path / "out"
    done = run("measure", "wan", "--device", "cpu", "--backends", "cpp", "--out", str(out), **bare)
    assert done.returncode == 0, done.stdout + done.stderr
    content = results(out)
    assert not content["not measured"]
    assert measured(content, "cpp") == OPERATIONS
    assert content["machine"]["commit"] == "unknown", "there is no git"
    assert content["machine"]["triton"] is None
    assert content["checks"]["wan_full"].startswith("not run: expected diffusers, transformers, accelerate, tqdm, av")


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from benchmarks.gpu import __main__, clock, rows

clock.WARM = clock.LEAST = 0.01

def raises(*_, **__):
    raise ValueError("a broken row")

def dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def ends_the_program(*_, **__):
    while "unproject" not in Path(__file__).with_name("out").joinpath("results.json").read_text():
        time.sleep(0.01)
    os.kill(os.getppid(), signal.SIGKILL)

{change}

if __name__ == "__main__":
    sys.exit(__main__.main())
"""


def changed(folder: Path, change: str) -> str:
    """A script that runs the program with some of its functions replaced."""
    path = folder / "changed.py"
    path.write_text(SCRIPT.format(change=change))
    return str(path)


def test_a_row_that_fails_leaves_the_others(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = changed(tmp_path, "rows.overlap_row = raises; rows.insert_row = dies")
    done = run("measure", "--device", "cpu", "--backends", "cpp", "--out", str(out), script=script)
    assert done.returncode == 1, done.stdout + done.stderr
    content = results(out)
    assert measured(content, "cpp") == ["splat", "unproject", "build", "culled read"]
    assert content["not measured"] == ["cpp, overlap: ValueError: a broken row", "cpp, insert: killed by SIGKILL"]
    assert content["checks"]["measure"] == "FAILED (2 rows not measured)"
    assert 'raise ValueError("a broken row")' in (out / "measure.log").read_text()
    assert "* not measured: cpp, insert: killed by SIGKILL" in (out / "results.md").read_text()


def test_what_was_measured_before_the_program_is_killed_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = changed(tmp_path, "rows.insert_row = ends_the_program")
    done = run("measure", "--device", "cpu", "--backends", "cpp", "--out", str(out), script=script)
    assert done.returncode == -9
    assert measured(results(out), "cpp") == ["splat", "overlap", "unproject"]
    assert sorted(path.name for path in out.iterdir()) == ["measure.log", "results.json", "results.md"]


def test_a_backend_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    settings = measure.Settings("cuda", "cpu", "small", tmp_path / "log")
    reason = mk.backends()["cuda"]
    if reason is None:
        pytest.skip("there is a GPU here")
    assert list(measure.measure(settings, time.monotonic() + 60)) == [("", reason)]


def test_a_process_that_does_not_start_costs_its_rows(tmp_path: Path) -> None:
    settings = measure.Settings("cpp", "cpu", "small", tmp_path / "no such folder" / "log")
    reasons = dict(measure.measure(settings, time.monotonic() + 60))
    assert list(reasons) == [case.name for case in rows.cases("cpp", "small")]
    assert set(reasons.values()) == {"no process started: ended with code 1"}


def test_a_row_that_hangs_is_given_up() -> None:
    ours, _theirs = Pipe(duplex=False)
    with mock.patch.object(measure, "ROW_SECONDS", 0.01):
        assert measure.answer(ours, None, time.monotonic() + 60) == "not done after 0 s"
    settings = measure.Settings("cpp", "cpu", "small", Path(os.devnull))
    late = list(measure.measure(settings, time.monotonic() - 1))
    assert late == [(case.name, "no time left") for case in rows.cases("cpp", "small")]


def test_parts_add_to_the_same_file(tmp_path: Path) -> None:
    """What was measured stays until it is measured again; results of another commit go."""
    results = program.report.Results(tmp_path, "cpu")
    row = {"what": "splat", "seconds": 1.0, "goal": None, "nbytes": None, "how": "eager"}
    results.add({"rows": [{**row, "backend": name} for name in ("cuda", "triton")], "checks": {"tests": "ok"}})
    results.add({"not measured": ["triton, insert: no", "triton: no", "cuda, build: no"]})
    again = program.report.Results(tmp_path, "cpu")
    assert again.content == results.content
    again.forget("triton")
    again.add({"rows": [{**row, "backend": "triton", "seconds": 2.0}]})
    again.add({"checks": {"measure": "ok"}, "copy_bandwidth": 2.0})
    content = json.loads((tmp_path / "results.json").read_text())
    assert [(row["backend"], row["seconds"]) for row in content["rows"]] == [("cuda", 1.0), ("triton", 2.0)]
    assert content["not measured"] == ["cuda, build: no"]
    assert content["checks"] == {"tests": "ok", "measure": "ok"}
    content["machine"]["commit"] = "another"
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert not program.report.Results(tmp_path, "cpu").content["rows"]


def alive(pid: int) -> bool:
    """Whether a process runs (one that is a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_check_that_hangs_ends_with_all_its_processes(tmp_path: Path) -> None:
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    state = checks.Check("slow", [sys.executable, "-c", code], 2).run(tmp_path / "log")
    assert state == "not done after 2 s, see log"
    pid, late = int((tmp_path / "log").read_text().splitlines()[-1]), time.monotonic() + 30
    while alive(pid) and time.monotonic() < late:
        time.sleep(0.01)
    assert not alive(pid)


HANGS = """
import os, signal, time
from pathlib import Path
import pytest

@pytest.mark.parametrize("way", ["at once", "a, b"])
def test_it(way):
    both = ("test_it[a, b]", "PASSED test_it.py::test_it[at once]")  # pytest writes a line in pieces
    while way == "a, b" and not all(text in Path("log").read_text() for text in both):
        time.sleep(0.01)
    if way == "a, b":
        os.kill(os.getppid(), signal.SIGKILL)
"""


def test_what_hung_is_named(tmp_path: Path) -> None:
    """A test that kills pytest leaves the log that one leaves which hangs until pytest is killed."""
    (tmp_path / "test_it.py").write_text(HANGS)
    with mock.patch.object(checks, "ROOT", tmp_path):
        check = checks.tests(["test_it.py"])
        assert check.run(tmp_path / "log").startswith("FAILED")
    assert {"-v", "--dist", "worksteal", "-n"} < set(check.command)
    assert checks.unfinished((tmp_path / "log").read_text()) == ["test_it.py::test_it[a, b]"]
    first, second = "test_it.py::test_it[at once]", "test_it.py::test_it[a, b]"
    for log in (
        f"{first} PASSED      [ 50%]\n{second} ",
        f"{first} \n[gw0] [ 50%] PASSED {first} a warning\n{second} a warning of another [process]",
    ):
        assert checks.unfinished(log) == [second]


def test_every_sanitizer_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a program in the place of compute-sanitizer that says how it was called."""
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        '#!/bin/sh\necho "$1 $2, ${PYTORCH_NO_CUDA_MEMORY_CACHING:-0} without caching"\n[ "$2" != racecheck ]\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    states = dict(checks.run_sanitizers(tmp_path, "cuda"))
    assert states == {
        "memcheck": "ok (--tool memcheck, 1 without caching)",
        "racecheck": "FAILED (--tool racecheck, 0 without caching)",
        "synccheck": "ok (--tool synccheck, 0 without caching)",
        "initcheck": "ok (--tool initcheck, 1 without caching)",
    }
    assert (tmp_path / "sanitize.log").read_text().count("== ") == 4
    monkeypatch.setattr(checks.shutil, "which", lambda *_, **__: None)
    missing = dict(checks.run_sanitizers(tmp_path, "cuda"))
    assert missing == {"sanitizers": "not run: compute-sanitizer is not on PATH"}


def test_the_two_commands_can_be_pasted() -> None:
    """Each is short enough, ends in time whatever hangs, and names parts that there are."""
    notes = (ROOT / "benchmarks" / "gpu" / "NOTES.md").read_text().partition("## The two commands\n")[2]
    commands = re.findall(r"```bash\n(.*?)```", notes, re.DOTALL)
    assert len(commands) == 2
    for command, minutes, bounds in zip(
        commands,
        (8, 5),
        (
            program.MEASURE_SECONDS + len(checks.SANITIZERS) * checks.SANITIZER_SECONDS,
            checks.SELF_TEST_SECONDS + checks.TEST_SECONDS,
        ),
        strict=True,
    ):
        assert len(command) <= 2000
        assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0
        limit = re.search(r"timeout (?:-k 5 )?\$\(\((\d+) - SECONDS\)\)", command)
        assert limit
        assert bounds <= int(limit[1]) <= 60 * minutes
        words = shlex.split(command.partition("-m benchmarks.gpu ")[2])
        assert set(words[: words.index("--out")]) <= set(program.PARTS)
        assert words[words.index("--out") + 1] == "${OUT:-out/gpu}"


@pytest.mark.parametrize("built", [True, False])
def test_what_was_built_before_is_taken(built: bool, tmp_path: Path) -> None:
    """`make gpu` and both commands: with an interpreter in the place of Python that says what it was asked to run."""
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\necho "$1 $2" >> {tmp_path}/log\n[ "$1" != -c ] || exit {int(not built)}\n')
    python.chmod(0o755)
    notes = (ROOT / "benchmarks" / "gpu" / "NOTES.md").read_text().partition("## The two commands\n")[2]
    commands = [["bash", "-c", command] for command in re.findall(r"```bash\n(.*?)```", notes, re.DOTALL)]
    for command in [["make", "gpu", f"PYTHON={python}"], *commands]:
        (tmp_path / "log").unlink(missing_ok=True)
        env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "OUT": str(tmp_path)}
        subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True)
        asked = [line.split(" ")[0] for line in (tmp_path / "log").read_text().splitlines() if line[0] != " "]
        assert [word for word in asked if word in ("-c", "setup.py", "-m")] == (
            ["-c", "-m"] if built else ["-c", "setup.py", "-m"]
        )


def test_help_names_the_parts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", "--help"])
    with pytest.raises(SystemExit):
        program.main()
    told = capsys.readouterr().out
    assert all(re.search(rf"^{part} ", told, re.MULTILINE) for part in program.PARTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sanitise", "--device", "cpu"), "PART: expected measure, test, sanitize, wan, got 'sanitise'"),
        (("--device", "cpu", "--backends", "cuda"), "--backends: expected cpp, reference, got 'cuda'"),
        ((), "torch finds no GPU here"),
    ],
)
def test_errors_are_one_line(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["benchmarks.gpu", *arguments, "--out", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as error:
        program.main()
    assert error.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "none").exists()
