# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The sizes that count, each checked against the CPU before it is timed. N points, V views, C = 48 channels, 44x80
cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks import scenes
from benchmarks.baselines import argsort
from benchmarks.gpu.clock import Clock
from mirage_kernels import Cameras, VoxelCache, overlap, splat, unproject, use_backend
from mirage_kernels.testing import same_bits

SETS = 4  # of inputs
WORDS = 1_000_000 // 64  # of a set of a million voxels


class Row(NamedTuple):
    """One figure.

    Attributes:
        what: operation and size.
        backend: who.
        seconds: median.
        goal: seconds on an H200, or None.
        nbytes: the fewest bytes that have to be moved, or None.
        how: graph replay, or eager.
    """

    what: str
    backend: str
    seconds: float
    goal: float | None
    nbytes: int | None
    how: str


class Sizes(NamedTuple):
    """Small ones let a machine without a GPU go through all of it."""

    splats: tuple[tuple[int, int, bool, float | None], ...]  # points, views, whether shuffled, goal
    culled: tuple[int, int]  # rows of which visible
    insert: tuple[int, int]  # into so many rows, and points of a cache built at once
    frames: int  # that overlap is asked for

    @classmethod
    def full(cls) -> Sizes:
        splats = (
            *((31_680, 9, False, 12e-6), (1_000_000, 9, False, 30e-6), (1_000_000, 9, True, None)),
            *((10_000_000, 9, False, 220e-6), (10_000_000, 33, False, 800e-6)),
        )
        return cls(splats, (100_000_000, 1_000_000), (1_000_000, 10_000_000), 1024)

    @classmethod
    def small(cls) -> Sizes:
        return cls(((2000, 2, True, None),), (20_000, 2000), (5000, 20_000), 8)


def room(points: int, views: int, seed: int = 0, *, shuffled: bool = False) -> tuple[Tensor, Cameras]:
    """Points on the walls of a 6 x 3 x 8 m room, and cameras that turn in its middle. Points come in the order of cubes
    of 20 cm, as frames or a cache would bring neighbours together; or in none."""
    g = torch.Generator().manual_seed(seed)
    half = torch.tensor([3.0, 1.5, 4.0])
    xyz = (2 * torch.rand(points, 3, generator=g) - 1) * half
    wall = torch.randint(3, (points, 1), generator=g)
    side = torch.randint(2, (points, 1), generator=g) * 2.0 - 1
    xyz.scatter_(1, wall, side * half[wall])
    if not shuffled:
        cube = ((xyz + half) * 5).long()
        xyz = xyz[((cube[:, 0] * 16 + cube[:, 1]) * 64 + cube[:, 2]).argsort()]
    angle = torch.linspace(0, 2, views, dtype=torch.float64)
    ahead = torch.stack([angle.sin(), 0 * angle, angle.cos()], 1)
    intrinsics = torch.tensor([[73.0, 0, 40], [0, 73.0, 22], [0, 0, 1]])
    return xyz, Cameras.look_at(torch.zeros(views, 3), ahead, intrinsics, scenes.GRID)


def features_of(points: int, device: str, seed: int = 0) -> Tensor:
    g = torch.Generator(device).manual_seed(seed)
    return torch.randn(points, scenes.CHANNELS, generator=g, device=device).bfloat16()


def require(same: bool, what: str) -> None:
    if not same:
        raise AssertionError(f"{what}: differs from the CPU; nothing is timed")


def check_splat(xyz: Tensor, features: Tensor, cameras: Cameras, device: str, what: str) -> None:
    there = splat(xyz.to(device), features, cameras.to(device))
    here = splat(xyz, features.cpu(), cameras)
    require(all(same_bits(a.cpu(), b) for a, b in zip(there, here, strict=True)), what)


def splat_rows(clock: Clock, backend: str, sizes: Sizes) -> Iterator[Row]:
    cells = scenes.GRID[0] * scenes.GRID[1]
    for points, views, shuffled, goal in sizes.splats:
        what = f"splat N={points:,} V={views}" + ", in no order" * shuffled
        calls = []
        for seed in range(SETS if points <= 1_000_000 else 2):
            xyz, cameras = room(points, views, seed, shuffled=shuffled)
            features = features_of(points, clock.device, seed)
            if seed == 0:
                check_splat(xyz, features, cameras, clock.device, what)
            arguments = (xyz.to(clock.device), features, cameras.to(clock.device))
            calls.append(lambda arguments=arguments: splat(*arguments))
        nbytes = 12 * points + views * cells * (2 * 2 * scenes.CHANNELS + 4 + 8)
        yield Row(what, backend, clock.captured(calls), goal, nbytes, "graph replay")


def culled_row(clock: Clock, backend: str, sizes: Sizes) -> Iterator[Row]:
    """A world of many rooms, of which the cameras are in one."""
    rows, visible = sizes.culled
    cache = VoxelCache(0.004, scenes.CHANNELS, dtype=torch.bfloat16, device=clock.device, extent_scale=0.0)
    xyz, cameras = room(visible, 9)
    features = features_of(visible, clock.device)
    for k in range(rows // visible):  # a room every 10 m, the first one last
        shift = torch.tensor([10.0 * (rows // visible - 1 - k), 0, 0])
        cache.insert((xyz + shift).to(clock.device), features, stamp=k)
    views = cameras.to(clock.device)
    drawn, all_of_it = cache.splat(views), cache.splat(views, cull=False)
    what = f"culled read, {len(cache):,} rows V=9"
    require(all(same_bits(a, b) for a, b in zip(drawn, all_of_it, strict=True)), what)
    goal = 120e-6 if rows == 100_000_000 else None
    yield Row(what, backend, clock.captured([lambda: cache.splat(views)]), goal, None, "graph replay")


def same_state(a: VoxelCache, b: VoxelCache) -> bool:
    """Everything that is defined of two caches, on whatever devices."""
    names = [name for name, _ in a.state.row_tensors()]
    rows = all(same_bits(getattr(a.state, n)[: len(a)].cpu(), getattr(b.state, n)[: len(b)].cpu()) for n in names)
    whole = ("table", "boxes0", "boxes1", "boxes2")
    return (
        len(a) == len(b)
        and rows
        and all(same_bits(getattr(a.state, n).cpu(), getattr(b.state, n).cpu()) for n in whole)
    )


def insert_rows(clock: Clock, backend: str, sizes: Sizes) -> Iterator[Row]:
    """A chunk that writes every row it meets, and a cache made at once."""
    into, at_once = sizes.insert
    first, _ = room(into, 1)
    chunk, _ = room(scenes.GRID[0] * scenes.GRID[1] * 9, 1, 1)
    caches = []
    for device in dict.fromkeys(("cpu", clock.device)):
        cache = VoxelCache(0.01, scenes.CHANNELS, dtype=torch.bfloat16, device=device, fusion="latest")
        for stamp, xyz in enumerate((first, chunk)):
            cache.insert(xyz.to(device), features_of(len(xyz), "cpu", stamp).to(device), stamp=stamp)
        caches.append(cache)
    what = f"insert {len(chunk):,} into {len(caches[-1]):,} rows"
    require(same_state(caches[0], caches[-1]), what)
    operands = (chunk.to(clock.device), features_of(len(chunk), clock.device))
    nbytes = len(chunk) * (12 + 4 * scenes.CHANNELS)
    yield Row(what, backend, clock.eager([lambda: caches[-1].insert(*operands)]), 60e-6, nbytes, "eager")
    many = room(at_once, 1)[0].to(clock.device)
    features = features_of(at_once, clock.device)

    def build() -> None:
        VoxelCache(0.002, scenes.CHANNELS, dtype=torch.bfloat16, device=clock.device).insert(many, features)

    nbytes = at_once * (12 + 4 * scenes.CHANNELS)
    yield Row(f"build from {at_once:,} points", backend, clock.eager([build], 8), 3e-3, nbytes, "eager")


def retrieval_row(clock: Clock, backend: str, sizes: Sizes) -> Iterator[Row]:
    g = torch.Generator().manual_seed(0)
    target, frames = (torch.randint(-(1 << 62), 1 << 62, (n, WORDS), generator=g) for n in (1, sizes.frames))
    what = f"overlap of 1 x {sizes.frames:,} sets of a million voxels"
    there = target.to(clock.device), frames.to(clock.device)
    require(same_bits(overlap(*there).cpu(), overlap(target, frames)), what)
    yield Row(what, backend, clock.captured([lambda: overlap(*there)]), 60e-6, frames.nbytes, "graph replay")


def unproject_row(clock: Clock, backend: str, _: Sizes) -> Iterator[Row]:
    """Nine frames of 704x1280."""
    g = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(9, 704, 1280, generator=g)
    features = torch.randn(9, scenes.CHANNELS, *scenes.GRID, generator=g).bfloat16()
    cameras = room(1, 9)[1].rescale((704, 1280))
    there = depth.to(clock.device), features.to(clock.device), cameras.to(clock.device)
    what = "unproject 9 frames of 704x1280"
    here = unproject(depth, features, cameras)
    require(all(same_bits(a.cpu(), b) for a, b in zip(unproject(*there), here, strict=True)), what)
    nbytes = depth.nbytes + 2 * features.nbytes
    yield Row(what, backend, clock.captured([lambda: unproject(*there)]), None, nbytes, "graph replay")


MEASURED: tuple[Callable[[Clock, str, Sizes], Iterator[Row]], ...] = (
    splat_rows, culled_row, insert_rows, retrieval_row, unproject_row,
)  # fmt: skip


def measure(clock: Clock, backend: str, sizes: Sizes) -> Iterator[Row | str]:
    """Rows, and in place of one that cannot be had the reason."""
    with use_backend(backend):
        for rows in MEASURED:
            if backend == "reference" and rows in (culled_row, insert_rows):
                continue  # minutes
            try:
                for row in rows(clock, backend, sizes):
                    yield row if clock.device == "cuda" else row._replace(goal=None, how="eager")
            except Exception as error:  # the others are still worth having
                yield f"{rows.__name__} on {backend}: {type(error).__name__}: {error}"
            if clock.device == "cuda":
                torch.cuda.empty_cache()


def argsort_rows(clock: Clock, points: int) -> tuple[list[Row], dict[str, Any]]:
    """The append-only path on the same device, and what it gets wrong: cells whose features are not the nearest
    point's, and cells that mix several points'."""
    here, seen_by = room(points, 9)
    xyz, cameras = here.to(clock.device), seen_by.to(clock.device)
    # a feature is the number of its point, in every channel
    numbers = torch.arange(points, dtype=torch.float32, device=clock.device)[:, None].repeat(1, scenes.CHANNELS)
    seconds = clock.eager([lambda: argsort.read(xyz, numbers, cameras)])
    drawn, mask = argsort.read(xyz, numbers, cameras)
    truth = splat(xyz, numbers, cameras)
    seen = mask & truth.mask
    mixed = (drawn != drawn[:, :1]).any(1) & seen
    wrong = (drawn[:, 0].long() != truth.index) & seen
    counts = {"cells": int(seen.sum()), "not the nearest": int(wrong.sum()), "mixed": int(mixed.sum())}
    return [Row(f"append-only argsort N={points:,} V=9", "torch", seconds, None, None, "eager")], counts
