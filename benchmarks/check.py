# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Has a kernel become slower? ``make bench-check`` says so, by ratios that are kept in ``baseline.json``.

A ratio is an operation's processor time over that of a yardstick, something of torch that slows with it, called in turn
with it, both on one thread: machines are shared, and so what slows one slows the other. (What only several threads
show, such as a loop that is no longer shared out, it does not see; the suites do.) Ratios differ from processor to
processor by far more than what is to be noticed, so each has its own in the file, with how much they varied when they
were kept; ``make bench-baseline`` adds one. For a processor without, the commit of a baseline is built
in a folder of its own and measured in turn with the present code. Every measurement is a process of its own, because
where its memory comes to lie makes as much difference as all else. What exceeds its bound is measured again and again;
it is worse if the median of all exceeds it.
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
from benchmarks import cases, machine
from benchmarks.sizes import CHUNK, POINTS
from benchmarks.timing import Case

KEPT = Path(__file__).with_name("baseline.json")
ROOT = KEPT.parents[1]
SECONDS = 0.7  # of one ratio, for our side of it
ROUNDS = (15, 200)
REPEATS = 9  # of ratios that are to be kept
BOUNDS = (0.12, 0.17)  # a ratio may exceed its baseline by twice what it varied, at least and at most
TRIES = (5, 11)  # what is compared is the median of so many; of more where the first ones exceed the bound


class Watched(NamedTuple):
    """An operation, and the yardstick, ``product`` or ``copy``, to which its ratio varies less; with another one it
    needs a new baseline. The quick ones hold on a busy machine too; the others ask for so much fresh memory that they
    do not."""

    make: Callable[[], Case]
    yardstick: str
    quick: bool = True


WATCHED = {
    "unproject": Watched(lambda: cases.lift("room", CHUNK), "product"),
    "splat": Watched(lambda: cases.draw("room", POINTS[0]), "copy"),
    "splat of a chunk": Watched(lambda: cases.draw("room", CHUNK), "copy"),
    "splat with extents": Watched(lambda: cases.draw("room", CHUNK, "extents"), "copy"),
    "splat, bilinear": Watched(lambda: cases.draw("room", CHUNK, "bilinear"), "copy", quick=False),
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
    """How many times as long as the yardstick: the median over pairs of calls, on one thread."""
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
    """What a baseline holds for: the processor, and the instructions of it that are used."""
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
    """The ratios of these operations, in a process of its own, of the code in a folder."""
    command = [sys.executable, "-m", "benchmarks.check", "--measure", *names]
    run = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(run.stdout)
    return found


@contextlib.contextmanager
def built(commit: str, repository: Path = ROOT) -> Iterator[Path]:
    """A folder with the code of a commit, its kernels built for this processor.

    Raises:
        SystemExit: there is no such commit here, or it cannot be built.
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
    """Measure every ratio several times and keep them for this processor.

    Raises:
        SystemExit: the code is no commit's, so that nothing could be compared with it elsewhere.
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
    path.write_text(json.dumps(read(path) | {here(): facts | {"ratios": found}}, indent=1) + "\n")


def bound(varied: float) -> float:
    """What a ratio may be over its baseline, 1 for none."""
    return 1 + min(max(2 * varied, BOUNDS[0]), BOUNDS[1])


def compare(usual: Callable[[list[str]], dict[str, float]], most: dict[str, float]) -> dict[str, float]:
    """The median of a few ratios over the usual ones, by operation; at most ``most`` is nothing to ask twice about."""
    found: dict[str, list[float]] = {name: [] for name in most}
    left = list(most)
    for count in range(1, TRIES[1] + 1):
        was = usual(left)
        for name, value in measure(left).items():
            found[name].append(value / was[name])
        if count >= TRIES[0]:
            left = [name for name in left if median(found[name]) > most[name]]
        if not left:
            break
    return {name: median(values) for name, values in found.items()}


def check(names: Iterable[str], path: Path = KEPT) -> list[str]:
    """What became slower, a line each."""
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
    most = {name: bound(baseline["ratios"][name]["varied"]) for name in names}
    if own:
        found = compare(lambda left: {name: baseline["ratios"][name]["ratio"] for name in left}, most)
    else:
        with built(baseline["commit"]) as tree:
            found = compare(lambda left: measure(left, tree), most)
    worse = []
    for name, now in found.items():
        line = f"{name}: {now:.2f} of its baseline (at most {most[name]:.2f})"
        if own:
            line += f", which is {baseline['ratios'][name]['ratio']:g} times a {WATCHED[name].yardstick}"
        print(line, flush=True)
        worse += [line] if now > most[name] else []
    return worse


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only what a busy machine does not disturb")
    parser.add_argument("--keep", action="store_true", help="measure the baseline of this processor, and keep it")
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
