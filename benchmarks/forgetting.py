# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What thinning a memory costs: 45 latents of a real recording written in order, 16 later frames only read.

Every fourth frame of the recording (MIRAGE_DATA, ``hololens_dev``) at 704x1280, 44x80 cells, 48 channels. Of all cells
with valid depth: *known*, the share that reads back; *behind* and *front*, the shares that read back more than 5 % off
the true depth. ``python -m benchmarks.forgetting`` prints the table and writes it to ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks import machine, scenes
from benchmarks.recording import READ, WRITTEN, Recording, record
from mirage.memory import LatentSpatialMemory
from mirage_kernels import Cameras, VoxelCache, splat, unproject

OFF = 0.05
APPEND_ONLY = 12 + 4 * scenes.CHANNELS  # bytes of a float32 point


class Shares(NamedTuple):
    """Of all cells with valid depth."""

    known: float
    behind: float
    front: float


class Result(NamedTuple):
    """A row of the table; bytes with room to grow and without."""

    name: str
    rows: int
    nbytes: int
    shrunk: int
    own: Shares
    later: Shares


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

        name = f"append-only, {f'extents {scale:g}' if scale else 'points'}"
        nbytes = rows * APPEND_ONLY
        yield Result(name, rows, nbytes, nbytes, *judge_both(recording, read))


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
            name = f"voxels of {100 * size:g} cm, {f'extents {scale:g}' if scale else 'points'}"
            yield Result(name, len(cache), *nbytes_of(cache), *result)


def nbytes_of(cache: VoxelCache) -> tuple[int, int]:
    """With and without room to grow."""
    small = cache.clone()
    small.shrink_to_fit()
    return cache.nbytes, small.nbytes


def shown_depth(memory: LatentSpatialMemory, cameras: Cameras) -> Tensor:
    return memory.read(cameras).depth


def view_rule(recording: Recording) -> Iterator[Result]:
    default = LatentSpatialMemory(1).cache.extent_scale
    for scale, storage in ((0.5, None), (0.6, None), (default, None), (default, "int8"), (0.75, None)):
        memory = LatentSpatialMemory(scenes.CHANNELS, dtype=torch.bfloat16, storage=storage, extent_scale=scale)
        latents = recording.latents[:WRITTEN].movedim(1, 0)
        cameras, depth = recording.cameras[:WRITTEN], recording.depth[:WRITTEN]
        memory.write(latents, cameras, depth, stamps=range(WRITTEN))
        rows = len(memory)
        result = judge_both(recording, partial(shown_depth, memory))
        nbytes = nbytes_of(memory.cache)
        again = sum(memory.write(latents, cameras, depth, stamps=range(WRITTEN)))
        name = f"**view rule**, extents {scale:g}, {storage or 'bfloat16'}"
        name += " (default)" if scale == default and storage is None else ""
        yield Result(f"{name}; the same again adds {again}", rows, *nbytes, *result)


def table(results: list[Result]) -> list[str]:
    first = results[0]
    lines = [
        "| memory | rows | MiB | of float32 append-only | without room to grow "
        "| own views: known, behind, front | later views: known, behind, front |",
        "|---|---:|---:|---:|---:|---|---|",
    ]
    for r in results:
        own, later = (" ".join(f"{value:.3f}" for value in views) for views in (r.own, r.later))
        size = f"{r.nbytes / 2**20:.2f} | {r.nbytes / first.nbytes:.3f} | {r.shrunk / first.nbytes:.3f}"
        lines.append(f"| {r.name} | {r.rows:,} | {size} | {own} | {later} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "forgetting.md")
    args = parser.parse_args()
    recording = record()
    results: list[Result] = []
    with tqdm(total=15, unit="memory") as bar:
        for source in (append_only, fixed_voxels, view_rule):
            for result in source(recording):
                results.append(result)
                bar.update()
    lines = table(results)
    print("\n".join(lines))
    args.out.write_text("\n".join([(__doc__ or "").strip(), "", f"Measured on {machine.describe()}.", "", *lines, ""]))


if __name__ == "__main__":
    main()
