# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Programs that check the kernels, each with a time limit and a log of its output."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKERS = min(14, os.cpu_count() or 1)
SELF_TEST_SECONDS, TEST_SECONDS, SANITIZER_SECONDS, WAN_SECONDS = 70, 210, 50, 240
# Tests that need no GPU: the interpreter, the emulation, and the compiled code.
NO_GPU_NEEDED = [f"--ignore=tests/kernels/test_{name}.py" for name in ("triton", "emulation", "device_code")]
SANITIZERS = {
    # every tensor is an allocation of its own, so that an access outside of it is found
    "memcheck": {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
    "racecheck": {},
    "synccheck": {},
    "initcheck": {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
}
SMALL_INPUTS = """
import sys
from mirage_kernels import self_test
found = []
for name in self_test.OPERATIONS:
    found.append(self_test.differs("cuda", "cuda", name))
    print(name, found[-1] or "ok", flush=True)
sys.exit(any(found))
"""


States = Iterator[tuple[str, str]]  # the name of each check, and "ok" or what happened


@dataclasses.dataclass
class Check:
    """A program that has to succeed within a time limit."""

    name: str
    command: list[str]
    seconds: float
    environment: dict[str, str] = dataclasses.field(default_factory=dict)

    def run(self, log: Path) -> str:
        """Run it, and append its output to the log.

        Returns:
            ``ok``, or what happened.
        """
        with log.open("a") as file:
            print("==", self.name, shlex.join(self.command), file=file, flush=True)
            process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(self.seconds)
            except BaseException as error:  # the time limit, or this program is being stopped
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                hung = ", ".join(unfinished(log.read_text(errors="replace")))
                return f"not done after {self.seconds:g} s, see {log.name}" + (f" (running: {hung})" if hung else "")
        last = summary(log.read_text(errors="replace"))
        if code == 0 and re.match(r"=+ \d+ skipped", last):
            return f"not run: {last.strip('= ')}"
        return f"ok ({last})" if code == 0 else f"FAILED ({last})"


def summary(log: str) -> str:
    """The last line, or the summary of pytest where warnings follow it."""
    lines = log.strip().splitlines() or [""]
    ends = [line for line in lines if re.fullmatch(r"=+ .* in [\d.]+s.* =+", line)]
    return (ends or lines)[-1]


def unfinished(log: str) -> list[str]:
    """The tests that ``pytest -v`` started and did not finish."""
    name = r"(\S+\.py::[\w:]+(?:\[.*?\])?)(?= |$)"  # what another process prints may follow on the same line
    started: dict[str, None] = {}
    for line in log.splitlines():
        finished = re.match(rf"\[gw\d+\] \[ *\d+%\] [A-Z]+ {name}", line) or re.match(rf"{name} [A-Z]+ .*%\]", line)
        if finished:
            started.pop(finished[1], None)
        elif running := re.match(name, line):
            started[running[1]] = None
    return list(started)


def self_test() -> Check:
    return Check("self-test", [sys.executable, "-m", "mirage_kernels"], SELF_TEST_SECONDS)


def tests(paths: list[str]) -> Check:
    workers = ["-n", str(WORKERS), "--dist", "worksteal"] if importlib.util.find_spec("xdist") else []
    options = ["-v", "--tb=short", *workers]
    environment = {"MIRAGE_TEST_EMULATION": "0", "OMP_WAIT_POLICY": "PASSIVE"}
    return Check("tests", [sys.executable, "-m", "pytest", *paths, *options], TEST_SECONDS, environment)


def run_tests(folder: Path, device: str) -> States:
    """The self-test, and all tests of the kernels that depend on the GPU; without one, a few that are skipped."""
    log = emptied(folder / "test.log")
    yield "self-test", self_test().run(log)
    if importlib.util.find_spec("pytest") is None:
        yield "tests", "not run: pytest is not installed"
        return
    tables = ["tests/kernels/triton_table.py", "tests/kernels/triton_splat_table.py"]
    paths = ["tests/kernels", *tables, *NO_GPU_NEEDED] if device == "cuda" else ["tests/kernels/test_gpu.py"]
    yield "tests", tests(paths).run(log)


def run_sanitizers(folder: Path, device: str) -> States:
    """Every tool of compute-sanitizer on the CUDA kernels with small inputs."""
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if device != "cuda" or sanitizer is None:
        yield "sanitizers", f"not run: {'compute-sanitizer is not on PATH' if device == 'cuda' else 'no GPU'}"
        return
    log = emptied(folder / "sanitize.log")
    for tool, environment in SANITIZERS.items():
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", sys.executable, "-c", SMALL_INPUTS]
        yield tool, Check(tool, command, SANITIZER_SECONDS, environment).run(log)


def run_wan(folder: Path, device: str) -> States:
    """A chunk of the full-size model on a GPU, or of a tiny one without."""
    from benchmarks import wan_full

    absent = wan_full.missing()
    if absent:
        yield "wan_full", f"not run: {absent}"
        return
    few = "--chunks 3 --budget 120" if device == "cuda" else "--device cpu --chunks 1 --steps 2"
    command = [sys.executable, "-m", "benchmarks.wan_full", "--out", str(folder.resolve()), *few.split()]
    yield "wan_full", Check("wan_full", command, WAN_SECONDS).run(emptied(folder / "wan.log"))


def emptied(log: Path) -> Path:
    log.write_text("")
    return log
