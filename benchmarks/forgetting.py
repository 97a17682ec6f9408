# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What thinning a memory costs: 45 latents of a real recording written in order, 16 later frames only read.

Every fourth frame of the recording (MIRAGE_DATA, ``hololens_dev``) at 704x1280, 44x80 cells, 48 channels. Of all cells
with valid depth: *known*, the share that reads back; *behind* and *front*, the shares that read back more than 5 % off
the true depth. ``python -m benchmarks.forgetting`` prints the rows and writes ``forgetting.json``, of which
``python -m benchmarks.report`` makes the table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks import machine, scenes
from benchmarks.recording import READ, SIZE, WRITTEN, Recording, record
from mirage.memory import LatentSpatialMemory
from mirage_kernels import Cameras, Storage, VoxelCache, splat, unproject

OFF = 0.05
APPEND_ONLY = 12 + 4 * scenes.CHANNELS  # bytes of a float32 point
DATA = (
    f"Every fourth frame of hololens_dev at {SIZE[0]}x{SIZE[1]}: {WRITTEN} latents of "
    f"{scenes.GRID[0]}x{scenes.GRID[1]} cells and {scenes.CHANNELS} channels written in order, {READ} later "
    "frames only read."
)
METHOD = (
    "Shares of all cells with valid depth: known, what reads back; behind and front, what reads back more than "
    f"{100 * OFF:g} % off the true depth. Bytes hold everything, tables and room to grow, against float32 append-only."
)


class Shares(NamedTuple):
    """Of all cells with valid depth."""

    known: float
    behind: float
    front: float


class Result(NamedTuple):
    """A row of the table.

    Attributes:
        memory: what kind of memory.
        extents: scale of the squares that points are drawn as, 0 = points.
        storage: of the features.
        rows: that are stored.
        nbytes: with room to grow.
        shrunk: bytes without it.
        own: of the written views.
        later: of the views that are only read.
        again: rows that the same frames add when they are written a second time, or None.
        default: whether this is what a memory does unless told otherwise.
    """

    memory: str
    extents: float
    storage: str
    rows: int
    nbytes: int
    shrunk: int
    own: Shares
    later: Shares
    again: int | None = None
    default: bool = False


def judge(recording: Recording, read: Callable[[Cameras], Tensor], frames: range) -> Shares:
    """known, behind, front of what ``read`` shows (depth) to the cameras of these frames."""
    truth = recording.truth[frames.start : frames.stop]
    shown = read(recording.cameras[frames.start : frames.stop].rescale((truth.shape[1], truth.shape[2])))
    valid = truth.isfinite()
    known = valid & shown.isfinite()
    counts = (known, known & (shown > truth * (1 + OFF)), known & (shown < truth * (1 - OFF)))
    total = valid.sum()
    return Shares(*((count.sum() / total).item() for count in counts))


def judge_both(recording: Recording, read: Callable[[Cameras], Tensor]) -> tuple[Shares, Shares]:
    """Of the written views and of the later ones."""
    return judge(recording, read, range(WRITTEN)), judge(recording, read, range(WRITTEN, WRITTEN + READ))


def append_only(recording: Recording) -> Iterator[Result]:
    p = unproject(recording.depth[:WRITTEN], recording.latents[:WRITTEN, :0], recording.cameras[:WRITTEN])
    rows = int(p.valid.sum())
    for scale in (0.0, 0.5):

        def read(cameras: Cameras, scale: float = scale) -> Tensor:
            return splat(p.xyz, p.features, cameras, valid=p.valid, extent=scale * p.footprint).depth

        nbytes = rows * APPEND_ONLY
        yield Result("append-only", scale, "float32", rows, nbytes, nbytes, *judge_both(recording, read))


def drawn_depth(cache: VoxelCache, scale: float, cameras: Cameras) -> Tensor:
    return cache.splat(cameras, extent_scale=scale).depth


def fixed_voxels(recording: Recording) -> Iterator[Result]:
    for size in (0.02, 0.03, 0.05, 0.10):
        cache = VoxelCache(size, scenes.CHANNELS, dtype=torch.bfloat16)
        for t in range(WRITTEN):
            p = unproject(recording.depth[t : t + 1], recording.latents[t : t + 1], recording.cameras[t])
            cache.insert(p.xyz, p.features, p.footprint, valid=p.valid, stamp=t)
        for scale in (0.0, 0.5):
            result = judge_both(recording, partial(drawn_depth, cache, scale))
            yield Result(f"voxels of {100 * size:g} cm", scale, "bfloat16", len(cache), *nbytes_of(cache), *result)


def nbytes_of(cache: VoxelCache) -> tuple[int, int]:
    """With and without room to grow."""
    small = cache.clone()
    small.shrink_to_fit()
    return cache.nbytes, small.nbytes


def shown_depth(memory: LatentSpatialMemory, cameras: Cameras) -> Tensor:
    return memory.read(cameras).depth


def view_rule(recording: Recording) -> Iterator[Result]:
    default = LatentSpatialMemory(1).cache.extent_scale
    variants: list[tuple[float, Storage | None]] = [
        (0.5, None), (0.6, None), (default, None), (default, "int8"), (0.75, None)
    ]  # fmt: skip
    for scale, storage in variants:
        memory = LatentSpatialMemory(scenes.CHANNELS, dtype=torch.bfloat16, storage=storage, extent_scale=scale)
        latents = recording.latents[:WRITTEN].movedim(1, 0)
        cameras, depth = recording.cameras[:WRITTEN], recording.depth[:WRITTEN]
        memory.write(latents, cameras, depth, stamps=range(WRITTEN))
        rows = len(memory)
        result = judge_both(recording, partial(shown_depth, memory))
        nbytes = nbytes_of(memory.cache)
        again = sum(memory.write(latents, cameras, depth, stamps=range(WRITTEN)))
        unchanged = scale == default and storage is None
        yield Result("view rule", scale, storage or "bfloat16", rows, *nbytes, *result, again, unchanged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    default = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=default, help="folder for forgetting.json")
    args = parser.parse_args()
    recording = record()
    results: list[Result] = []
    with tqdm(total=15, unit="memory") as bar:
        for source in (append_only, fixed_voxels, view_rule):
            for result in source(recording):
                results.append(result)
                bar.write("  ".join(f"{name} {value}" for name, value in result._asdict().items()))
                bar.update()
    told: dict[str, Any] = {"kind": "forgetting", "machine": machine.facts(), "data": DATA, "method": METHOD}
    told["rows"] = [result._asdict() for result in results]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "forgetting.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
