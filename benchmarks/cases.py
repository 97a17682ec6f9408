# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Our operations on real sizes, each with its check against the reference and the least bytes and operations it takes.

Operations are those of the contract: 25 to project a point into a view (18 for rotation and translation, a division, 6
for the pixel), 27 to lift a cell.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

import mirage_kernels as mk
from benchmarks import scenes
from benchmarks.archive import SOME, archive, look
from benchmarks.sizes import CHANNELS, CHUNK, Video
from benchmarks.timing import DEVICE, Case
from mirage.cameras.trajectories import out_and_back, truck
from mirage.data.scenes import motorcycle
from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import DctCodec, FillGenerator
from mirage.rollout import rollout
from mirage_kernels import Fusion, Pooling, VoxelCache, overlap, splat, unproject
from mirage_kernels.testing import assert_same, same_bits, to_device

PROJECT, LIFT = 25, 27
FINE = 0.01  # metres, the voxels of a large cache
ROOM_APART = 40.0  # metres between the copies of a scene that make a larger one


@cache
def expected(name: str, *size: Any, **options: Any) -> Any:
    """What the reference makes of a case, kept for all who are checked against it."""
    case = globals()[name](*size, **options)
    with mk.use_backend("reference"):
        return to_device(case.run(*case.prepare()), "cpu")


def check_same(name: str, *size: Any, **options: Any) -> Callable[[Any], None]:
    def check(result: Any) -> None:
        assert_same(to_device(result, "cpu"), expected(name, *size, **options))

    return check


def splat_bytes(views: int, grid: tuple[int, int], points: int, element: int) -> int:
    """Every point's place, and every cell's winner read and written with its depth and index."""
    return 12 * points + views * grid[0] * grid[1] * (2 * CHANNELS * element + 4 + 8)


def lift(scene: str, video: Video, pooling: Pooling = "median") -> Case:
    depth, latents, cameras = (to_device(x, DEVICE) for x in scenes.chunk(scene, video))
    size = video.name if pooling == "median" else f"{video.name}, {pooling}"
    looked_at = {"nearest": 1, "bilinear": 4}.get(pooling, depth.numel() // video.cells)  # pixels of a cell
    nbytes = video.cells * (4 * looked_at + 12 + 4 + 1) + 2 * latents.nbytes
    return Case(
        "unproject", scene, size,
        lambda: unproject(depth, latents, cameras, pooling=pooling),
        check_same("lift", scene, video, pooling),
        facts={"bytes": nbytes, "operations": LIFT * video.cells, "points": video.cells},
    )  # fmt: skip


def draw(scene: str, of: Video | int, kind: str = "") -> Case:
    """The latents of a chunk into all of its views, or a cloud of so many points into nine; ``kind``: extents, radius,
    or bilinear."""
    c = to_device(scenes.cloud(scene, of), DEVICE)
    options: dict[str, Any] = {
        "": {}, "extents": {"extent": 0.6 * c.footprint}, "radius 0.7": {"radius": 0.7},
        "bilinear": {"mode": "bilinear"},
    }[kind]  # fmt: skip
    points, views, grid = len(c.xyz), len(c.cameras), c.cameras.size
    size = (of.name if isinstance(of, Video) else f"{of:,} points") + f", {kind}" * bool(kind)
    facts = {"points": points, "views": views, "bytes": splat_bytes(views, grid, points, 4)}
    return Case(
        "splat", scene, size,
        lambda: splat(c.xyz, c.features, c.cameras, valid=c.valid, **options),
        check_same("draw", scene, of, kind),
        facts=facts if kind else facts | {"operations": PROJECT * points * views},
    )  # fmt: skip


def gradient(scene: str, video: Video) -> Case:
    """Of the features of a splat."""
    c: scenes.Cloud = to_device(scenes.cloud(scene, video), DEVICE)
    features = c.features.clone().requires_grad_()

    def draw_it() -> tuple[Tensor, Tensor]:
        drawn = splat(c.xyz, features, c.cameras, valid=c.valid).features
        return drawn, torch.ones_like(drawn)

    def run(drawn: Tensor, ones: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(drawn, features, ones)

    def check(result: tuple[Tensor, ...]) -> None:
        index = splat(c.xyz, c.features, c.cameras, valid=c.valid).index
        shown = index[index >= 0].bincount(minlength=len(c.xyz)).float()  # the sum of ones over the cells it shows in
        assert_bits(result[0], shown[:, None].expand(-1, CHANNELS).cpu())

    return Case("gradient of a splat", scene, video.name, run, check, draw_it)


@cache
def large_cache(scene: str, rows: int) -> VoxelCache:
    """So many rows of bfloat16 at 1 cm, with room for a chunk: what all frames at depth resolution fill, drawn by seed;
    more than that as copies of the place one above the other, of which the cameras stand in the last."""
    xyz, footprint = scenes.voxels(scene, FINE)
    g = torch.Generator().manual_seed(0)
    pick = torch.randperm(len(xyz), generator=g)[: min(rows, 1_000_000)].sort().values
    xyz, footprint = xyz[pick], footprint[pick]
    made = VoxelCache(FINE, CHANNELS, dtype=torch.bfloat16, extent_scale=0.0)
    features = torch.randn(len(pick), CHANNELS, generator=g).bfloat16()
    copies = rows // len(pick)
    for k in reversed(range(copies)):
        made.insert(xyz + torch.tensor([0, ROOM_APART * k, 0]), features, footprint)
    made.insert(torch.full((1, 3), 15.0), features[:1])
    return made


def read(scene: str, rows: int, *, cull: bool = True) -> Case:
    """Nine views out of a large cache; extents off, as no baseline has any."""
    made, cameras = large_cache(scene, rows).to(DEVICE), scenes.path(scene).to(DEVICE)

    def check(result: Any) -> None:
        few = min(rows, 1_000_000)  # the reference takes minutes for more, and the copies of the place show nowhere
        known = expected("read", scene, few)
        assert_bits(result.features, known.features)
        assert_bits(result.depth, known.depth)

    return Case(
        "read", scene, f"{rows:,} rows",
        partial(made.splat, cameras, cull=cull),
        check,
        facts={"rows": len(made), "views": len(cameras)},
    )  # fmt: skip


def assert_bits(result: Tensor, known: Tensor) -> None:
    assert same_bits(result.cpu(), known)


def kept(cache: VoxelCache) -> tuple[Tensor, ...]:
    return cache.xyz, cache.footprint, cache.stamp, cache.features()


def check_kept(result: VoxelCache, known: VoxelCache) -> None:
    for ours, theirs in zip(kept(result), kept(known), strict=True):
        assert_bits(ours, theirs.cpu())


def insert(scene: str, rows: int) -> Case:
    """A chunk of nine latents into a large cache, which is cloned for every call, outside the clock."""
    c, base = to_device(scenes.cloud(scene, CHUNK), DEVICE), large_cache(scene, rows).to(DEVICE)
    features = c.features.bfloat16()

    def run(cache: VoxelCache) -> VoxelCache:
        cache.insert(c.xyz, features, c.footprint, valid=c.valid)
        return cache

    return Case(
        "insert", scene, f"{CHUNK.cells:,} points into {rows:,} rows",
        run,
        lambda result: check_kept(result, expected("insert", scene, rows)),
        lambda: (base.clone(),),
        {"rows": len(base), "points": CHUNK.cells, "bytes": CHUNK.cells * (2 * 2 * CHANNELS + 2 * 16)},
    )  # fmt: skip


def build(scene: str, of: Video | int, fusion: Fusion = "best", size: float = 0.05) -> Case:
    """An empty cache takes in a cloud."""
    xyz, features, footprint = (to_device(x, DEVICE) for x in scenes.known(scene, of))
    points = of.cells if isinstance(of, Video) else of

    def run() -> VoxelCache:
        cache = VoxelCache(size, CHANNELS, fusion=fusion, device=DEVICE)
        cache.insert(xyz, features, footprint)
        return cache

    return Case(
        "build", scene, f"{points:,} points at {100 * size:g} cm" + ", mean" * (fusion == "mean"),
        run,
        lambda result: check_kept(result, expected("build", scene, of, fusion, size)),
        facts={"points": len(xyz)},
    )  # fmt: skip


def retrieve(scene: str, views: int = 1) -> Case:
    """What so many views share with past frames whose voxels are kept."""
    a = to_device(archive(scene), DEVICE)
    return Case(
        "retrieve", scene, f"{views} view{'s' * (views > 1)}, past frames kept",
        lambda: overlap(look(a, a.targets[:views]), a.past_bits),
        lambda shares: assert_bits(shares, expected("retrieve", scene, views)),
        facts={"points": len(a.xyz), "views": views, "frames": len(a.past)},
    )  # fmt: skip


def retrieve_by_poses(scene: str, *, some: bool = False) -> Case:
    """What a view shares with past frames of which the memory has the poses, or with some of them."""
    a = to_device(archive(scene), DEVICE)
    cameras = a.past_cameras[SOME] if some else a.past_cameras

    def check(shares: Tensor) -> None:  # the reference takes a minute for all of them
        assert_bits(shares[:, SOME], expected("retrieve_by_poses", scene, some=True))

    return Case(
        "retrieve", scene, "1 view, past frames by their poses",
        lambda: overlap(look(a, a.targets[:1]), look(a, cameras)),
        check,
        facts={"points": len(a.xyz), "views": 1, "frames": len(cameras)},
    )  # fmt: skip


class Step:
    """One chunk of a walk through a known place: read what is known to its views, look for past latents that saw the
    same, write what it made."""

    def __init__(self, scene: str, video: Video) -> None:
        depth, latents, self.cameras = (to_device(x, DEVICE) for x in scenes.chunk(scene, video))
        self.depth, self.latents = depth, latents.movedim(1, 0)
        self.grid = self.cameras.rescale(video.grid)
        half = video.latents // 2
        self.before = LatentSpatialMemory(CHANNELS, dtype=torch.bfloat16, device=DEVICE)
        self.before.write(self.latents[:, :half], self.cameras[:half], self.depth[:half])

    def fresh(self) -> LatentSpatialMemory:
        return copy.deepcopy(self.before)

    def run(self, memory: LatentSpatialMemory) -> tuple[Any, list[int]]:
        view = memory.read(self.grid)
        memory.retrieve(self.grid)
        return view, memory.write(self.latents, self.cameras, self.depth)


def memory_step(scene: str, video: Video) -> Case:
    step = Step(scene, video)

    def check(result: tuple[Any, list[int]]) -> None:
        view, added = expected("memory_step", scene, video)
        assert_same(to_device(result[0], "cpu"), to_device(view, "cpu"))
        assert result[1] == added

    return Case(
        "memory step", scene, video.name, step.run, check, lambda: (step.fresh(),),
        {"frames": video.frames, "views": video.latents},
    )  # fmt: skip


WALK = (480, 720)  # the motorcycle's picture is 500x741


def walk(frames: int) -> Case:
    """To the right and back past the motorcycle, 33 frames a chunk."""
    scene = motorcycle().rescale(WALK)
    path = truck(scene.keys[:1], out_and_back(frames), 0.2)
    codec, model = DctCodec(), FillGenerator()

    def run() -> list[list[int]]:
        memory = LatentSpatialMemory(CHANNELS, codec=codec.name, device=DEVICE)
        steps = rollout(scene.image, scene.depth, path, memory=memory, codec=codec, model=model)
        return [chunk.written for chunk in steps]

    def check(written: list[list[int]]) -> None:
        assert written == expected("walk", frames)

    size = f"{WALK[0]}x{WALK[1]}, {frames} frames"
    return Case("rollout", "motorcycle", size, run, check, facts={"frames": frames})
