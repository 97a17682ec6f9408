# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The examples in the docstrings of mirage."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import mirage

# Each has an example; a renamed or deleted example must not go unnoticed.
ENTRY_POINTS = {
    "mirage.cameras.actions.CameraController",
    "mirage.cameras.actions.parse_actions",
    "mirage.cameras.formats.write_cameras",
    "mirage.cameras.trajectories.dolly",
    "mirage.cameras.trajectories.orbit",
    "mirage.cameras.trajectories.pan",
    "mirage.cameras.trajectories.spiral",
    "mirage.cameras.trajectories.truck",
    "mirage.data.geometry.write_geometry",
    "mirage.io.files.read_depth",
    "mirage.io.files.read_image",
    "mirage.memory.latent_memory.LatentSpatialMemory",
    "mirage.memory.latent_memory.LatentSpatialMemory.read",
    "mirage.memory.latent_memory.LatentSpatialMemory.save",
    "mirage.memory.latent_memory.LatentSpatialMemory.write",
    "mirage.rollout.loop.RolloutSession",
    "mirage.rollout.loop.rollout",
}


def find_examples() -> dict[str, doctest.DocTest]:
    """The examples of all modules by the name of their object. ``mirage.__main__`` starts the command line."""
    names = [module.name for module in pkgutil.walk_packages(mirage.__path__, "mirage.")]
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = {}
    for name in sorted({"mirage", *names} - {"mirage.__main__"}):
        for test in finder.find(importlib.import_module(name), name):
            if test.examples:
                examples[test.name] = test
    return examples


EXAMPLES = find_examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_gives_what_it_shows(name: str) -> None:
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(EXAMPLES[name])
    assert result.attempted > 0
    assert result.failed == 0


def test_every_entry_point_has_an_example() -> None:
    assert ENTRY_POINTS - set(EXAMPLES) == set()
