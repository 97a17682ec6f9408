# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Our operations on real sizes, with a check against the reference and the minimum of bytes and float32 operations.

Operations are those of the definition: 25 to project a point into a view (18 for rotation and translation, a division,
6 for the pixel), 27 to unproject a cell.
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
from benchmarks.retrieval_scene import SOME, retrieval_scene, visible_voxels
from benchmarks.sizes import CHANNELS, CHUNK, Video
from benchmarks.timing import DEVICE, Case
from mirage.cameras.trajectories import out_and_back, truck
from mirage.data.scenes import motorcycle
from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import DctCodec, FillModel
from mirage.rollout import rollout
from mirage_kernels import Fusion, Layers, Pooling, VoxelCache, composite, overlap, splat, unproject
from mirage_kernels.testing import assert_same, same_bits, to_device

PROJECT, UNPROJECT = 25, 27
VOXEL = 0.01  # meters, of a large cache
COPY_DISTANCE = 40.0  # meters between the copies of a scene that make a larger one


@cache
def expected(name: str, *size: Any, **options: Any) -> Any:
    """The result of the reference for a case, computed once."""
    case = globals()[name](*size, **options)
    with mk.use_backend("reference"):
        return to_device(case.run(*case.prepare()), "cpu")


def check_same(name: str, *size: Any, **options: Any) -> Callable[[Any], None]:
    def check(result: Any) -> None:
        assert_same(to_device(result, "cpu"), expected(name, *size, **options))

    return check


def splat_bytes(views: int, grid: tuple[int, int], points: int, element: int) -> int:
    """The bytes of all positions, and of one row per cell: read once, and written with depth and index."""
    return 12 * points + views * grid[0] * grid[1] * (2 * CHANNELS * element + 4 + 8)


def unproject_chunk(scene: str, video: Video, pooling: Pooling = "median") -> Case:
    depth, latents, cameras = (to_device(x, DEVICE) for x in scenes.chunk(scene, video))
    size = video.name if pooling == "median" else f"{video.name}, {pooling}"
    pixels = {"nearest": 1, "bilinear": 4}.get(pooling, depth.numel() // video.cells)  # per cell
    nbytes = video.cells * (4 * pixels + 12 + 4 + 1) + 2 * latents.nbytes
    return Case(
        "unproject", scene, size,
        lambda: unproject(depth, latents, cameras, pooling=pooling),
        check_same("unproject_chunk", scene, video, pooling),
        facts={"bytes": nbytes, "operations": UNPROJECT * video.cells, "points": video.cells},
    )  # fmt: skip


def splat_cloud(scene: str, of: Video | int, kind: str = "") -> Case:
    """Splat the latents of a chunk into all of its views, or a cloud of ``of`` points into nine views.

    Args:
        scene: name of the scene.
        of: chunk, or number of points.
        kind: ``""``, ``"extents"``, ``"radius 0.7"`` or ``"bilinear"``.
    """
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
        check_same("splat_cloud", scene, of, kind),
        facts=facts if kind else facts | {"operations": PROJECT * points * views},
    )  # fmt: skip


def splat_layers(scene: str, points: int, k: int) -> Case:
    """Find the k nearest points of every cell of nine views."""
    c = to_device(scenes.cloud(scene, points), DEVICE)
    views, (h, w) = len(c.cameras), c.cameras.size
    nbytes = 12 * len(c.xyz) + views * h * w * k * (8 + 4 + 4)
    return Case(
        "splat, k nearest", scene, f"{points:,} points, k = {k}",
        lambda: splat(c.xyz, None, c.cameras, valid=c.valid, k=k),
        check_same("splat_layers", scene, points, k),
        facts={"points": points, "views": views, "bytes": nbytes},
    )  # fmt: skip


def layers_to_blend(scene: str, points: int, k: int) -> tuple[Tensor, Layers, Tensor]:
    """Features, the k nearest points of every cell of nine views, and weights by their distance from its center."""
    c = to_device(scenes.cloud(scene, points), DEVICE)
    layers = splat(c.xyz, None, c.cameras, valid=c.valid, k=k)
    return c.features, layers, 1 - layers.distance2


def composite_layers(scene: str, points: int, k: int) -> Case:
    """Blend the k nearest points of every cell of nine views."""
    features, layers, weights = layers_to_blend(scene, points, k)

    def check(result: Tensor) -> None:
        with mk.use_backend("reference"):
            expected = composite(features.cpu(), to_device(layers, "cpu"), weights.cpu())
        assert_bits(result, expected)

    return Case("composite", scene, f"{points:,} points, k = {k}", lambda: composite(features, layers, weights), check)


def project_cloud(scene: str, of: Video | int, views: int) -> Case:
    """Project the points of a cloud into its first views."""
    c = to_device(scenes.cloud(scene, of), DEVICE)
    cameras, points = c.cameras[:views], len(c.xyz)

    def check(result: tuple[Tensor, ...]) -> None:
        for part, known in zip(result, expected("project_cloud", scene, of, views), strict=True):
            assert_bits(part, known)

    return Case(
        "project", scene, f"{points:,} points, {views} view{'s' * (views > 1)}",
        lambda: cameras.project(c.xyz), check,
        facts={"points": points, "views": views, "bytes": points * (12 + 13 * views)},
    )  # fmt: skip


def splat_gradient(scene: str, video: Video) -> Case:
    """The gradient of a splat with respect to its features."""
    c: scenes.Cloud = to_device(scenes.cloud(scene, video), DEVICE)
    features = c.features.clone().requires_grad_()

    def forward() -> tuple[Tensor, Tensor]:
        image = splat(c.xyz, features, c.cameras, valid=c.valid).features
        return image, torch.ones_like(image)

    def run(image: Tensor, ones: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(image, features, ones)

    def check(result: tuple[Tensor, ...]) -> None:
        index = splat(c.xyz, c.features, c.cameras, valid=c.valid).index
        cells = index[index >= 0].bincount(minlength=len(c.xyz)).float()  # each contributes a one
        assert_bits(result[0], cells[:, None].expand(-1, CHANNELS).cpu())

    return Case("gradient of a splat", scene, video.name, run, check, forward)


@cache
def large_cache(scene: str, rows: int) -> VoxelCache:
    """A cache of ``rows`` bfloat16 rows with voxels of 1 cm and capacity for a chunk.

    The rows are a random choice of the voxels that all frames fill at depth resolution. More than a million rows are
    copies of them one above the other; the cameras are in the last one.
    """
    xyz, footprint = scenes.voxels(scene, VOXEL)
    g = torch.Generator().manual_seed(0)
    pick = torch.randperm(len(xyz), generator=g)[: min(rows, 1_000_000)].sort().values
    xyz, footprint = xyz[pick], footprint[pick]
    made = VoxelCache(VOXEL, CHANNELS, dtype=torch.bfloat16, extent_scale=0.0)
    features = torch.randn(len(pick), CHANNELS, generator=g).bfloat16()
    copies = rows // len(pick)
    for k in reversed(range(copies)):
        made.insert(xyz + torch.tensor([0, COPY_DISTANCE * k, 0]), features, footprint)
    made.insert(torch.full((1, 3), 15.0), features[:1])
    return made


def read(scene: str, rows: int, *, cull: bool = True) -> Case:
    """Read nine views of a large cache, without extents, which no baseline has."""
    made, cameras = large_cache(scene, rows).to(DEVICE), scenes.path(scene).to(DEVICE)

    def check(result: Any) -> None:
        few = min(rows, 1_000_000)  # the reference takes minutes for more, and no camera sees the copies
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
    """Insert a chunk of nine latents into a large cache, which is cloned before every call."""
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
    """Insert a cloud into an empty cache."""
    xyz, features, footprint = (to_device(x, DEVICE) for x in scenes.valid_points(scene, of))
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
    """The overlap of views with past frames whose voxels are kept."""
    a = to_device(retrieval_scene(scene), DEVICE)
    return Case(
        "retrieve", scene, f"{views} view{'s' * (views > 1)}, past frames kept",
        lambda: overlap(visible_voxels(a, a.targets[:views]), a.past_bits),
        lambda shares: assert_bits(shares, expected("retrieve", scene, views)),
        facts={"points": len(a.xyz), "views": views, "frames": len(a.past)},
    )  # fmt: skip


def retrieve_by_poses(scene: str, *, some: bool = False) -> Case:
    """The overlap of a view with past frames given by their poses, or with some of them."""
    a = to_device(retrieval_scene(scene), DEVICE)
    cameras = a.past_cameras[SOME] if some else a.past_cameras

    def check(shares: Tensor) -> None:  # the reference takes a minute for all of them
        assert_bits(shares[:, SOME], expected("retrieve_by_poses", scene, some=True))

    return Case(
        "retrieve", scene, "1 view, past frames by their poses",
        lambda: overlap(visible_voxels(a, a.targets[:1]), visible_voxels(a, cameras)),
        check,
        facts={"points": len(a.xyz), "views": 1, "frames": len(cameras)},
    )  # fmt: skip


class Step:
    """The memory step of one chunk in a scene that is half known: read its views, retrieve past latents, write."""

    def __init__(self, scene: str, video: Video) -> None:
        depth, latents, self.cameras = (to_device(x, DEVICE) for x in scenes.chunk(scene, video))
        self.depth, self.latents = depth, latents.movedim(1, 0)
        self.grid = self.cameras.rescale(video.grid)
        half = video.latents // 2
        self.before = LatentSpatialMemory(CHANNELS, dtype=torch.bfloat16, device=DEVICE)
        self.before.write(self.latents[:, :half], self.cameras[:half], self.depth[:half])

    def prepare(self) -> LatentSpatialMemory:
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
        "memory step", scene, video.name, step.run, check, lambda: (step.prepare(),),
        {"frames": video.frames, "views": video.latents},
    )  # fmt: skip


ROLLOUT_SIZE = (480, 720)  # the image of the motorcycle is 500x741


def whole_rollout(frames: int) -> Case:
    """A rollout that moves to the right and back past the motorcycle, 33 frames per chunk."""
    scene = motorcycle().rescale(ROLLOUT_SIZE)
    path = truck(scene.keys[:1], out_and_back(frames), 0.2)
    codec, model = DctCodec(), FillModel()

    def run() -> list[list[int]]:
        memory = LatentSpatialMemory(CHANNELS, codec=codec.name, device=DEVICE)
        steps = rollout(scene.image, scene.depth, path, memory=memory, codec=codec, model=model)
        return [chunk.written for chunk in steps]

    def check(written: list[list[int]]) -> None:
        assert written == expected("whole_rollout", frames)

    size = f"{ROLLOUT_SIZE[0]}x{ROLLOUT_SIZE[1]}, {frames} frames"
    return Case("rollout", "motorcycle", size, run, check, facts={"frames": frames})
