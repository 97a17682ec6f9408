# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Fuzz one target in a process of its own, since libFuzzer and crashes end the process."""

from __future__ import annotations

import hashlib
import os
import random
import re
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from fuzz_calls import FaultError
from fuzz_targets import Target, regressions

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 25  # seconds for an input, on a machine that does other things as well
RESTARTS = 5  # after a crash


class Folders(NamedTuple):
    """The folders of one target.

    Attributes:
        corpus: inputs that reach new code, kept from run to run.
        seeds: the first inputs, written in each run.
        faults: an input for each fault, and its description in a text file.
        log: the output of libFuzzer.
    """

    corpus: Path
    seeds: Path
    faults: Path
    log: Path

    @classmethod
    def of(cls, out: Path, name: str) -> Folders:
        made = cls(out / "corpus" / name, out / "seeds" / name, out / "faults" / name, out / "logs" / f"{name}.txt")
        for folder in (made.corpus, made.seeds, made.faults, made.log.parent):
            folder.mkdir(parents=True, exist_ok=True)
        return made


def signature(error: BaseException) -> str:
    """Return what two faults have in common that are of the same cause: type, place, and message without values."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(ROOT))]
    place = (
        "" if isinstance(error, FaultError) or not frames else f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    )
    text = re.sub(r"-?\d[\d.e+]*|'[^']*'|/[^ ]*|\([^)]*\)", "", str(error))[:80]
    return f"{type(error).__name__} {place} {text}"


def limit_memory(size: int) -> None:
    """Bound the memory that this process may take beyond what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + size,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Recorder:
    """Runs a target, and keeps an input of each fault, so that fuzzing goes on after it."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._target, self._folder = target, folder

    def __call__(self, data: bytes) -> None:
        try:
            self._target.run(data)
        except Exception as error:
            self._record(error, data)

    def _record(self, error: Exception, data: bytes) -> None:
        name = hashlib.sha256(signature(error).encode()).hexdigest()[:12]
        path = self._folder / name
        if path.exists() and path.stat().st_size <= len(data):
            return
        path.write_bytes(data)
        path.with_suffix(".txt").write_text("".join(traceback.format_exception(error)), errors="backslashreplace")


def fuzz(target: Target, folders: Folders, seconds: int) -> None:
    """Fuzz a target in this process, which libFuzzer ends."""
    import atheris

    null = os.open(os.devnull, os.O_RDONLY)
    log = os.open(folders.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, opened in ((0, null), (1, log), (2, log)):
        os.dup2(opened, number)
    limit_memory(target.memory)
    arguments = ["fuzz", str(folders.corpus), str(folders.seeds), f"-max_total_time={seconds}", f"-timeout={TIMEOUT}",
                 "-rss_limit_mb=4096", f"-artifact_prefix={folders.faults}/", f"-max_len={target.max_len}",
                 "-print_final_stats=1", "-len_control=0", "-reload=0",
                 "-report_slow_units=100000"]  # fmt: skip
    options: dict[str, Any] = {}
    if target.mutate is not None:

        def mutate(data: bytes, max_size: int, seed: int) -> bytes:
            pick = random.Random(seed)
            if pick.random() < 0.3:
                return atheris.Mutate(data, max_size)
            assert target.mutate is not None
            return target.mutate(data, pick)[:max_size]

        options["custom_mutator"] = mutate
    atheris.Setup(arguments, Recorder(target, folders.faults), **options)
    atheris.Fuzz()


def start(target: Target, folders: Folders, seconds: int) -> int:
    """Fuzz a target in a new process, and return its number."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fuzz(target, folders, seconds)
        except SystemExit as error:
            code = int(error.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def write_seeds(target: Target, folder: Path) -> None:
    """Write the first inputs of a target, and those that showed a fault once."""
    for data in (*target.seeds(), *(path.read_bytes() for path in regressions(target.name))):
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


class Row(NamedTuple):
    """What came of fuzzing a target."""

    name: str
    runs: int
    seconds: float
    coverage: int
    features: int
    corpus: int
    faults: list[Path]


def summarize(name: str, folders: Folders, seconds: float) -> Row:
    """Read the log of a target."""
    text = folders.log.read_text(errors="replace")
    runs = sum(int(number) for number in re.findall(r"^stat::number_of_executed_units: +(\d+)", text, re.MULTILINE))
    if not runs:
        runs = max([int(number) for number in re.findall(r"^#(\d+)", text, re.MULTILINE)], default=0)
    reached = re.findall(r"cov: (\d+) ft: (\d+)", text)
    faults = sorted(path for path in folders.faults.iterdir() if path.suffix != ".txt")
    coverage, features = (int(value) for value in reached[-1]) if reached else (0, 0)
    return Row(name, runs, seconds, coverage, features, len(list(folders.corpus.iterdir())), faults)


class Running:
    """A target that is being fuzzed.

    Args:
        target: the target.
        out: the folder of all targets.
        seconds: time to fuzz it for, together with what follows a crash.
    """

    def __init__(self, target: Target, out: Path, seconds: float) -> None:
        self._target, self._folders, self._seconds = target, Folders.of(out, target.name), seconds
        self._folders.log.write_text("")
        write_seeds(target, self._folders.seeds)
        self._begin, self._starts, self.failed = time.monotonic(), 0, False
        self.child = self._start()

    def _left(self) -> float:
        return self._seconds - (time.monotonic() - self._begin)

    def _start(self) -> int:
        self._starts += 1
        return start(self._target, self._folders, max(1, int(self._left())))

    def ended(self, code: int) -> Row | None:
        """Go on after a crash, if time is left; otherwise return what came of it.

        Args:
            code: exit code of the process.
        """
        if code != 0 and self._left() > 1 and self._starts <= RESTARTS and any(self._folders.faults.iterdir()):
            self.child = self._start()
            return None
        row = summarize(self._target.name, self._folders, time.monotonic() - self._begin)
        self.failed = code != 0 and not row.faults  # it could not even be fuzzed
        return row
