# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
from compat_scenes import Scene, random_scene, recorded_scene


@pytest.fixture(scope="session")
def recorded(data: Path) -> Scene:
    """Some frames of the recording."""
    return recorded_scene(data)


@pytest.fixture(params=["random", "recorded"])
def scene(request: pytest.FixtureRequest) -> Scene:
    """A random scene, then the recording."""
    if request.param == "random":
        return random_scene(7)
    return request.getfixturevalue("recorded")
