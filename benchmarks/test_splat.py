# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Splatting: the latents of a chunk into all of its views, and larger clouds into nine views."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mirage_kernels as mk
from benchmarks import cases, scenes
from benchmarks.baselines import sorted_layers
from benchmarks.sizes import CHUNK, GRID, POINTS, VIDEOS, Video
from benchmarks.timing import Case, backends, time_case
from mirage.evaluation.baselines import argsort
from mirage_kernels import Cameras, splat


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize(("scene", "of"), scenes.sizes([*VIDEOS, *POINTS], POINTS[1]), ids=str)
def test_splat(benchmark: Any, scene: str, of: Video | int, backend: str) -> None:
    time_case(benchmark, cases.splat_cloud(scene, of), backend)


@pytest.mark.parametrize(("scene", "of"), scenes.sizes([CHUNK, *POINTS], POINTS[1]), ids=str)
def test_argsort(benchmark: Any, scene: str, of: Video | int) -> None:
    ours = cases.splat_cloud(scene, of)
    xyz, features, _ = scenes.valid_points(scene, of)
    cameras = scenes.cloud(scene, of).cameras

    def check(result: tuple[torch.Tensor, torch.Tensor]) -> None:  # rounding differs at the borders
        assert (result[1] == ours.run().mask).float().mean() > 0.999

    case = ours._replace(run=lambda: argsort.read(xyz, features, cameras), check=check)
    time_case(benchmark, case, "argsort", "method")


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("of", [CHUNK, POINTS[0]], ids=str)
@pytest.mark.parametrize("kind", ["extents", "radius 0.7", "bilinear"])
def test_other_kinds(benchmark: Any, kind: str, of: Video | int, backend: str) -> None:
    time_case(benchmark, cases.splat_cloud(scenes.scenes()[-1], of, kind), backend)


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("k", [1, 8, 16])
def test_layers(benchmark: Any, k: int, backend: str) -> None:
    time_case(benchmark, cases.splat_layers("room", POINTS[0], k), backend)


def test_sorted_layers(benchmark: Any) -> None:
    ours = cases.splat_layers("room", POINTS[0], 8)
    xyz, _, _ = scenes.valid_points("room", POINTS[0])
    cameras = scenes.cloud("room", POINTS[0]).cameras

    def check(result: torch.Tensor) -> None:  # rounding differs at the borders
        assert ((result >= 0) == ours.run().mask).float().mean() > 0.99

    case = ours._replace(run=lambda: sorted_layers.read(xyz, cameras, 8), check=check)
    time_case(benchmark, case, "sort by cell and depth", "method")


@pytest.mark.parametrize("backend", backends())
def test_composite(benchmark: Any, backend: str) -> None:
    time_case(benchmark, cases.composite_layers("room", POINTS[0], 8), backend)


def test_gathered_composite(benchmark: Any) -> None:
    ours = cases.composite_layers("room", POINTS[0], 8)
    features, layers, weights = cases.layers_to_blend("room", POINTS[0], 8)

    def check(result: torch.Tensor) -> None:
        torch.testing.assert_close(result, ours.run(), rtol=1e-4, atol=1e-4)

    case = ours._replace(run=lambda: sorted_layers.composite(features, layers.index, weights), check=check)
    time_case(benchmark, case, "gather and einsum", "method")


@pytest.mark.parametrize("backend", backends())
def test_gradient(benchmark: Any, backend: str) -> None:
    time_case(benchmark, cases.splat_gradient(scenes.scenes()[-1], CHUNK), backend)


@pytest.mark.parametrize("isa", mk.instruction_sets())
def test_instruction_sets(benchmark: Any, isa: str) -> None:
    case = cases.splat_cloud("room", POINTS[0])
    mk.use_instruction_set(isa)
    try:
        case = case._replace(operation="splat by instruction set")
        time_case(benchmark, case, isa, "ours" if isa == mk.instruction_sets()[-1] else "variant")
    finally:
        mk.use_instruction_set(mk.instruction_sets()[-1])


@pytest.mark.parametrize("size", [(8, 8), GRID], ids=["8x8", "44x80"])
def test_overhead(benchmark: Any, size: tuple[int, int]) -> None:
    """One eager call with almost no work; the cameras exist already."""
    cloud = scenes.cloud("room", CHUNK)
    camera = cloud.cameras[4].rescale(size)
    pick = torch.arange(4 * 3520, 5 * 3520, 55)
    xyz, features = cloud.xyz[pick].contiguous(), cloud.features[pick].contiguous()

    def check(result: mk.Splat) -> None:
        assert result.mask.any()

    what = f"splat of {len(xyz)} points into one camera of {size[0]}x{size[1]}"
    time_case(benchmark, Case("overhead", "room", what, lambda: splat(xyz, features, camera), check), "cpp")


@pytest.mark.parametrize("count", [1, 9])
def test_building_cameras(benchmark: Any, count: int) -> None:
    path = scenes.path("room")[:count]

    def check(result: Cameras) -> None:
        assert torch.equal(result.world2cam, path.world2cam)

    case = Case(
        "overhead", "room", f"building {count} Cameras",
        lambda: Cameras(path.intrinsics, path.cam2world, GRID), check,
    )  # fmt: skip
    time_case(benchmark, case, "cpp")
