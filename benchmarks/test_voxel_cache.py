# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The voxel cache: building one, adding a chunk to a large one, reading it. 48 float32 channels."""

from __future__ import annotations

from functools import cache as memoise
from typing import Any

import pytest
import torch

import mirage_kernels as mk
from benchmarks import scenes
from benchmarks.baselines import argsort, open3d_map, unique
from mirage_kernels import VoxelCache, splat, unproject
from mirage_kernels.testing import assert_same

POINTS = (31_680, 316_800, 1_000_000)
BUILD_SIZE, READ_SIZE = 0.05, 0.01


def points(scene: str, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    c = scenes.cloud(scene, count)
    return c.xyz[c.valid], c.features[c.valid], c.footprint[c.valid]


def build(scene: str, count: int, size: float, fusion: str = "best") -> VoxelCache:
    cache = VoxelCache(size, scenes.CHANNELS, extent_scale=0.0, fusion=fusion)
    xyz, features, footprint = points(scene, count)
    cache.insert(xyz, features, footprint)
    return cache


@pytest.mark.parametrize("way", ["cpp", "cpp, mean", "torch.unique", "Open3D", "copy of the features"])
@pytest.mark.parametrize("count", POINTS)
@pytest.mark.parametrize("scene", scenes.scenes())
def test_build(benchmark: Any, scene: str, count: int, way: str) -> None:
    """An empty cache takes in a cloud at 5 cm; torch.unique and index_add_, and Open3D's hash map do the same."""
    xyz, features, footprint = points(scene, count)
    benchmark.group = f"build {scene}, {count:,} points, 5 cm"
    benchmark.extra_info.update(who=way, subject=way == "cpp")
    rounds = max(7, min(60, 6_000_000 // count))
    if way == "copy of the features":
        benchmark.pedantic(features.clone, rounds=rounds, warmup_rounds=3)
    elif way == "torch.unique":
        keys, _ = unique.build(xyz, features, BUILD_SIZE)
        assert abs(len(keys) - len(build(scene, count, BUILD_SIZE))) < 1e-3 * len(keys)  # x / s is not x (1 / s)
        benchmark.pedantic(lambda: unique.build(xyz, features, BUILD_SIZE), rounds=rounds, warmup_rounds=3)
    elif way == "Open3D":
        open3d = pytest.importorskip("open3d", exc_type=ImportError)
        benchmark.pedantic(lambda: open3d_map.build(open3d, xyz, features, BUILD_SIZE), rounds=rounds, warmup_rounds=3)
    else:
        fusion = "mean" if way == "cpp, mean" else "best"

        def run() -> None:
            cache = VoxelCache(BUILD_SIZE, scenes.CHANNELS, fusion=fusion)
            cache.insert(xyz, features, footprint)

        with mk.use_backend("cpp"):
            benchmark.pedantic(run, rounds=rounds, warmup_rounds=3)


@memoise
def large(scene: str) -> VoxelCache:
    """A million rows, drawn by seed from what all frames at depth resolution fill at 1 cm, with room for a chunk."""
    depth, cameras = scenes.frames(scene)
    full = VoxelCache(READ_SIZE, 0)
    for t in range(scenes.FRAMES):
        p = unproject(depth[t : t + 1], torch.zeros(1, 0, *scenes.SIZE), cameras[t])
        full.insert(p.xyz, p.features, p.footprint, valid=p.valid)
    generator = torch.Generator().manual_seed(0)
    pick = torch.randperm(len(full), generator=generator)[:1_000_000].sort().values
    features = torch.randn(len(pick), scenes.CHANNELS, generator=generator)
    cache = VoxelCache(READ_SIZE, scenes.CHANNELS, extent_scale=0.0)
    cache.insert(full.xyz[pick], features, full.footprint[pick])
    cache.insert(torch.full((1, 3), 50.0), torch.zeros(1, scenes.CHANNELS))
    return cache


@pytest.mark.parametrize("way", ["reference", "cpp"])
@pytest.mark.parametrize("scene", scenes.scenes())
def test_insert(benchmark: Any, scene: str, way: str) -> None:
    """A chunk of nine latents, 31,680 points, into a cache of a million."""
    c = scenes.cloud(scene, 31_680)
    base = large(scene)
    benchmark.group = f"insert {scene}, 31,680 points into {len(base):,} rows"
    benchmark.extra_info.update(who=way, subject=way == "cpp")

    def fresh() -> tuple[tuple[VoxelCache], dict[str, Any]]:
        return (base.clone(),), {}

    def run(cache: VoxelCache) -> None:
        cache.insert(c.xyz, c.features, c.footprint, valid=c.valid)

    with mk.use_backend(way):
        benchmark.pedantic(run, setup=fresh, rounds=9, warmup_rounds=2)


@pytest.mark.parametrize("way", ["argsort", "cpp, no culling", "cpp"])
@pytest.mark.parametrize("scene", scenes.scenes())
def test_read(benchmark: Any, scene: str, way: str) -> None:
    """Nine views along the path out of a million voxels of 1 cm; extents off, as the baseline has none."""
    cache, cameras = large(scene), scenes.path(scene)
    benchmark.group = f"cache read {scene}, {len(cache):,} rows"
    benchmark.extra_info.update(who=way, subject=way == "cpp")
    if way == "argsort":
        xyz, features = cache.xyz.clone(), cache.features()
        _, mask = argsort.read(xyz, features, cameras)
        assert (mask == cache.splat(cameras).mask).float().mean() > 0.999  # another order of rounding at the borders
        benchmark.pedantic(lambda: argsort.read(xyz, features, cameras), rounds=7, warmup_rounds=2)
        return
    with mk.use_backend("cpp"):
        cull = way == "cpp"
        assert_same(cache.splat(cameras, cull=cull), splat(cache.xyz, cache.features(), cameras))
        benchmark.pedantic(lambda: cache.splat(cameras, cull=cull), rounds=60, warmup_rounds=6)
