# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""On a machine with a GPU: the self-test, the benchmarks, every test of the kernels, the sanitizer, and a chunk of the
full-size model where diffusers is there. What each said lies in a file of its own; the table is written after the
benchmarks and once more at the end."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import mirage_kernels as mk
from benchmarks import wan_full
from benchmarks.gpu import report
from benchmarks.gpu.clock import Clock
from benchmarks.gpu.rows import Row, Sizes, argsort_rows, measure

ROOT = Path(__file__).resolve().parents[2]
SELECTION = (
    "import sys; from mirage_kernels import self_test; "
    "wrong = [w for o in self_test.OPERATIONS if (w := self_test.differs('cuda', 'cuda', o))]; "
    "print(wrong); sys.exit(bool(wrong))"
)
# What shows on any machine: the interpreter, the emulation, and what was compiled.
PROVED_ELSEWHERE = [f"--ignore=tests/kernels/test_{name}.py" for name in ("triton", "emulation", "device_code")]


@dataclasses.dataclass
class Check:
    """A program that has to end well within its time."""

    name: str
    command: list[str]
    seconds: int

    def run(self, folder: Path) -> str:
        """``ok``, or what happened."""
        log = folder / f"{self.name}.log"
        with log.open("w") as file:
            try:
                code = subprocess.run(
                    self.command,
                    cwd=ROOT,
                    env={**os.environ, "MIRAGE_TEST_EMULATION": "0"},
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    timeout=self.seconds,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                return f"not done after {self.seconds} s, see {log.name}"
        last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
        return f"ok ({last})" if code == 0 else f"FAILED ({last})"


def checks() -> list[Check]:
    python = sys.executable
    workers = ["-n", str(min(8, os.cpu_count() or 1))] if importlib.util.find_spec("xdist") else []
    tests = ["tests/kernels", "tests/kernels/triton_table.py", "tests/kernels/triton_splat_table.py"]
    found = [Check("tests", [python, "-m", "pytest", *tests, *PROVED_ELSEWHERE, "-q", *workers], 270)]
    sanitizer = shutil.which("compute-sanitizer")
    for tool in ("memcheck", "racecheck") if sanitizer else ():
        found.append(
            Check(tool, [str(sanitizer), "--tool", tool, "--error-exitcode", "9", python, "-c", SELECTION], 60)
        )
    return found


def wan_check(folder: Path, *, on_gpu: bool) -> Check:
    """The full-size model on a GPU, a tiny one without; results lie in ``folder``."""
    few = ["--budget", "120"] if on_gpu else ["--device", "cpu", "--steps", "2"]
    command = [sys.executable, "-m", "benchmarks.wan_full", "--out", str(folder.resolve()), "--chunks", "3", *few]
    return Check("wan_full", command, 240)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "gpu", help="folder for results.json and logs")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu: small sizes, to try this out")
    parser.add_argument("--skip-wan", action="store_true", help="leave out the chunk of the full-size model")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU here")
    args.out.mkdir(parents=True, exist_ok=True)
    on_gpu = args.device == "cuda"
    states = {"self-test": Check("self_test", [sys.executable, "-m", "mirage_kernels"], 120).run(args.out)}
    print("self-test:", states["self-test"], flush=True)

    clock, sizes = Clock(args.device), Sizes.full() if on_gpu else Sizes.small()
    result: dict[str, Any] = {"kind": "gpu", "machine": report.facts(args.device), "data": report.DATA}
    result |= {"method": report.METHOD, "not measured": [], "checks": states}
    result["copy_bandwidth"] = clock.copy_bandwidth(1 << (31 if on_gpu else 24))
    baseline, result["argsort"] = argsort_rows(clock, 31_680 if on_gpu else 2000)
    rows = list(baseline)
    names = ("cuda", "triton", "reference") if on_gpu else ("cpp",)
    for name in names:
        if mk.backends()[name] is not None:
            result["not measured"].append(f"{name}: {mk.backends()[name]}")
            continue
        for row in measure(clock, name, sizes):
            if isinstance(row, Row):
                rows.append(row)
                print(f"{row.what}, {row.backend}: {row.seconds * 1e6:.1f} us", flush=True)
            else:
                result["not measured"].append(row)
                print("not measured:", row, flush=True)
        result["rows"] = [row._asdict() for row in rows]
        report.write(args.out, result)
    left_out = "left out, as asked" if args.skip_wan else wan_full.missing()
    result["not measured"] += [f"wan_full: {left_out}"] if left_out else []
    wan = [] if left_out else [wan_check(args.out, on_gpu=on_gpu)]
    for check in (checks() if on_gpu else []) + wan:
        states[check.name] = check.run(args.out)
        print(f"{check.name}: {states[check.name]}", flush=True)
        report.write(args.out, result)
    report.write(args.out, result)
    for name in ("results", *(check.name for check in wan if states[check.name].startswith("ok"))):
        print((args.out / f"{name}.md").read_text())
    return 0 if all(state.startswith("ok") for state in states.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
