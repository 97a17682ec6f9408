# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Tiny shards and recipes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import small_training
from accelerate.state import AcceleratorState

from mirage.training.run import train


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of shards of eight procedural clips; tests must not change it."""
    folder = tmp_path_factory.mktemp("data") / "shards"
    small_training.build(folder)
    return folder


@pytest.fixture(scope="session")
def finished(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of all stages; tests must not change it."""
    out = tmp_path_factory.mktemp("run")
    values = ("checkpoint_every=2", "keep_checkpoints=9", "validate_every=3", "validation_steps=2")
    AcceleratorState._reset_state(reset_partial_state=True)
    train(small_training.recipe(small_training.ALL, *values), shards, out)
    AcceleratorState._reset_state(reset_partial_state=True)
    return out


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Let every test choose precision and trackers: accelerate keeps those of a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
