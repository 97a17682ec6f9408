# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval: which of 100 past frames share most with a view that has 900,000 points of the memory in it.

Past frames come in two kinds: the 100,000 pixels that each of them saw, whose sets are worked out once and kept; or,
as the memory has it, whatever points lie in the view of its camera, worked out from the poses at every retrieval.
Python sets are given the points in view free of charge.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from benchmarks import cases, scenes
from benchmarks.archive import IN_VIEW, PAST_FRAMES, SOME, archive, in_view
from benchmarks.baselines import python_sets
from benchmarks.timing import time_case, ways


@cache
def kept_sets(scene: str) -> list[python_sets.Voxels]:
    return [python_sets.voxels(points) for points in archive(scene).past]


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize("scene", scenes.scenes())
def test_retrieve(benchmark: Any, scene: str, way: str) -> None:
    time_case(benchmark, cases.retrieve(scene), way)


@pytest.mark.parametrize("keep", [False, True], ids=["made anew", "kept"])
@pytest.mark.parametrize("scene", scenes.scenes()[-1:])
def test_retrieve_by_python_sets(benchmark: Any, scene: str, *, keep: bool) -> None:
    """Of past frames, either every set is kept, or those of a few are made."""
    a, ours = archive(scene), cases.retrieve(scene)
    target, some = in_view(a, a.targets[0]), a.past[SOME]
    assert len(target) == IN_VIEW

    def run() -> list[float]:
        past = kept_sets(scene) if keep else map(python_sets.voxels, some)
        return python_sets.shares(python_sets.voxels(target), past)

    def check(shares: list[float]) -> None:
        expected = ours.run()[0]
        assert (expected if keep else expected[SOME]).tolist() == torch.tensor(shares).tolist()  # as float32

    way = "Python sets, those of the past kept" if keep else f"Python sets, {len(some)} of the {PAST_FRAMES} frames"
    time_case(benchmark, ours._replace(run=run, check=check), way, "method")


@pytest.mark.parametrize("way", [way for way in ways() if way != "reference"])
@pytest.mark.parametrize("scene", scenes.scenes())
def test_retrieve_by_poses(benchmark: Any, scene: str, way: str) -> None:
    time_case(benchmark, cases.retrieve_by_poses(scene), way)


@pytest.mark.parametrize("scene", scenes.scenes()[-1:])
def test_retrieve_by_poses_and_python_sets(benchmark: Any, scene: str) -> None:
    """Timed on a few of the past frames, and its time is not scaled."""
    a, ours = archive(scene), cases.retrieve_by_poses(scene)
    target, past = in_view(a, a.targets[0]), [in_view(a, a.past_cameras[k]) for k in range(PAST_FRAMES)[SOME]]

    def check(shares: list[float]) -> None:
        assert ours.run()[0, SOME].tolist() == torch.tensor(shares).tolist()

    case = ours._replace(run=lambda: python_sets.retrieve(target, past), check=check)
    time_case(benchmark, case, f"Python sets, {len(past)} of the {PAST_FRAMES} frames", "method")


@pytest.mark.parametrize("way", ways())
@pytest.mark.parametrize("scene", scenes.scenes())
def test_retrieve_for_a_chunk(benchmark: Any, scene: str, way: str) -> None:
    time_case(benchmark, cases.retrieve(scene, views=9), way)
