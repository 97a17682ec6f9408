# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The read of a memory: 9 views of 44x80 cells, 48 channels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mirage_kernels as mk
from benchmarks import scenes
from benchmarks.baselines import argsort
from mirage_kernels import Cameras, splat
from mirage_kernels.testing import assert_same

POINTS = (31_680, 316_800, 1_000_000)
WAYS = ("argsort", "reference", "cpp")


def read(way: str, cloud: scenes.Cloud, extent: Any = None) -> Any:
    if way == "argsort":
        return argsort.read(cloud.xyz[cloud.valid], cloud.features[cloud.valid], cloud.cameras)
    return splat(cloud.xyz, cloud.features, cloud.cameras, valid=cloud.valid, extent=extent)


def describe(benchmark: Any, group: str, way: str, points: int) -> None:
    benchmark.group = group
    benchmark.extra_info.update(who=way, subject=way == "cpp", points=points, views=9)


def measure(benchmark: Any, way: str, call: Any) -> None:
    rounds, warmup = {"argsort": (7, 2), "reference": (7, 2)}.get(way, (100, 10))
    benchmark.pedantic(call, rounds=rounds, warmup_rounds=warmup)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("scene", scenes.scenes())
def test_read(benchmark: Any, scene: str, points: int, way: str) -> None:
    cloud = scenes.cloud(scene, points)
    describe(benchmark, f"read {scene}, {points:,} points", way, points)
    if way == "argsort":  # what it takes in is prepared outside of the clock
        xyz, features = cloud.xyz[cloud.valid], cloud.features[cloud.valid]
        _, mask = argsort.read(xyz, features, cloud.cameras)
        assert (mask == read("cpp", cloud).mask).float().mean() > 0.999  # another order of rounding at the borders
        measure(benchmark, way, lambda: argsort.read(xyz, features, cloud.cameras))
        return
    with mk.use_backend("reference"):
        expected = read("reference", cloud)
    with mk.use_backend(way):
        assert_same(read(way, cloud), expected)
        measure(benchmark, way, lambda: read(way, cloud))


@pytest.mark.parametrize("way", ["reference", "cpp"])
@pytest.mark.parametrize("points", POINTS[:2])
@pytest.mark.parametrize("scene", scenes.scenes())
def test_read_with_extents(benchmark: Any, scene: str, points: int, way: str) -> None:
    cloud = scenes.cloud(scene, points)
    extent = 0.6 * cloud.footprint
    describe(benchmark, f"read {scene}, {points:,} points with extents", way, points)
    with mk.use_backend("reference"):
        expected = read("reference", cloud, extent)
    with mk.use_backend(way):
        assert_same(read(way, cloud, extent), expected)
        measure(benchmark, way, lambda: read(way, cloud, extent))


@pytest.mark.parametrize("way", ["reference", "cpp"])
@pytest.mark.parametrize(("kind", "options"), [("radius 0.7", {"radius": 0.7}), ("bilinear", {"mode": "bilinear"})])
def test_read_of_another_kind(benchmark: Any, kind: str, options: dict[str, Any], way: str) -> None:
    cloud = scenes.cloud("room", 31_680)
    describe(benchmark, f"read room, 31,680 points, {kind}", way, 31_680)

    def run() -> Any:
        return splat(cloud.xyz, cloud.features, cloud.cameras, valid=cloud.valid, **options)

    with mk.use_backend("reference"):
        expected = run()
    with mk.use_backend(way):
        assert_same(run(), expected)
        measure(benchmark, way, run)


@pytest.mark.parametrize("isa", mk.instruction_sets())
def test_read_by_instruction_set(benchmark: Any, isa: str) -> None:
    cloud = scenes.cloud("room", 316_800)
    benchmark.group = "read room, 316,800 points, by instruction set"
    benchmark.extra_info.update(who=isa, subject=isa == mk.instruction_sets()[-1])
    mk.use_instruction_set(isa)
    try:
        with mk.use_backend("cpp"):
            measure(benchmark, "cpp", lambda: read("cpp", cloud))
    finally:
        mk.use_instruction_set(mk.instruction_sets()[-1])


@pytest.mark.parametrize("way", ["reference", "cpp"])
def test_backward(benchmark: Any, way: str) -> None:
    cloud = scenes.cloud("room", 31_680)
    features = cloud.features.clone().requires_grad_()
    describe(benchmark, "gradient of the features, 31,680 points", way, 31_680)
    with mk.use_backend(way):
        view = cloud._replace(features=features)
        out = read(way, view).features
        grad = torch.randn_like(out)
        measure(benchmark, way, lambda: torch.autograd.grad(out, features, grad, retain_graph=True))


@pytest.mark.parametrize("size", [(8, 8), (44, 80)], ids=["8x8", "44x80"])
def test_overhead(benchmark: Any, size: tuple[int, int]) -> None:
    """One eager call with hardly any work, cameras built."""
    cloud = scenes.cloud("room", 31_680)
    camera = cloud.cameras[4].rescale(size)
    pick = torch.arange(4 * 3520, 4 * 3520 + 3520, 55)
    xyz, features = cloud.xyz[pick].contiguous(), cloud.features[pick].contiguous()
    benchmark.group = "overhead"
    benchmark.extra_info.update(who=f"splat of {len(xyz)} points into one camera of {size[0]}x{size[1]}")
    with mk.use_backend("cpp"):
        assert splat(xyz, features, camera).mask.any()
        benchmark.pedantic(lambda: splat(xyz, features, camera), rounds=3000, warmup_rounds=300)


@pytest.mark.parametrize("count", [1, 9])
def test_building_cameras(benchmark: Any, count: int) -> None:
    cameras = scenes.path("room")[:count]
    benchmark.group = "overhead"
    benchmark.extra_info.update(who=f"building {count} Cameras")
    benchmark.pedantic(
        lambda: Cameras(cameras.intrinsics, cameras.cam2world, scenes.GRID), rounds=2000, warmup_rounds=200
    )
