# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The cases that are measured, each checked against the CPU before it is timed. N points, V views, C = 48 channels,
44x80 cells."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks import scenes
from benchmarks.gpu.clock import Clock, Timing
from mirage.evaluation.baselines import argsort
from mirage_kernels import Cameras, VoxelCache, overlap, splat, unproject, use_backend
from mirage_kernels.testing import same_bits

SETS = 4  # of inputs
WORDS = 1_000_000 // 64  # per set of a million voxels
CELLS = scenes.GRID[0] * scenes.GRID[1]
REFERENCE_POINTS = 1_000_000  # limit for the reference, which takes minutes for more
BYTES_PER_POINT = 500  # upper limit of GPU memory: a cache that grows holds its rows twice


class Row(NamedTuple):
    """One figure.

    Attributes:
        what: operation and size.
        timing: time of a call.
        goal: seconds on an H200 at the full sizes, or None.
        nbytes: minimum of bytes that have to be moved, or None.
        also: more entries for the results.
    """

    what: str
    timing: Timing
    goal: float | None = None
    nbytes: int | None = None
    also: dict[str, Any] = {}  # noqa: RUF012 (nothing writes to it)


class SplatSize(NamedTuple):
    points: int
    views: int
    shuffled: bool = False
    goal: float | None = None

    @property
    def name(self) -> str:
        return f"splat N={self.points:,} V={self.views}" + ", in no order" * self.shuffled


class Sizes(NamedTuple):
    """The sizes of the inputs; the small ones are for a machine without a GPU."""

    splats: tuple[SplatSize, ...]
    rows: int  # of the culled cache
    visible: int  # rows of them
    into: int  # rows of the cache that a chunk is inserted into
    at_once: int  # points of the cache that is built at once
    frames: int  # of overlap
    copied: int  # bytes


SIZES = {
    "full": Sizes(
        (
            SplatSize(31_680, 9, goal=12e-6), SplatSize(1_000_000, 9, goal=30e-6), SplatSize(1_000_000, 9, True),
            SplatSize(10_000_000, 9, goal=220e-6), SplatSize(10_000_000, 33, goal=800e-6),
        ),
        100_000_000, 1_000_000, 1_000_000, 10_000_000, 1024, 1 << 31,
    ),
    "small": Sizes((SplatSize(2000, 2, True),), 20_000, 2000, 5000, 20_000, 8, 1 << 24),
}  # fmt: skip


def room(points: int, views: int, seed: int = 0, *, shuffled: bool = False) -> tuple[Tensor, Cameras]:
    """Points on the walls of a 6 x 3 x 8 m room, and cameras that turn in its center. The points are ordered by cubes
    of 20 cm, so that neighbors are close as in frames and caches, or shuffled."""
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


def on_cpu(call: Callable[..., Any], *operands: Any) -> Any:
    """The result of the CPU for operands on the CPU, whichever backend is selected for the device."""
    with use_backend(None):
        return call(*operands)


def require_same(what: str, there: Any, here: Any) -> None:
    """Raise AssertionError when tensors of the device and of the CPU differ."""
    there, here = ((x,) if isinstance(x, Tensor) else x for x in (there, here))
    if not all(same_bits(a.cpu(), b.cpu()) for a, b in zip(there, here, strict=True)):
        raise AssertionError(f"{what}: differs from the CPU; nothing is timed")


def splat_row(clock: Clock, size: SplatSize) -> Row:
    calls = []
    for seed in range(SETS if size.points <= 1_000_000 else 2):
        xyz, cameras = room(size.points, size.views, seed, shuffled=size.shuffled)
        there = (xyz.to(clock.device), features_of(size.points, clock.device, seed), cameras.to(clock.device))
        if seed == 0:
            require_same(size.name, splat(*there), on_cpu(splat, xyz, there[1].cpu(), cameras))
        calls.append(partial(splat, *there))
    nbytes = 12 * size.points + size.views * CELLS * (2 * 2 * scenes.CHANNELS + 4 + 8)
    return Row(size.name, clock.captured(calls), size.goal, nbytes)


def culled_row(clock: Clock, sizes: Sizes) -> Row:
    """Read a cache of many rooms with cameras in one of them."""
    cache = VoxelCache(0.004, scenes.CHANNELS, dtype=torch.bfloat16, device=clock.device, extent_scale=0.0)
    xyz, cameras = room(sizes.visible, 9)
    features = features_of(sizes.visible, clock.device)
    rooms = sizes.rows // sizes.visible
    for k in range(rooms):  # a room every 10 m, that of the cameras last
        shift = torch.tensor([10.0 * (rooms - 1 - k), 0, 0])
        cache.insert((xyz + shift).to(clock.device), features, stamp=k)
    views = cameras.to(clock.device)
    what = f"culled read, {len(cache):,} rows V=9"
    require_same(what, cache.splat(views), cache.splat(views, cull=False))
    return Row(what, clock.captured([lambda: cache.splat(views)]), 120e-6)


def state_of(cache: VoxelCache) -> list[Tensor]:
    """All defined values of a cache."""
    s = cache.state
    return [*(tensor[: len(cache)] for _, tensor in s.row_tensors()), s.table, *s.boxes]


def insert_row(clock: Clock, sizes: Sizes) -> Row:
    """Insert a chunk that overwrites every row it hits."""
    places = room(sizes.into, 1)[0], room(CELLS * 9, 1, 1)[0]
    features = [features_of(len(xyz), "cpu", stamp) for stamp, xyz in enumerate(places)]

    def filled(device: str) -> VoxelCache:
        cache = VoxelCache(0.01, scenes.CHANNELS, dtype=torch.bfloat16, device=device, fusion="latest")
        for stamp, xyz in enumerate(places):
            cache.insert(xyz.to(device), features[stamp].to(device), stamp=stamp)
        return cache

    cache = filled(clock.device)
    what = f"insert {len(places[1]):,} into {len(cache):,} rows"
    require_same(what, state_of(cache), state_of(on_cpu(filled, "cpu")))
    operands = places[1].to(clock.device), features[1].to(clock.device)
    nbytes = len(places[1]) * (12 + 4 * scenes.CHANNELS)
    return Row(what, clock.eager([lambda: cache.insert(*operands)]), 60e-6, nbytes)


def build_row(clock: Clock, sizes: Sizes) -> Row:
    """Build a cache in one call."""
    xyz, _ = room(sizes.at_once, 1)
    there = xyz.to(clock.device), features_of(sizes.at_once, clock.device)

    def build(xyz: Tensor, features: Tensor) -> VoxelCache:
        cache = VoxelCache(0.002, scenes.CHANNELS, dtype=torch.bfloat16, device=xyz.device)
        cache.insert(xyz, features)
        return cache

    what = f"build from {sizes.at_once:,} points"
    require_same(what, state_of(build(*there)), state_of(on_cpu(build, xyz, there[1].cpu())))
    return Row(what, clock.eager([lambda: build(*there)]), 3e-3, sizes.at_once * (12 + 4 * scenes.CHANNELS))


def overlap_row(clock: Clock, sizes: Sizes) -> Row:
    g = torch.Generator().manual_seed(0)
    here = [torch.randint(-(1 << 62), 1 << 62, (n, WORDS), generator=g) for n in (1, sizes.frames)]
    there = [sets.to(clock.device) for sets in here]
    what = f"overlap of 1 x {sizes.frames:,} sets of a million voxels"
    require_same(what, overlap(*there), on_cpu(overlap, *here))
    return Row(what, clock.captured([lambda: overlap(*there)]), 60e-6, here[1].nbytes)


def unproject_row(clock: Clock) -> Row:
    """Unproject nine frames of 704x1280."""
    g = torch.Generator().manual_seed(0)
    depth = 1 + torch.rand(9, 704, 1280, generator=g)
    features = torch.randn(9, scenes.CHANNELS, *scenes.GRID, generator=g).bfloat16()
    here = depth, features, room(1, 9)[1].rescale((704, 1280))
    there = depth.to(clock.device), features.to(clock.device), here[2].to(clock.device)
    what = "unproject 9 frames of 704x1280"
    require_same(what, unproject(*there), on_cpu(unproject, *here))
    return Row(what, clock.captured([lambda: unproject(*there)]), None, depth.nbytes + 2 * features.nbytes)


def copy_row(clock: Clock, sizes: Sizes) -> Row:
    """Copy a large tensor, for the bandwidth: bytes read and written per second."""
    source = torch.ones(sizes.copied, dtype=torch.uint8, device=clock.device)
    target = torch.empty_like(source)
    timing = clock.captured([lambda: target.copy_(source)])
    also = {"copy_bandwidth": 2 * sizes.copied / timing.seconds}
    return Row(f"copy of {sizes.copied >> 20:,} MiB", timing, None, 2 * sizes.copied, also)


def argsort_row(clock: Clock, sizes: Sizes) -> Row:
    """The append-only path on the same device, and its errors: cells whose features are not those of the nearest point,
    and cells that mix several points."""
    points = sizes.splats[0].points
    xyz, cameras = room(points, 9)
    # a feature is the number of its point, in every channel
    numbers = torch.arange(points, dtype=torch.float32)[:, None].repeat(1, scenes.CHANNELS)
    truth = on_cpu(splat, xyz, numbers, cameras)
    there = xyz.to(clock.device), numbers.to(clock.device), cameras.to(clock.device)
    rendered, mask = (result.cpu() for result in argsort.read(*there))
    seen = mask & truth.mask
    mixed = (rendered != rendered[:, :1]).any(1) & seen
    wrong = (rendered[:, 0].long() != truth.index) & seen
    counts = {"cells": int(seen.sum()), "not the nearest": int(wrong.sum()), "mixed": int(mixed.sum())}
    timing = clock.eager([lambda: argsort.read(*there)])
    return Row(f"append-only argsort N={points:,} V=9", timing, also={"argsort": counts})


class Case(NamedTuple):
    """A case.

    Attributes:
        name: of the operation, and of the size where there are several.
        points: number of points.
        row: checks and measures the case.
    """

    name: str
    points: int
    row: Callable[[Clock], Row]


def cases(backend: str, size: str) -> list[Case]:
    """The cases of a backend in order; for ``torch``, the baselines."""
    sizes = SIZES[size]
    if backend == "torch":
        return [
            Case("copy", 0, partial(copy_row, sizes=sizes)),
            Case("append-only argsort", 0, partial(argsort_row, sizes=sizes)),
        ]
    found = [Case(splats.name, splats.points, partial(splat_row, size=splats)) for splats in sizes.splats]
    found += [
        Case("overlap", 0, partial(overlap_row, sizes=sizes)),
        Case("unproject", 0, unproject_row),
        Case("insert", sizes.into + 9 * CELLS, partial(insert_row, sizes=sizes)),
        Case("build", sizes.at_once, partial(build_row, sizes=sizes)),
        Case("culled read", sizes.rows, partial(culled_row, sizes=sizes)),
    ]
    return [case for case in found if backend != "reference" or case.points <= REFERENCE_POINTS]
