# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How much of a scene memories of several sizes render: 45 latents are written, and 16 later frames are read.

The input is :mod:`.recording` (MIRAGE_DATA). Shares of all cells with valid depth: *known*, cells in which the memory
renders a point; *behind* and *front*, cells in which its depth is more than 5 % too large or too small.
``python -m mirage.evaluation.completeness`` prints the rows and writes ``completeness.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from torch import Tensor, bfloat16
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras, Storage, VoxelCache, splat, unproject

from ..memory import LatentSpatialMemory
from . import _studies
from .recording import CHANNELS, GRID, READ, SIZE, WRITTEN, Recording, record

TOLERANCE = 0.05  # of the depth
APPEND_ONLY = 12 + 4 * CHANNELS  # bytes of a float32 point
DATA = (
    f"Every fourth frame of hololens_dev at {SIZE[0]}x{SIZE[1]}: {WRITTEN} latents of {GRID[0]}x{GRID[1]} cells and "
    f"{CHANNELS} channels written in order, {READ} later frames only read."
)
METHOD = (
    "Shares of all cells with valid depth: known, cells that read back; behind and front, cells that read back more "
    f"than {100 * TOLERANCE:g} % off the true depth. Bytes include tables and spare capacity, relative to float32 "
    "append-only."
)


class Shares(NamedTuple):
    """Shares of all cells with valid depth."""

    known: float
    behind: float
    front: float


class Result(NamedTuple):
    """A row of the table.

    Attributes:
        memory: kind of memory.
        extents: scale of the squares that points are splatted as, 0 = points.
        storage: dtype of the features.
        rows: number of stored rows.
        nbytes: with spare capacity.
        shrunk: bytes without it.
        own: shares in the written views.
        later: shares in the views that are only read.
        again: rows that the same frames add when they are written a second time, or None.
        default: whether these are the default settings of the memory.
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


def measure_completeness(recording: Recording, read: Callable[[Cameras], Tensor], frames: range) -> Shares:
    """Compare the depth that ``read`` returns for the cameras of these frames with the true depth."""
    truth = recording.truth[frames.start : frames.stop]
    depth = read(recording.cameras[frames.start : frames.stop].rescale((truth.shape[1], truth.shape[2])))
    valid = truth.isfinite()
    known = valid & depth.isfinite()
    counts = (known, known & (depth > truth * (1 + TOLERANCE)), known & (depth < truth * (1 - TOLERANCE)))
    total = valid.sum()
    return Shares(*((count.sum() / total).item() for count in counts))


def measure_both(recording: Recording, read: Callable[[Cameras], Tensor]) -> tuple[Shares, Shares]:
    """The shares in the written views and in the later ones."""
    return measure_completeness(recording, read, range(WRITTEN)), measure_completeness(
        recording, read, range(WRITTEN, WRITTEN + READ)
    )


def append_only(recording: Recording) -> Iterator[Result]:
    """All points, as points and with extents."""
    p = unproject(recording.depth[:WRITTEN], recording.latents[:WRITTEN, :0], recording.cameras[:WRITTEN])
    rows = int(p.valid.sum())
    for scale in (0.0, 0.5):

        def read(cameras: Cameras, scale: float = scale) -> Tensor:
            return splat(p.xyz, p.features, cameras, valid=p.valid, extent=scale * p.footprint).depth

        nbytes = rows * APPEND_ONLY
        yield Result("append-only", scale, "float32", rows, nbytes, nbytes, *measure_both(recording, read))


def read_cache(cache: VoxelCache, scale: float, cameras: Cameras) -> Tensor:
    return cache.splat(cameras, extent_scale=scale).depth


def fixed_voxels(recording: Recording) -> Iterator[Result]:
    """Voxel caches of several voxel sizes, as points and with extents."""
    for size in (0.02, 0.03, 0.05, 0.10):
        cache = VoxelCache(size, CHANNELS, dtype=bfloat16)
        for t in range(WRITTEN):
            p = unproject(recording.depth[t : t + 1], recording.latents[t : t + 1], recording.cameras[t])
            cache.insert(p.xyz, p.features, p.footprint, valid=p.valid, stamp=t)
        for scale in (0.0, 0.5):
            result = measure_both(recording, partial(read_cache, cache, scale))
            yield Result(f"voxels of {100 * size:g} cm", scale, "bfloat16", len(cache), *nbytes_of(cache), *result)


def nbytes_of(cache: VoxelCache) -> tuple[int, int]:
    """Bytes with and without spare capacity."""
    small = cache.clone()
    small.shrink_to_fit()
    return cache.nbytes, small.nbytes


def read_depth(memory: LatentSpatialMemory, cameras: Cameras) -> Tensor:
    return memory.read(cameras).depth


def view_rule(recording: Recording) -> Iterator[Result]:
    """The memory of this project with several extents and storages."""
    default = LatentSpatialMemory(1).cache.extent_scale
    variants: list[tuple[float, Storage | None]] = [
        (0.5, None), (0.6, None), (default, None), (default, "int8"), (0.75, None)
    ]  # fmt: skip
    for scale, storage in variants:
        memory = LatentSpatialMemory(CHANNELS, dtype=bfloat16, storage=storage, extent_scale=scale)
        latents = recording.latents[:WRITTEN].movedim(1, 0)
        cameras, depth = recording.cameras[:WRITTEN], recording.depth[:WRITTEN]
        memory.write(latents, cameras, depth, stamps=range(WRITTEN))
        rows = len(memory)
        result = measure_both(recording, partial(read_depth, memory))
        nbytes = nbytes_of(memory.cache)
        again = sum(memory.write(latents, cameras, depth, stamps=range(WRITTEN)))
        unchanged = scale == default and storage is None
        yield Result("view rule", scale, storage or "bfloat16", rows, *nbytes, *result, again, unchanged)


def main() -> None:
    args = _studies.parser("completeness", __doc__).parse_args()
    recording = record()
    rows = []
    with tqdm(total=15, unit="memory") as bar:
        for source in (append_only, fixed_voxels, view_rule):
            for result in source(recording):
                rows.append(result._asdict())
                bar.write("  ".join(f"{name} {value}" for name, value in rows[-1].items()))
                bar.update()
    _studies.write(args.out, "completeness", DATA, METHOD, rows=rows)


if __name__ == "__main__":
    main()
