# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The voxel cache: building one, adding a chunk to a large one, reading it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks import cases, scenes
from benchmarks.baselines import argsort
from benchmarks.sizes import CHUNK, POINTS, ROWS, Video
from benchmarks.timing import time_case, ways
from mirage_kernels import Fusion

CLOUDS = (CHUNK.cells, *POINTS)
MILLION = ROWS[2]


def of(points: int) -> Video | int:
    return CHUNK if points == CHUNK.cells else points


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize("fusion", ["best", "mean"])
@pytest.mark.parametrize(("scene", "points"), scenes.sizes(CLOUDS, CLOUDS[-1]))
def test_build(benchmark: Any, scene: str, points: int, fusion: Fusion, way: str) -> None:
    """An empty cache takes in a cloud at 5 cm."""
    time_case(benchmark, cases.build(scene, of(points), fusion), way)


@pytest.mark.parametrize(("scene", "points"), scenes.sizes(CLOUDS, CLOUDS[-1]))
def test_copy(benchmark: Any, scene: str, points: int) -> None:
    """Copying the features once: no way of building can be expected to beat that."""
    _, features, _ = scenes.known(scene, of(points))
    case = cases.build(scene, of(points))
    case = case._replace(run=features.clone, check=lambda made: torch.testing.assert_close(made, features))
    time_case(benchmark, case, "copy of the features", "bound")


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize(("scene", "rows"), scenes.sizes(ROWS, MILLION))
def test_insert(benchmark: Any, scene: str, rows: int, way: str) -> None:
    """A chunk of nine latents."""
    time_case(benchmark, cases.insert(scene, rows), way)


@pytest.mark.parametrize("way", [way for way in ways() if way != "reference"])
@pytest.mark.parametrize(("scene", "rows"), scenes.sizes(ROWS, MILLION))
def test_read(benchmark: Any, scene: str, rows: int, way: str) -> None:
    """Nine views along the path."""
    time_case(benchmark, cases.read(scene, rows), way)


@pytest.mark.parametrize(("scene", "rows"), scenes.sizes(ROWS, MILLION))
def test_read_all_rows(benchmark: Any, scene: str, rows: int) -> None:
    time_case(benchmark, cases.read(scene, rows, cull=False), "cpp, no culling", "variant")


@pytest.mark.parametrize(("scene", "rows"), scenes.sizes(ROWS[:3], MILLION))
def test_read_by_the_reference(benchmark: Any, scene: str, rows: int) -> None:
    """It takes seconds at ten million rows, and gigabytes."""
    time_case(benchmark, cases.read(scene, rows), "reference")


@pytest.mark.parametrize(("scene", "rows"), scenes.sizes(ROWS[:3], MILLION))
def test_read_by_argsort(benchmark: Any, scene: str, rows: int) -> None:
    ours, cache, cameras = cases.read(scene, rows), cases.large_cache(scene, rows), scenes.path(scene)
    xyz, features = cache.xyz.clone(), cache.features()

    def check(result: tuple[torch.Tensor, torch.Tensor]) -> None:  # another order of rounding at the borders
        assert (result[1] == ours.run().mask).float().mean() > 0.999

    case = ours._replace(run=lambda: argsort.read(xyz, features, cameras), check=check)
    time_case(benchmark, case, "argsort", "method")
