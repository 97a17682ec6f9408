# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Lifting the latents of a chunk: depth at full resolution, 48 channels."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import cases, scenes
from benchmarks.sizes import CHUNK, VIDEOS, Video
from benchmarks.timing import time_case, ways
from mirage_kernels import Pooling


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize(("scene", "video"), scenes.sizes(VIDEOS, CHUNK), ids=str)
def test_unproject(benchmark: Any, scene: str, video: Video, way: str) -> None:
    time_case(benchmark, cases.lift(scene, video), way)


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize("pooling", ["nearest", "min", "bilinear"])
def test_other_poolings(benchmark: Any, pooling: Pooling, way: str) -> None:
    time_case(benchmark, cases.lift(scenes.scenes()[-1], CHUNK, pooling), way)
