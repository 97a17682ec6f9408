# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What `make gpu` runs, on a CPU and small: its own code must not be what fails on a machine with a GPU."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch.overrides import TorchFunctionMode

import mirage_kernels as mk
from benchmarks import timing, wan_full
from benchmarks.gpu import __main__ as program
from benchmarks.gpu import checks, clock, measure, rows
from benchmarks.report import schema
from mirage_kernels import backend

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
    content = json.loads((folder / "results.json").read_text())
    schema.check(content, schema.FILES["gpu"], "")
    return dict(content)


def measured(content: dict[str, Any], backend: str) -> list[str]:
    """The operations that a backend has rows of, in order."""
    return [next(o for o in OPERATIONS if r["what"].startswith(o)) for r in content["rows"] if r["backend"] == backend]


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
    assert program.CHECKS["wan"](tmp_path, device) == {"wan_full": "ok"}
    assert (asked["device"], asked["size"]) == (device, {"cpu": "tiny", "cuda": "full"}[device])
    assert asked["out"] == tmp_path


def test_at_most_eight_files_come_of_all_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_: argparse.Namespace, found: program.report.Results) -> str:
        (found.folder / "measure.log").touch()
        return "ok"

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
    """What was measured stays, but for the backend that is measured again; results of another commit go."""
    results = program.report.Results(tmp_path, "cpu")
    row = {"what": "splat", "seconds": 1.0, "goal": None, "nbytes": None, "how": "eager"}
    results.add({"rows": [{**row, "backend": name} for name in ("cuda", "triton")], "checks": {"tests": "ok"}})
    results.add({"not measured": ["triton, insert: no", "triton: no", "cuda, build: no"]})
    again = program.report.Results(tmp_path, "cpu")
    assert again.content == results.content
    again.forget("triton")
    again.add({"checks": {"measure": "ok"}, "copy_bandwidth": 2.0})
    content = json.loads((tmp_path / "results.json").read_text())
    assert [row["backend"] for row in content["rows"]] == ["cuda"]
    assert content["not measured"] == ["cuda, build: no"]
    assert content["checks"] == {"tests": "ok", "measure": "ok"}
    content["machine"]["commit"] = "another"
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert not program.report.Results(tmp_path, "cpu").content["rows"]


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
        if to == "cuda:0":
            return args[0].as_subclass(There)
        if to == "cpu" or function == torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        if str(kwargs.get("device")) == "cuda:0":
            return function(*args, **{**kwargs, "device": "cpu"}).as_subclass(There)
        return function(*args, **kwargs)


@contextlib.contextmanager
def stand_in() -> Iterator[clock.Clock]:
    """The backend ``cuda`` was asked for and refuses tensors of the CPU, as where there is a GPU; its operations are
    the C++ kernels."""
    generator = torch.Generator()
    timer = clock.Clock("cuda:0", graphs=False)
    with (
        mock.patch.object(backend, "_why_not", return_value=None),
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
        with pytest.raises(RuntimeError, match="'cuda' was asked for"):
            mk.splat(*rows.room(9, 1)[:1], torch.ones(9, 1), rows.room(9, 1)[1])
        for case in rows.cases(backend_name, "small"):
            assert case.row(timer).timing.samples >= 1, case.name


def test_checks_of_the_suites_may_compute_on_the_cpu() -> None:
    asked: list[str | None] = []

    def note(*_: Any) -> None:
        asked.append(backend._asked)

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
    while way == "a, b" and not (way in Path("log").read_text() and "PASSED" in Path("log").read_text()):
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
    alone = "test_it.py::test_it[at once] PASSED      [ 50%]\ntest_it.py::test_it[a, b] "
    assert checks.unfinished(alone) == ["test_it.py::test_it[a, b]"]


def test_every_sanitizer_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a program in the place of compute-sanitizer that says how it was called."""
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        '#!/bin/sh\necho "$1 $2, ${PYTORCH_NO_CUDA_MEMORY_CACHING:-0} without caching"\n[ "$2" != racecheck ]\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    states = checks.run_sanitizers(tmp_path, "cuda")
    assert states == {
        "memcheck": "ok (--tool memcheck, 1 without caching)",
        "racecheck": "FAILED (--tool racecheck, 0 without caching)",
        "synccheck": "ok (--tool synccheck, 0 without caching)",
        "initcheck": "ok (--tool initcheck, 1 without caching)",
    }
    assert (tmp_path / "sanitize.log").read_text().count("== ") == 4
    monkeypatch.setattr(checks.shutil, "which", lambda *_, **__: None)
    missing = checks.run_sanitizers(tmp_path, "cuda")
    assert missing == {"sanitizers": "not run: compute-sanitizer is not on PATH"}


def test_the_two_commands_can_be_pasted() -> None:
    """Each is short enough, ends in time whatever hangs, and names parts that there are."""
    notes = (ROOT / "benchmarks" / "gpu" / "NOTES.md").read_text().partition("## The two commands\n")[2]
    commands = re.findall(r"```sh\n(.*?)```", notes, re.DOTALL)
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
        assert words[words.index("--out") + 1] == "$OUT"


@pytest.mark.parametrize("built", [True, False])
def test_what_was_built_before_is_taken(built: bool, tmp_path: Path) -> None:
    """`make gpu` and both commands: with an interpreter in the place of Python that says what it was asked to run."""
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\necho "$1 $2" >> {tmp_path}/log\n[ "$1" != -c ] || exit {int(not built)}\n')
    python.chmod(0o755)
    notes = (ROOT / "benchmarks" / "gpu" / "NOTES.md").read_text().partition("## The two commands\n")[2]
    commands = [["bash", "-c", command] for command in re.findall(r"```sh\n(.*?)```", notes, re.DOTALL)]
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
