# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A memory and its past, to retrieve from: a view with 900,000 points of the memory in it, and 100 past frames."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks import scenes
from benchmarks.baselines import python_sets
from mirage_kernels import Cameras, group_voxels, unproject, visible

IN_VIEW = 900_000
PAST_FRAMES = 100
POINTS_A_FRAME = 100_000
SOME = slice(0, PAST_FRAMES, 20)  # of the past frames, for those who would take minutes for all


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


def look(archive: Archive, cameras: Cameras) -> Tensor:
    return visible(archive.xyz, cameras, groups=archive.groups, num_groups=archive.num_groups)


def in_view(archive: Archive, camera: Cameras) -> Tensor:
    return archive.xyz[camera.project(archive.xyz)[2][0]]
