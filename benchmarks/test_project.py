# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``Cameras.project``; the reference is what one writes in plain PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import cases
from benchmarks.sizes import CHUNK, Video
from benchmarks.timing import backends, time_case


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize(("of", "views"), [(CHUNK, 9), (64, 1)], ids=str)
def test_project(benchmark: Any, of: Video | int, views: int, backend: str) -> None:
    time_case(benchmark, cases.project_cloud("room", of, views), backend)
