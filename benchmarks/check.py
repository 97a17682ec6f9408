# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The regression check, ``make bench-check``: has a kernel become slower than ``baseline.json`` says?

A ratio is the processor time of an operation divided by that of a yardstick, an operation of torch, in alternate calls
on one thread. Machines are shared, and whatever slows one down slows the other down too. (A loop that no longer runs
in parallel goes unnoticed here; the suites show it.) Ratios differ between processors by more than a regression does,
so that the file has ratios for each processor, with their variation; ``make bench-baseline`` adds them. For another
processor, the commit of a baseline is built in a temporary folder and measured alternately with the present code.
Every measurement is a process of its own, because the memory layout makes as much difference as everything else. An
operation that exceeds its bound is measured several times more; it is slower if the median of all exceeds the bound.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from tqdm import tqdm  # type: ignore[import-untyped]

import mirage_kernels as mk
from benchmarks import cases
from benchmarks.sizes import CHUNK, POINTS
from benchmarks.timing import Case
from mirage.evaluation import machine

KEPT = Path(__file__).with_name("baseline.json")
ROOT = KEPT.parents[1]
SECONDS = 0.7  # of our calls, per ratio
ROUNDS = (15, 200)
REPEATS = 9  # for a baseline
BOUNDS = (0.12, 0.17)  # a ratio may exceed its baseline by twice its variation, within these limits
TRIES = (5, 11)  # measurements whose median is compared: at first, and at most where the bound is exceeded


class Watched(NamedTuple):
    """An operation with its yardstick, ``product`` or ``copy``, whichever varies less with it; a change needs a new
    baseline. Quick ones are reliable on a busy machine too; the others allocate too much memory for that."""

    make: Callable[[], Case]
    yardstick: str
    quick: bool = True


WATCHED = {
    "unproject": Watched(lambda: cases.unproject_chunk("room", CHUNK), "product"),
    "splat": Watched(lambda: cases.splat_cloud("room", POINTS[0]), "copy"),
    "splat of a chunk": Watched(lambda: cases.splat_cloud("room", CHUNK), "copy"),
    "splat with extents": Watched(lambda: cases.splat_cloud("room", CHUNK, "extents"), "copy"),
    "splat, bilinear": Watched(lambda: cases.splat_cloud("room", CHUNK, "bilinear"), "copy", quick=False),
    "build": Watched(lambda: cases.build("room", CHUNK), "copy", quick=False),
    "insert": Watched(lambda: cases.insert("room", 100_000), "copy", quick=False),
    "read": Watched(lambda: cases.read("room", 1_000_000), "copy", quick=False),
    "retrieve": Watched(lambda: cases.retrieve("room"), "product", quick=False),
    "memory step": Watched(lambda: cases.memory_step("room", CHUNK), "copy", quick=False),
}


def yardsticks() -> dict[str, Callable[[], Any]]:
    a, source = torch.ones(512, 512), torch.ones(1 << 24)
    target = torch.empty_like(source)
    return {"product": lambda: a @ a, "copy": lambda: target.copy_(source)}


def processor_time(call: Callable[..., Any], *arguments: Any) -> float:
    begin = time.thread_time()
    call(*arguments)
    return time.thread_time() - begin


def ratio(case: Case, yardstick: Callable[[], Any]) -> float:
    """The time relative to the yardstick: the median over pairs of calls, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    try:
        with mk.use_backend("cpp"):
            once = processor_time(case.run, *case.prepare())
            rounds = int(min(max(SECONDS / (once + 1e-9), ROUNDS[0]), ROUNDS[1]))
            for _ in range(rounds):
                arguments = case.prepare()
                ours = processor_time(case.run, *arguments)
                yardstick()
                times.append(ours / processor_time(yardstick))
    finally:
        torch.set_num_threads(threads)
    return median(times)


def here() -> str:
    """The key of a baseline: the processor and its instruction set."""
    return f"{machine.processor()}, {mk.instruction_sets()[-1]}"


def read(path: Path = KEPT) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SystemExit(f"{path}: expected the baseline as JSON: {error}") from None
    return kept


def measure(names: Iterable[str], root: Path = ROOT) -> dict[str, float]:
    """The ratios of operations, measured in a new process with the code in a folder."""
    command = [sys.executable, "-m", "benchmarks.check", "--measure", *names]
    run = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(run.stdout)
    return found


@contextlib.contextmanager
def built(commit: str, repository: Path = ROOT) -> Iterator[Path]:
    """A temporary folder with the code of a commit, its kernels built for this processor.

    Raises:
        SystemExit: the commit does not exist, or cannot be built.
    """
    with tempfile.TemporaryDirectory() as folder:
        tree = subprocess.run(["git", "archive", commit], cwd=repository, capture_output=True, check=False)
        if tree.returncode:
            reason = tree.stderr.decode(errors="replace").strip()
            raise SystemExit(
                f"baseline: expected commit {commit} to compare with, or a baseline of this processor (make "
                f"bench-baseline): {reason}"
            )
        subprocess.run(["tar", "-x"], cwd=folder, input=tree.stdout, check=True)
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        build = subprocess.run(
            command, cwd=folder, env=os.environ | {"MIRAGE_CUDA": "0"}, capture_output=True, text=True, check=False
        )
        if build.returncode:
            raise SystemExit(f"baseline: commit {commit} does not build here:\n{build.stderr}")
        yield Path(folder)


def keep(names: Iterable[str], path: Path = KEPT) -> None:
    """Measure every ratio several times and write the medians for this processor.

    Raises:
        SystemExit: the code is not that of a commit, which another machine could build.
    """
    facts = {name: machine.facts()[name] for name in ("torch", "commit", "date")}
    if facts["commit"] == "unknown" or facts["commit"].endswith("-dirty"):
        raise SystemExit(f"baseline: expected the code of a commit, got {facts['commit']}")
    names = list(names)
    runs = [measure(names) for _ in tqdm(range(REPEATS), unit="process", desc="baseline")]
    found = {}
    for name in names:
        values = sorted(run[name] for run in runs)
        middle = median(values)
        found[name] = {"ratio": round(middle, 4), "varied": round(max(values[-1] / middle, middle / values[0]) - 1, 4)}
    with mk.atomic_write(path) as partial:
        partial.write_text(json.dumps(read(path) | {here(): facts | {"ratios": found}}, indent=1) + "\n")


def bound(varied: float) -> float:
    """The largest acceptable ratio relative to its baseline."""
    return 1 + min(max(2 * varied, BOUNDS[0]), BOUNDS[1])


def compare(usual: Callable[[list[str]], dict[str, float]], bounds: dict[str, float]) -> dict[str, float]:
    """Compare operations with the usual ratios.

    Args:
        usual: returns the usual ratios of operations.
        bounds: the largest acceptable value by operation; only operations that exceed it are measured again.

    Returns:
        The median over all measurements of ratio / usual ratio, by operation.
    """
    found: dict[str, list[float]] = {name: [] for name in bounds}
    left = list(bounds)
    for count in range(1, TRIES[1] + 1):
        was = usual(left)
        for name, value in measure(left).items():
            found[name].append(value / was[name])
        if count >= TRIES[0]:
            left = [name for name in left if median(found[name]) > bounds[name]]
        if not left:
            break
    return {name: median(values) for name, values in found.items()}


def check(names: Iterable[str], path: Path = KEPT) -> list[str]:
    """One line for each operation that became slower."""
    kept, names = read(path), list(names)
    if not kept:
        raise SystemExit(f"{path}: expected a baseline; make bench-baseline measures one")
    own = here() in kept
    baseline = kept[here()] if own else max(kept.values(), key=lambda one: one["date"])
    for name in names:
        if name not in baseline["ratios"]:
            raise SystemExit(f"{path}: expected a ratio of {name!r}; make bench-baseline measures it")
    how = "the baseline is of" if own else "no baseline of this processor; measured in turn with"
    print(f"{here()}: {how} commit {baseline['commit']}, {baseline['date']}", flush=True)
    bounds = {name: bound(baseline["ratios"][name]["varied"]) for name in names}
    if own:
        found = compare(lambda left: {name: baseline["ratios"][name]["ratio"] for name in left}, bounds)
    else:
        with built(baseline["commit"]) as tree:
            found = compare(lambda left: measure(left, tree), bounds)
    worse = []
    for name, now in found.items():
        line = f"{name}: {now:.2f} of its baseline (at most {bounds[name]:.2f})"
        if own:
            line += f", which is {baseline['ratios'][name]['ratio']:g} times a {WATCHED[name].yardstick}"
        print(line, flush=True)
        worse += [line] if now > bounds[name] else []
    return worse


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only operations that are reliable on a busy machine")
    parser.add_argument("--keep", action="store_true", help="measure the baseline of this processor and write it")
    parser.add_argument(
        "--measure", nargs="+", choices=WATCHED, metavar="NAME", help="print the ratios of these as JSON"
    )
    args = parser.parse_args()
    if args.measure:
        sticks = yardsticks()
        print(json.dumps({name: ratio(WATCHED[name].make(), sticks[WATCHED[name].yardstick]) for name in args.measure}))
        return 0
    if args.keep:
        keep(WATCHED)
        return 0
    worse = check([name for name, one in WATCHED.items() if one.quick or not args.quick])
    for line in worse:
        print("slower:", line, file=sys.stderr)
    return bool(worse)


if __name__ == "__main__":
    sys.exit(main())
