# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval: the overlap of 100 past frames with a view that contains 900,000 points of the memory.

Two kinds of past frames: the voxels of 100,000 pixels of each frame, computed once and kept; or the points in the view
of each frame's camera, computed from the poses at every retrieval, as the memory does. The points in view are not part
of the time of Python sets.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from benchmarks import cases, scenes
from benchmarks.retrieval_scene import IN_VIEW, PAST_FRAMES, SOME, in_view, retrieval_scene
from benchmarks.timing import backends, time_case
from mirage.evaluation.baselines import python_sets


@cache
def kept_sets(scene: str) -> list[python_sets.Voxels]:
    return [python_sets.voxels(points) for points in retrieval_scene(scene).past]


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("scene", scenes.scenes())
def test_retrieve(benchmark: Any, scene: str, backend: str) -> None:
    time_case(benchmark, cases.retrieve(scene), backend)


@pytest.mark.parametrize("keep", [False, True], ids=["computed", "kept"])
@pytest.mark.parametrize("scene", scenes.scenes()[-1:])
def test_retrieve_by_python_sets(benchmark: Any, scene: str, *, keep: bool) -> None:
    """Either with the sets of all past frames kept, or with the sets of a few frames computed in the call."""
    a, ours = retrieval_scene(scene), cases.retrieve(scene)
    target, some = in_view(a, a.targets[0]), a.past[SOME]
    assert len(target) == IN_VIEW

    def run() -> list[float]:
        past = kept_sets(scene) if keep else map(python_sets.voxels, some)
        return python_sets.ious(python_sets.voxels(target), past)

    def check(ious: list[float]) -> None:
        expected = ours.run()[0]
        assert (expected if keep else expected[SOME]).tolist() == torch.tensor(ious).tolist()  # as float32

    name = "Python sets, past sets kept" if keep else f"Python sets, {len(some)} of the {PAST_FRAMES} frames"
    time_case(benchmark, ours._replace(run=run, check=check), name, "method")


@pytest.mark.parametrize("backend", [name for name in backends() if name != "reference"])
@pytest.mark.parametrize("scene", scenes.scenes())
def test_retrieve_by_poses(benchmark: Any, scene: str, backend: str) -> None:
    time_case(benchmark, cases.retrieve_by_poses(scene), backend)


@pytest.mark.parametrize("scene", scenes.scenes()[-1:])
def test_retrieve_by_poses_and_python_sets(benchmark: Any, scene: str) -> None:
    """Timed on a few of the past frames; the time is not scaled."""
    a, ours = retrieval_scene(scene), cases.retrieve_by_poses(scene)
    target, past = in_view(a, a.targets[0]), [in_view(a, a.past_cameras[k]) for k in range(PAST_FRAMES)[SOME]]

    def check(ious: list[float]) -> None:
        assert ours.run()[0, SOME].tolist() == torch.tensor(ious).tolist()

    case = ours._replace(run=lambda: python_sets.retrieve(target, past), check=check)
    time_case(benchmark, case, f"Python sets, {len(past)} of the {PAST_FRAMES} frames", "method")


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("scene", scenes.scenes())
def test_retrieve_for_a_chunk(benchmark: Any, scene: str, backend: str) -> None:
    time_case(benchmark, cases.retrieve(scene, views=9), backend)
