# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny shards and recipes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_training
from accelerate.state import AcceleratorState


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of shards of eight procedural clips; tests must not change it."""
    folder = tmp_path_factory.mktemp("data") / "shards"
    small_training.build(folder)
    return folder


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Let every test choose precision and trackers: accelerate keeps those of a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
