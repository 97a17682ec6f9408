# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Lifting latents: 9 frames of 704x1280 depth, 44x80 cells, 48 channels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mirage_kernels as mk
from benchmarks import scenes
from mirage.memory import LatentSpatialMemory
from mirage_kernels import unproject
from mirage_kernels.testing import assert_same


def frames(scene: str) -> tuple[torch.Tensor, torch.Tensor, mk.Cameras]:
    depth, cameras = scenes.frames(scene)
    used = list(range(5, 59, 6))
    full = torch.nn.functional.interpolate(depth[used, None], (704, 1280), mode="nearest")[:, 0]
    latents = torch.randn(9, scenes.CHANNELS, *scenes.GRID, generator=torch.Generator().manual_seed(0))
    return full, latents, cameras[used].rescale((704, 1280))


@pytest.mark.parametrize("way", ["reference", "cpp"])
@pytest.mark.parametrize("pooling", ["median", "nearest", "min", "bilinear"])
@pytest.mark.parametrize("scene", scenes.scenes())
def test_unproject(benchmark: Any, scene: str, pooling: str, way: str) -> None:
    depth, latents, cameras = frames(scene)
    benchmark.group = f"unproject {scene}, {pooling}"
    benchmark.extra_info.update(who=way, subject=way == "cpp")
    with mk.use_backend("reference"):
        expected = unproject(depth, latents, cameras, pooling=pooling)
    with mk.use_backend(way):
        assert_same(unproject(depth, latents, cameras, pooling=pooling), expected)
        rounds = 5 if way == "reference" else 50
        benchmark.pedantic(
            lambda: unproject(depth, latents, cameras, pooling=pooling), rounds=rounds, warmup_rounds=rounds // 5
        )


@pytest.mark.parametrize("way", ["reference", "cpp"])
@pytest.mark.parametrize("scene", scenes.scenes())
def test_memory_step(benchmark: Any, scene: str, way: str) -> None:
    """Writing nine observed frames to a memory by the view rule, then reading them all: the cost of a chunk."""
    depth, latents, cameras = frames(scene)
    grid = cameras.rescale(scenes.GRID)
    benchmark.group = f"memory step {scene}: write 9 frames, read 9 views"
    benchmark.extra_info.update(who=way, subject=way == "cpp")

    def step() -> None:
        memory = LatentSpatialMemory(scenes.CHANNELS)
        memory.write(latents.movedim(1, 0), cameras, depth)
        memory.read(grid)

    with mk.use_backend(way):
        rounds = 3 if way == "reference" else 20
        benchmark.pedantic(step, rounds=rounds, warmup_rounds=1)
