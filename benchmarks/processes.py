# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How much faster several processes go through a list: ``mirage eval closed-loop --list`` by one process and by two.

``python -m benchmarks.processes`` draws rooms, walks through each with mirage-nano and without its memory, with one
thread a process, and writes ``processes.json``: the seconds from the start of the commands to the summary, loading the
packages and the model included, and whether both summaries have the same numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from mirage.data.procedural import ProceduralScene
from mirage.evaluation import _studies
from mirage.io.images import write_image

WALKS, SIZE, FIRST_SEED = 8, (256, 384), 20_000_000
COMMON = ["--trajectory", "pan", "--amount", "60", "--frames", "49", "--model", "nano"]


def write_list(folder: Path, count: int) -> Path:
    """Write images and depth of procedural scenes, and a list of walks from them."""
    lines = []
    for number in range(count):
        clip = ProceduralScene(FIRST_SEED + number, frames=1).clip(size=SIZE)
        k = clip.cameras.intrinsics[0]
        write_image(folder / f"{number}.png", clip.frames[0])
        np.save(folder / f"{number}.npy", clip.depth[0].numpy())
        lines.append({
            "name": f"room-{number}", "image": f"{number}.png", "depth": f"{number}.npy",
            "intrinsics": ",".join(str(k[at].item()) for at in ((0, 0), (1, 1), (0, 2), (1, 2))),
        })  # fmt: skip
    path = folder / "walks.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return path


def run(path: Path, out: Path, processes: int) -> float:
    """Go through the list with processes at the same time, and return the seconds that it took."""
    command = [sys.executable, "-m", "mirage", "eval", "closed-loop", "--list", str(path), "--out", str(out), *COMMON]
    begin = time.perf_counter()
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1", "RANK": str(rank), "WORLD_SIZE": str(processes)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for rank in range(processes)
    ]
    for process in started:
        if process.wait():
            raise RuntimeError(f"{' '.join(command)}: expected exit status 0, got {process.returncode}")
    return time.perf_counter() - begin


def numbers(out: Path) -> dict[str, Any]:
    """The summary without what depends on the time and the machine."""
    found = json.loads((out / "summary.json").read_text())
    for scores in found["summary"].values():
        del scores["seconds"]
    return {name: found[name] for name in ("summary", "laps", "walks")}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.processes", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/evaluation"), metavar="DIR", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        metavar="N",
        help="runs with one process, each followed by one with two (default: %(default)s)",
    )
    args = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    same = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_list(folder, WALKS)
        for turn in range(args.rounds):
            for processes, spent in seconds.items():
                spent.append(run(path, folder / f"{processes}-{turn}", processes))
            same &= numbers(folder / f"1-{turn}") == numbers(folder / f"2-{turn}")
    _studies.write(
        args.out,
        "processes",
        f"{WALKS} procedural rooms.",
        f"mirage eval closed-loop {' '.join(COMMON)}, one thread a process; seconds from the start of the commands to "
        "the summary; runs with one process and with two alternate.",
        walks=WALKS,
        seconds={str(processes): spent for processes, spent in seconds.items()},
        same_numbers=same,
    )


if __name__ == "__main__":
    main()
