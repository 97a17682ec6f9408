# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval: which of 100 past frames share most with a view that has 900,000 points of the memory in it.

Past frames come in two kinds: the 100,000 pixels that each of them saw, whose sets are worked out once and kept; or,
as the memory has it, whatever points lie in the view of its camera, worked out from the poses at every retrieval.
Python sets are given the points in view free of charge.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

import mirage_kernels as mk
from benchmarks import scenes
from benchmarks.baselines import python_sets
from mirage_kernels import Cameras, group_voxels, overlap, unproject, visible

IN_VIEW = 900_000
PAST_FRAMES = 100
POINTS_A_FRAME = 100_000
TIMED_FRAMES = 5  # of those that Python works out from the poses


class Archive(NamedTuple):
    """A memory and its past."""

    xyz: Tensor  # (N, 3), of which IN_VIEW are in the first target's view
    groups: Tensor  # (N,)
    num_groups: int
    targets: Cameras  # 9
    past: list[Tensor]  # the points each past frame saw, up to POINTS_A_FRAME
    past_bits: Tensor  # (PAST_FRAMES, W), their voxels
    past_cameras: Cameras  # PAST_FRAMES along the same walk


@cache
def archive(scene: str) -> Archive:
    depth, cameras = scenes.frames(scene)
    g = torch.Generator().manual_seed(0)
    frames = unproject(depth, torch.zeros(scenes.FRAMES, 1, *scenes.SIZE), cameras)
    points_of, valid_of = frames.xyz.chunk(scenes.FRAMES), frames.valid.chunk(scenes.FRAMES)
    own = [xyz[valid] for xyz, valid in zip(points_of, valid_of, strict=True)]
    past = []
    for k in range(PAST_FRAMES):  # more than were recorded: some are shown twice, by other pixels
        points = own[k % scenes.FRAMES]
        past.append(points[torch.randperm(len(points), generator=g)[:POINTS_A_FRAME].sort().values])
    path = scenes.path(scene)
    targets = path[[4, 0, 1, 2, 3, 5, 6, 7, 8]]
    known = frames.valid.nonzero().squeeze(1)
    order = known[torch.randperm(len(known), generator=g)]
    inside = targets[0].project(frames.xyz[order])[2][0]
    enough = int((inside.cumsum(0) < IN_VIEW).sum()) + 1
    xyz = frames.xyz[order[:enough].sort().values]
    groups, num_groups = group_voxels(torch.cat([xyz, *past]), python_sets.VOXEL)
    rest = torch.split(groups[len(xyz) :], [len(points) for points in past])
    past_bits = [
        visible(points, cameras[k % scenes.FRAMES], groups=rest[k], num_groups=num_groups)
        for k, points in enumerate(past)
    ]
    times = torch.linspace(0, scenes.FRAMES - 1, PAST_FRAMES)
    past_cameras = cameras.interpolate(times).rescale(scenes.GRID)
    return Archive(xyz, groups[: len(xyz)], num_groups, targets, past, torch.cat(past_bits), past_cameras)


@cache
def kept_sets(scene: str) -> list[python_sets.Voxels]:
    return [python_sets.voxels(points) for points in archive(scene).past]


@cache
def expected_shares(scene: str) -> list[float]:
    a = archive(scene)
    shares = python_sets.shares(python_sets.voxels(in_view(a, a.targets[0])), kept_sets(scene))
    return [float(x) for x in torch.tensor(shares)]  # as float32


def look(archive: Archive, cameras: Cameras) -> Tensor:
    return visible(archive.xyz, cameras, groups=archive.groups, num_groups=archive.num_groups)


def in_view(archive: Archive, camera: Cameras) -> Tensor:
    return archive.xyz[camera.project(archive.xyz)[2][0]]


def describe(benchmark: Any, archive: Archive, group: str, who: str) -> None:
    benchmark.group = group
    benchmark.extra_info.update(
        who=who, subject=who == "cpp", points=len(archive.xyz), voxels=archive.num_groups, past=PAST_FRAMES
    )


def rounds(way: str) -> dict[str, int]:
    return {"rounds": 2} if way == "reference" else {"rounds": 50, "warmup_rounds": 5}


WAYS = ("python sets", "python sets, those of the past kept", "reference", "cpp")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scene", scenes.scenes())
def test_retrieve(benchmark: Any, scene: str, way: str) -> None:
    a = archive(scene)
    target = in_view(a, a.targets[0])
    assert len(target) == IN_VIEW
    describe(benchmark, a, f"retrieve {scene}, 1 view, past frames as kept sets", way)
    if way == "python sets":
        benchmark.pedantic(lambda: python_sets.retrieve(target, a.past), rounds=1)
        return
    if way.startswith("python"):
        past = kept_sets(scene)
        benchmark.pedantic(lambda: python_sets.shares(python_sets.voxels(target), past), rounds=3)
        return
    with mk.use_backend(way):
        found = overlap(look(a, a.targets[0]), a.past_bits)
        assert found[0].tolist() == expected_shares(scene)
        benchmark.pedantic(lambda: overlap(look(a, a.targets[0]), a.past_bits), **rounds(way))


@pytest.mark.parametrize("way", ["python sets", "cpp"])
@pytest.mark.parametrize("scene", scenes.scenes())
def test_retrieve_by_poses(benchmark: Any, scene: str, way: str) -> None:
    """Python is timed on a few of the past frames, and its time is not scaled."""
    a = archive(scene)
    some = list(range(0, PAST_FRAMES, PAST_FRAMES // TIMED_FRAMES))
    target = in_view(a, a.targets[0])
    past = [in_view(a, a.past_cameras[k]) for k in some]
    who = f"python sets, {TIMED_FRAMES} of the {PAST_FRAMES} past frames" if way == "python sets" else way
    describe(benchmark, a, f"retrieve {scene}, 1 view, past frames by their poses", who)
    if way == "python sets":
        benchmark.pedantic(lambda: python_sets.retrieve(target, past), rounds=1)
        return
    with mk.use_backend(way):
        found = overlap(look(a, a.targets[0]), look(a, a.past_cameras))
        assert found[0, some].tolist() == torch.tensor(python_sets.retrieve(target, past)).tolist()
        benchmark.pedantic(lambda: overlap(look(a, a.targets[0]), look(a, a.past_cameras)), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("way", ["reference", "cpp"])
@pytest.mark.parametrize("scene", scenes.scenes())
def test_retrieve_for_a_chunk(benchmark: Any, scene: str, way: str) -> None:
    a = archive(scene)
    describe(benchmark, a, f"retrieve {scene}, 9 views, past frames as kept sets", way)
    with mk.use_backend("reference"):
        expected = overlap(look(a, a.targets), a.past_bits)
    with mk.use_backend(way):
        assert torch.equal(overlap(look(a, a.targets), a.past_bits), expected)
        benchmark.pedantic(lambda: overlap(look(a, a.targets), a.past_bits), **rounds(way))


@pytest.mark.parametrize("scene", scenes.scenes())
def test_group_voxels(benchmark: Any, scene: str) -> None:
    a = archive(scene)
    describe(benchmark, a, f"voxels of {len(a.xyz):,} points, {scene}", "any backend")
    benchmark.pedantic(lambda: group_voxels(a.xyz, python_sets.VOXEL), rounds=5, warmup_rounds=1)
