# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a frame costs: one chunk of a walk through a place that is half known already, and whole rollouts."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import cases, scenes
from benchmarks.sizes import CHUNK, VIDEOS, Video
from benchmarks.timing import time_case, ways


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize(("scene", "video"), scenes.sizes(VIDEOS, CHUNK), ids=str)
def test_memory_step(benchmark: Any, scene: str, video: Video, way: str) -> None:
    time_case(benchmark, cases.memory_step(scene, video), way)


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize("frames", [33, 97])
def test_rollout(benchmark: Any, frames: int, way: str) -> None:
    """Codec and generator are the embedded stand-ins; every part of the loop counts."""
    time_case(benchmark, cases.walk(frames), way)
