# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The cost per frame: the memory step of one chunk in a scene that is half known, and whole rollouts."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import cases, scenes
from benchmarks.sizes import CHUNK, VIDEOS, Video
from benchmarks.timing import backends, time_case


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize(("scene", "video"), scenes.sizes(VIDEOS, CHUNK), ids=str)
def test_memory_step(benchmark: Any, scene: str, video: Video, backend: str) -> None:
    time_case(benchmark, cases.memory_step(scene, video), backend)


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("frames", [33, 97])
def test_rollout(benchmark: Any, frames: int, backend: str) -> None:
    """With the embedded codec and video model; every part of the loop is timed."""
    time_case(benchmark, cases.whole_rollout(frames), backend)
