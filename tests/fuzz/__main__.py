# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Fuzz every reader and every public operation: ``python tests/fuzz``. Or run one input: ``--replay FILE``.

Each target has a process of its own and an equal share of the time. An input of each fault is written to a folder that
is named, with the line that runs it again. Inputs that reach new code are kept in ``out/fuzz/corpus`` for the next run.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import shutil
import sys
import time
from contextlib import redirect_stderr
from fnmatch import fnmatch
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MISSING = (
    f"make fuzz: atheris cannot be had for Python {sys.version_info[0]}.{sys.version_info[1]} on this system; it has "
    "wheels for Python 3.10 to 3.14 on Linux, x86-64: make fuzz PYTHON=python3.11"
)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python tests/fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="time for all targets together (default: 60)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time (default: 1)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "fuzz", help="folder of corpus, faults and logs")
    parser.add_argument("--only", default="*", help="names of targets, as in 'file-*'")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run an input in the folder of its target")
    return parser.parse_args(argv)


def has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def prepare() -> None:
    """Let the modules of the tests be found, and libraries use one thread: processes are forked."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    sys.path[:0] = [str(ROOT / "tests" / "mirage"), str(ROOT)]


def replay(path: Path) -> None:
    """Run one input. What it raises is shown."""
    import torch
    from fuzz_targets import TARGETS

    torch.set_num_threads(1)
    name = path.resolve().parent.name
    if name not in TARGETS:
        sys.exit(f"--replay: expected a file in a folder with the name of a target, got {path}")
    TARGETS[name].run(path.read_bytes())
    print(f"{name}: no fault")


def fuzz_all(asked: argparse.Namespace) -> int:
    """Fuzz the targets, print a table, and return the exit code."""
    import atheris

    with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=["mirage", "mirage_kernels"]):
        import fuzz_targets  # atheris prints the name of every module
    import torch
    from fuzz_process import Row, Running

    torch.set_num_threads(1)
    waiting = [target for name, target in fuzz_targets.TARGETS.items() if fnmatch(name, asked.only)]
    if not waiting:
        sys.exit(f"--only: expected names of targets such as splat, got {asked.only}")
    shutil.rmtree(asked.out / "faults", ignore_errors=True)
    seconds, total, begin = asked.seconds * asked.jobs / len(waiting), len(waiting), time.monotonic()
    running: dict[int, Running] = {}
    rows: list[Row] = []
    failed = False
    while waiting or running:
        while waiting and len(running) < asked.jobs:
            started = Running(waiting.pop(0), asked.out, seconds)
            running[started.child] = started
        child, status = os.wait()
        ended = running.pop(child)
        row = ended.ended(os.waitstatus_to_exitcode(status))
        if row is None:
            running[ended.child] = ended
            continue
        rows.append(row)
        failed = failed or ended.failed
        state = "FAILED TO RUN, see its log" if ended.failed else f"{len(row.faults)} faults"
        print(f"[{len(rows)}/{total}] {row.name}: {row.runs} executions, {state}", flush=True)
    report(rows, asked.out, time.monotonic() - begin)
    return int(failed or any(row.faults for row in rows))


def report(rows: list, out: Path, seconds: float) -> None:
    """Print what came of all targets, and how to run each fault again."""
    head = ("target", "executions", "per s", "cov", "ft", "corpus", "faults")
    cells = [
        (r.name, r.runs, round(r.runs / max(r.seconds, 1e-3)), r.coverage, r.features, r.corpus, len(r.faults))
        for r in sorted(rows)
    ]
    runs, faults = sum(row.runs for row in rows), [path for row in rows for path in row.faults]
    cells.append(("all", runs, round(runs / seconds), "", "", sum(row.corpus for row in rows), len(faults)))
    width = max(len(row[0]) for row in [head, *cells])
    for row in [head, *cells]:
        print(f"{row[0]:<{width}}" + "".join(f"{value:>12}" for value in row[1:]))
    print(f"{seconds:.0f} s; logs and corpus: {out}")
    for path in faults:
        text = path.with_suffix(".txt")
        last = text.read_text().strip().splitlines()[-1][:200] if text.exists() else "the process ended"
        print(f"{path.parent.name}: {last}\n    make fuzz REPLAY={path}")


def main(argv: list[str]) -> int:
    asked = parse(argv)
    prepare()
    if asked.replay is not None:
        replay(asked.replay)
        return 0
    if not has_atheris():
        sys.exit(MISSING)
    return fuzz_all(asked)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
