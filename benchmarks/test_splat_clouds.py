# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Eight clouds in one call of ``splat``, beside a loop of eight calls and a concatenation of their maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from benchmarks import scenes
from benchmarks.sizes import CHUNK, GRID
from benchmarks.timing import Case, time_case
from mirage_kernels import Cameras, Splat, splat
from mirage_kernels.testing import assert_same

CLOUDS = 8


class Work(NamedTuple):
    xyz: Tensor  # (B, N, 3)
    features: Tensor  # (B, N, C)
    cameras: Cameras

    def at_once(self) -> Splat:
        return splat(self.xyz, self.features, self.cameras)


def work(points: int, views: int, size: tuple[int, int]) -> Work:
    """The room's cloud, thinned, each time moved by a centimeter."""
    cloud = scenes.cloud("room", CHUNK)
    pick = torch.linspace(0, len(cloud.xyz) - 1, points).long()
    shifts = 0.01 * torch.arange(CLOUDS)[:, None, None]
    cameras = cloud.cameras.rescale(size)[:views]
    features = cloud.features[pick].expand(CLOUDS, -1, -1).contiguous()
    return Work(cloud.xyz[pick] + shifts, features, Cameras.cat([cameras] * CLOUDS))


def loop(w: Work) -> Callable[[], Splat]:
    """The eight calls, with operands that are cut before the clock starts."""
    each = len(w.cameras) // CLOUDS
    parts = [(w.xyz[b], w.features[b], w.cameras[each * b : each * (b + 1)]) for b in range(CLOUDS)]
    return lambda: Splat(*map(torch.cat, zip(*(splat(*part) for part in parts), strict=True)))


@pytest.mark.parametrize("way", ["one call", "loop"])
@pytest.mark.parametrize(("points", "views", "size"), [(64, 1, (8, 8)), (31_680, 9, GRID)], ids=["small", "large"])
def test_clouds(benchmark: Any, points: int, views: int, size: tuple[int, int], way: str) -> None:
    w = work(points, views, size)
    run = w.at_once if way == "one call" else loop(w)
    what = f"{CLOUDS} clouds of {points:,} points by {views} views of {size[0]}x{size[1]}"
    case = Case("splat of clouds", "room", what, run, lambda result: assert_same(result, loop(w)()))
    time_case(benchmark, case, "cpp" if way == "one call" else "loop", "ours" if way == "one call" else "variant")
