# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a memory runs for each frame or view; the reference is what one writes in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import frame_cases, scenes
from benchmarks.sizes import CHUNK, VIDEOS, Video
from benchmarks.timing import Case, backends, time_case

CASES = (
    frame_cases.associate_frame,
    frame_cases.read_surface,
    frame_cases.blend_view,
    frame_cases.quantize_latents,
)


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("video", [VIDEOS[0], CHUNK], ids=str)
def test_frame(benchmark: Any, make: Callable[[str, Video], Case], video: Video, backend: str) -> None:
    time_case(benchmark, make(scenes.scenes()[-1], video), backend)
