# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The input of retrieval: a view that contains 900,000 points of the memory, and 100 past frames."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks import scenes
from mirage.evaluation.baselines import python_sets
from mirage_kernels import Cameras, group_voxels, unproject, visible

IN_VIEW = 900_000
PAST_FRAMES = 100
POINTS_PER_FRAME = 100_000
SOME = slice(0, PAST_FRAMES, 20)  # past frames for implementations that would take minutes for all


class RetrievalScene(NamedTuple):
    """The points of a memory, target views and past frames."""

    xyz: Tensor  # (N, 3); IN_VIEW of them are in the view of the first target
    groups: Tensor  # (N,)
    num_groups: int
    targets: Cameras  # 9 views
    past: list[Tensor]  # the points that each past frame saw, at most POINTS_PER_FRAME
    past_bits: Tensor  # (PAST_FRAMES, W), their voxels
    past_cameras: Cameras  # PAST_FRAMES along the recording


@cache
def retrieval_scene(scene: str) -> RetrievalScene:
    depth, cameras = scenes.frames(scene)
    g = torch.Generator().manual_seed(0)
    frames = unproject(depth, torch.zeros(scenes.FRAMES, 1, *scenes.SIZE), cameras)
    points_of, valid_of = frames.xyz.chunk(scenes.FRAMES), frames.valid.chunk(scenes.FRAMES)
    own = [xyz[valid] for xyz, valid in zip(points_of, valid_of, strict=True)]
    past = []
    for k in range(PAST_FRAMES):  # more than were recorded: some frames are used twice, with other pixels
        points = own[k % scenes.FRAMES]
        past.append(points[torch.randperm(len(points), generator=g)[:POINTS_PER_FRAME].sort().values])
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
    return RetrievalScene(xyz, groups[: len(xyz)], num_groups, targets, past, torch.cat(past_bits), past_cameras)


def visible_voxels(scene: RetrievalScene, cameras: Cameras) -> Tensor:
    return visible(scene.xyz, cameras, groups=scene.groups, num_groups=scene.num_groups)


def in_view(scene: RetrievalScene, camera: Cameras) -> Tensor:
    return scene.xyz[camera.project(scene.xyz)[2][0]]
