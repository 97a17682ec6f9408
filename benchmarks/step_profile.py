# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Where the time of a memory step goes: ``python -m benchmarks.step_profile`` prints a table in Markdown.

Chunks of nine latents of the recording are read, retrieved and written, as :mod:`mirage.evaluation.memories` does. The
functions of each part are timed from the outside, without what they call of other parts; *Python* is what is left of a
step. Timing takes some microseconds a call, so that small parts look larger than they are. Of several runs the one
with the least time counts: a shared machine only adds to it.
"""

from __future__ import annotations

import argparse
import functools
import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn import functional as nnf

from mirage.evaluation.recording import Recording, record
from mirage.memory import LatentSpatialMemory, frame_writing, frames, history, row_layers, seen_voxels
from mirage_kernels import Cameras, VoxelCache
from mirage_kernels.ops.voxel_cache.voxel_cache_store import Store

LATENTS, CHUNKS, STRIDE = 9, 5, 16
RUNS = 5
PARTS: list[tuple[str, Any, str]] = [
    ("read", LatentSpatialMemory, "read"),
    ("retrieve", LatentSpatialMemory, "retrieve"),
    ("write: drawing", frame_writing.FrameWriting, "_render"),
    ("write: unproject", frames, "unproject"),
    ("write: compare", frame_writing, "associate"),
    ("write: insert", VoxelCache, "insert"),
    ("write: growth of the cache", Store, "_resized"),
    ("write: history", history.History, "add"),
    ("write: past latents", history, "store_latents"),
    ("write: voxels in view", seen_voxels.SeenVoxels, "update"),
    ("write: layers of rows", row_layers.RowLayers, "insert"),
    ("write: Python", LatentSpatialMemory, "write"),
]


@contextmanager
def timed(parts: list[tuple[str, Any, str]]) -> Iterator[dict[str, float]]:
    """Time functions by part while the block runs: seconds, without those of other parts that they call."""
    seconds: dict[str, float] = defaultdict(float)
    inner: list[float] = []

    def timing(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - begin
                seconds[part] += took - inner.pop()
                if inner:
                    inner[-1] += took

        return run

    originals = [(owner, name, getattr(owner, name)) for _, owner, name in parts]
    for part, owner, name in parts:
        setattr(owner, name, timing(part, getattr(owner, name)))
    try:
        yield seconds
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)


def resized(recording: Recording, size: tuple[int, int]) -> Recording:
    """The recording at another size, with nearest-neighbor sampling."""
    grid = (size[0] // STRIDE, size[1] // STRIDE)
    depth = nnf.interpolate(recording.depth[:, None], size, mode="nearest")[:, 0]
    latents = nnf.interpolate(recording.latents.float(), grid, mode="nearest").to(recording.latents.dtype)
    return recording._replace(depth=depth, latents=latents, cameras=recording.cameras.rescale(size))


def step(memory: LatentSpatialMemory, part: Recording, grid: Cameras, first: int) -> dict[str, float]:
    """Read, retrieve and write one chunk; seconds by part."""
    memory.read(grid), memory.retrieve(grid)  # so that nothing is done for the first time
    with timed([one for one in PARTS if one[0] in ("read", "retrieve")]) as reading:
        memory.read(grid)
        memory.retrieve(grid)
    with timed([one for one in PARTS if one[0] not in ("read", "retrieve")]) as writing:
        memory.write(part.latents.movedim(1, 0), part.cameras, part.depth, stamps=range(first, first + LATENTS))
    return {**reading, **writing}


def profile(recording: Recording, threads: int) -> list[dict[str, float]]:
    """Seconds by part of every chunk, of the run with the least time."""
    torch.set_num_threads(threads)
    height, width = recording.cameras.size
    chunks = [recording.pick(list(range(first, first + LATENTS))) for first in range(0, LATENTS * CHUNKS, LATENTS)]
    grids = [chunk.cameras.rescale((height // STRIDE, width // STRIDE)) for chunk in chunks]
    runs = []
    for _ in range(RUNS + 1):  # the first is warm-up
        memory = LatentSpatialMemory(recording.latents.shape[1], dtype=recording.latents.dtype)
        both = zip(chunks, grids, strict=True)
        runs.append([step(memory, part, grid, LATENTS * n) for n, (part, grid) in enumerate(both)])
    return min(runs[1:], key=lambda run: sum(sum(chunk.values()) for chunk in run))


def table(found: dict[str, list[dict[str, float]]]) -> list[str]:
    """A row for each part: milliseconds in the first chunk, and on average in the others."""
    names = [part for part, _, _ in PARTS if any(chunk.get(part) for run in found.values() for chunk in run)]
    lines = [f"| ms per chunk of {LATENTS} latents | {' | '.join(found)} |", "|---" + "|---:" * len(found) + "|"]

    def cell(run: list[dict[str, float]], parts: list[str]) -> str:
        first, *others = (1e3 * sum(chunk.get(part, 0.0) for part in parts) for chunk in run)
        return f"{first:.2f}, {sum(others) / len(others):.2f}"

    for name in names:
        lines.append(f"| {name} | {' | '.join(cell(run, [name]) for run in found.values())} |")
    lines.append(f"| **step** | {' | '.join(cell(run, names) for run in found.values())} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step_profile", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    args = parser.parse_args()
    gc.disable()
    whole = record()
    found = {
        f"{size[0]}x{size[1]}, {threads} thread{'s' * (threads > 1)}": profile(resized(whole, size), threads)
        for size in ((480, 832), (704, 1280))
        for threads in args.threads
    }
    print("\n".join(table(found)))
    print("\nThe first chunk, and the mean of the others.")


if __name__ == "__main__":
    main()
