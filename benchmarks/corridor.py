# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Is a memory as fast after ten thousand chunks as after ten?

A walk down a corridor without end, 2.4 m wide and high. Every chunk moves 0.3 m on and writes the walls from the camera
to 2.7 m ahead, of which the last 0.3 m are new (about 1,100 voxels), then reads nine views. The visible surface is the
same in every chunk after the first few. ``python -m benchmarks.corridor`` measures it and writes ``corridor.json``, of
which ``python -m benchmarks.report`` draws the curves.

* *read*: the median of 200 reads after that chunk, in turn with reads of a copy of the cache as it was after chunk 10,
  so that the ratio holds when the machine's speed drifts. Then, in turn with reads without culling, which go through
  all rows and leave nothing of another in the processor's caches: the ratio that culling is worth.
* *insert*: the mean over the chunks since half as many (so that growth is averaged in). The first hundred chunks are
  over in milliseconds, so their figures are medians of nine processes that walk no farther: each begins, as a walk
  does, with memory that was never used (later caches of one process are handed that of earlier ones, which is faster).
* *append-only*: ``torch.cat`` of what each chunk adds, in float32, read by the same kernels, which look at every point;
  until a write takes 20 ms.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks import machine, scenes
from mirage_kernels import Cameras, VoxelCache, splat

HALF, STEP, SIGHT, SPACING = 1.2, 0.3, 2.7, 0.05
VOXEL = 0.04
CHUNKS = 10_000
CHECKED = (10, 30, 100, 300, 1000, 2000, 3000, 5000, 7000, 10_000)
EARLY, EARLY_RUNS = 100, 9  # chunks, and processes that walk so far
LONGEST_APPEND = 0.02  # seconds
DATA = (
    f"A made-up corridor {2 * HALF:g} m wide and high; a chunk moves {STEP:g} m on and writes the walls up to "
    f"{SIGHT:g} m ahead, voxels of {100 * VOXEL:g} cm, {scenes.CHANNELS} bfloat16 channels, nine views of "
    f"{scenes.GRID[0]}x{scenes.GRID[1]} cells."
)
METHOD = (
    "Reads are medians of 200, in turn with reads of a copy from chunk 10, and of 20 in turn with reads without "
    "culling; inserts are means since half as many chunks, of the first hundred the medians of nine processes."
)


def ring() -> Tensor:
    """(N, 3) points on the four walls over a step; none near the border of a voxel in any chunk that matters."""
    across = torch.arange(-HALF + SPACING / 2, HALF, SPACING)
    along = torch.arange(SPACING / 2, STEP, SPACING)
    a, z = (x.flatten() for x in torch.meshgrid(across, along, indexing="ij"))
    wall = torch.full_like(a, HALF)
    return torch.cat([torch.stack(p, 1) for p in ((a, wall, z), (a, -wall, z), (wall, a, z), (-wall, a, z))])


def shift(xyz: Tensor, chunk: int) -> Tensor:
    return xyz + torch.tensor([0.0, 0.0, STEP * chunk])


class Walk:
    """What each chunk writes and reads."""

    def __init__(self) -> None:
        one = ring()
        self.added = len(one)
        steps = round(SIGHT / STEP)
        self.seen = torch.cat([shift(one, k) for k in range(steps)])
        g = torch.Generator().manual_seed(0)
        self.features = torch.randn(len(self.seen), scenes.CHANNELS, generator=g).bfloat16()
        self.footprint = torch.full((len(self.seen),), SPACING)
        self.intrinsics = torch.tensor([[40.0, 0, 40], [0, 40.0, 22], [0, 0, 1]])

    def write(self, cache: VoxelCache, chunk: int) -> float:
        """Insert a chunk; seconds."""
        xyz = shift(self.seen, chunk)
        begin = time.perf_counter()
        cache.insert(xyz, self.features, self.footprint, stamp=chunk)
        return time.perf_counter() - begin

    def cameras(self, chunk: int) -> Cameras:
        pose = torch.eye(4).repeat(9, 1, 1)
        pose[:, 2, 3] = STEP * (chunk + torch.arange(9) / 9)
        return Cameras(self.intrinsics, pose, scenes.GRID)


def in_turn(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median of each of several calls, made in turn; seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 2):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if turn >= 2:  # the first ones warm up
                seconds[name].append(time.perf_counter() - begin)
    return {name: median(values) for name, values in seconds.items()}


def touch_memory(gib: int) -> None:
    """Have the machine provide memory once: in a virtual one the first use of a page waits for the host."""
    torch.empty(gib << 28).fill_(1)


def new_cache() -> VoxelCache:
    return VoxelCache(VOXEL, scenes.CHANNELS, dtype=torch.bfloat16)


def late_half(seconds: list[float]) -> float:
    """The mean since half as many chunks."""
    return mean(seconds[len(seconds) // 2 :])


def early_inserts(walk: Walk) -> list[float]:
    """Of the checkpoints up to chunk :data:`EARLY`, by a walk that begins here; seconds."""
    cache = new_cache()
    seconds = [walk.write(cache, chunk) for chunk in range(EARLY)]
    return [late_half(seconds[:chunk]) for chunk in CHECKED if chunk <= EARLY]


def median_early_inserts() -> list[float]:
    """The medians of :func:`early_inserts` over several processes, each of which begins with memory of its own."""
    program = [sys.executable, "-m", "benchmarks.corridor", "--early"]
    root = Path(__file__).resolve().parents[1]
    runs = [subprocess.run(program, cwd=root, capture_output=True, text=True, check=True) for _ in range(EARLY_RUNS)]
    return [median(seconds) for seconds in zip(*(json.loads(run.stdout) for run in runs), strict=True)]


def voxel_cache(walk: Walk, chunks: int) -> list[dict[str, float]]:
    cache, first = new_cache(), None
    rows: list[dict[str, float]] = []
    seconds = []
    for chunk in tqdm(range(chunks), unit="chunk", desc="voxel cache"):
        seconds.append(walk.write(cache, chunk))
        if chunk + 1 not in CHECKED:
            continue
        cameras = walk.cameras(chunk)
        first = first or partial(cache.clone().splat, cameras)
        read, unculled = partial(cache.splat, cameras), partial(cache.splat, cameras, cull=False)
        row = {"chunk": chunk + 1, "rows": len(cache), "mib": cache.nbytes / 2**20}
        row["visible"] = read().mask.float().mean().item()
        row |= in_turn({"read": read, "first_read": first}, 200)
        both = in_turn({"culled": read, "unculled": unculled}, 20)
        row |= {"unculled": both["unculled"], "culling": both["unculled"] / both["culled"]}
        rows.append(row | {"insert": late_half(seconds)})
    del cache
    for row, insert in zip(rows, median_early_inserts(), strict=False):
        row["insert"] = insert
    return rows


def append_only(walk: Walk, chunks: int) -> list[dict[str, float]]:
    new = walk.seen[-walk.added :]
    features = walk.features[-walk.added :].float()
    xyz, kept, footprint = walk.seen, walk.features.float(), walk.footprint
    rows: list[dict[str, float]] = []
    for chunk in tqdm(range(1, chunks), unit="chunk", desc="append-only"):
        begin = time.perf_counter()
        xyz = torch.cat([xyz, shift(new, chunk)])
        kept = torch.cat([kept, features])
        footprint = torch.cat([footprint, walk.footprint[: walk.added]])
        insert = time.perf_counter() - begin
        if chunk + 1 in CHECKED:
            cameras = walk.cameras(chunk)
            row = {"chunk": chunk + 1, "rows": len(xyz), "mib": (xyz.nbytes + kept.nbytes) / 2**20, "insert": insert}
            rows.append(row | in_turn({"read": partial(splat, xyz, kept, cameras, extent=0.6 * footprint)}, 5))
            if insert > LONGEST_APPEND:
                break
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--early", action="store_true", help="print the inserts of the first chunks, seconds")
    args = parser.parse_args()
    walk = Walk()
    if args.early:
        print(json.dumps(early_inserts(walk)))
        return
    touch_memory(6)
    ours = voxel_cache(walk, args.chunks)
    appended = append_only(walk, args.chunks)
    first, last = ours[0], ours[-1]
    ratios = {"read": last["read"] / last["first_read"], "insert": last["insert"] / first["insert"]}
    ratios["read_worst"] = max(r["read"] / r["first_read"] for r in ours)
    ratios["insert_worst"] = max(r["insert"] / first["insert"] for r in ours)
    ratios["culling"] = last["culling"]
    ratios["culling_least"] = min(r["culling"] for r in ours)
    for row in ours:
        print("  ".join(f"{name} {value:.6g}" for name, value in row.items()))
    print(json.dumps(ratios))
    result: dict[str, Any] = {"kind": "corridor", "machine": machine.facts(), "data": DATA, "method": METHOD}
    result |= {"ratios": ratios, "voxel_cache": ours, "append_only": appended}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "corridor.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
