# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""voxel_cache in pure PyTorch: what the native kernels must equal bit for bit, state included.

N points, K of them kept, S voxels among those; R rows of capacity, ``rows`` of them in use; T slots of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...cameras import inside, project
from ...ordered_sums import add_in_order
from .voxel_cache_index_reference import AXIS, LIMIT, clear_boxes, enter_table, grow_boxes, look_up, morton

FUSIONS = ("best", "latest", "mean")
BEST, LATEST, MEAN = range(3)


def keys_of(xyz: Tensor, inverse_size: float) -> tuple[Tensor, Tensor]:
    """The voxel of every point (N,), packed, and whether it is in range: ``floor(x * inverse_size) + 2^20``, 21 bits an
    axis."""
    cell = (xyz * inverse_size).floor()
    good = ((cell >= -LIMIT) & (cell < LIMIT)).all(1)
    x, y, z = (torch.where(good[:, None], cell, 0).long() + LIMIT).unbind(1)
    return x << 2 * AXIS | y << AXIS | z, good


class Plan(NamedTuple):
    """Which point goes into which row.

    Attributes:
        key: (S,) int64, the voxel of each segment.
        starts: (S + 1,) int32, where each segment begins in ``order``.
        row: (S,) int32, of each segment; a new voxel's row counts on from the rows in use.
        winner: (S,) int32, the point whose observation is kept, -1 where the row keeps its own.
        order: (K,) int32, the kept points by Morton code, then index; a run of one voxel is a segment.
    """

    key: Tensor
    starts: Tensor
    row: Tensor
    winner: Tensor
    order: Tensor

    def pack(self) -> Tensor:
        """All of it in one int64 tensor, ``order`` filled up to a whole word."""
        short = [self.starts, self.row, self.winner, self.order]
        if sum(map(len, short)) % 2:
            short.append(self.starts.new_zeros(1))
        return torch.cat([self.key, torch.cat(short).view(torch.int64)])

    @classmethod
    def unpack(cls, words: Tensor, kept: int, segments: int) -> Plan:
        """Views of what :meth:`pack` makes of K = ``kept`` points in S = ``segments``."""
        sizes = [segments + 1, segments, segments, kept]
        short = words[segments:].view(torch.int32)[: sum(sizes)]
        return cls(words[:segments], *torch.split(short, sizes))


def insert_with(plan: Callable[..., tuple[Plan, Tensor]], commit: Callable[..., None]) -> Callable[..., Any]:
    """The operation ``voxel_cache_insert`` of a way to plan and a way to commit."""

    def insert(
        xyz: Tensor,
        features: Tensor,
        keys: Tensor,
        xyz_rows: Tensor,
        footprint_rows: Tensor,
        features_rows: Tensor,
        stamp_rows: Tensor,
        table: Tensor,
        boxes0: Tensor,
        boxes1: Tensor,
        boxes2: Tensor,
        rows: int,
        stamp: int,
        inverse_size: float,
        default_footprint: float,
        fusion: int,
        footprint: Tensor | None = None,
        valid: Tensor | None = None,
        scale: Tensor | None = None,
        count: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Plan, and commit where the state has room for the new voxels.

        Returns:
            The plan, packed; and on the CPU, (4,) int64: new voxels, rejected points, kept points, segments.
        """
        held = (keys, footprint_rows, table, rows)
        planned, counts = plan(xyz, valid, footprint, *held, inverse_size, default_footprint, fusion)
        added, rejected = counts.tolist()
        kept, segments, words = len(planned.order), len(planned.key), planned.pack()
        if rows + added <= len(keys):
            state = (keys, xyz_rows, footprint_rows, features_rows, stamp_rows, table, boxes0, boxes1, boxes2, rows)
            rule = (stamp, default_footprint, fusion, footprint, scale, count)
            commit(words, kept, segments, xyz, features, *state, *rule)
        return words, torch.tensor([added, rejected, kept, segments], device="cpu")

    return insert


def plan(
    xyz: Tensor,
    valid: Tensor | None,
    footprint: Tensor | None,
    keys: Tensor,
    footprint_rows: Tensor,
    table: Tensor,
    rows: int,
    inverse_size: float,
    default_footprint: float,
    fusion: int,
) -> tuple[Plan, Tensor]:
    """Which point goes into which row. Changes nothing.

    Returns:
        The plan; and on the CPU, (2,) int64: new voxels, rejected points.
    """
    key, good = keys_of(xyz, inverse_size)
    wide = torch.full_like(xyz[:, 0], default_footprint) if footprint is None else footprint
    good = good & (wide >= 0) & (wide < torch.inf)
    offered = torch.ones_like(good) if valid is None else valid
    kept = (good & offered).nonzero().squeeze(1)
    _, by_code = torch.sort(morton(key[kept]), stable=True)
    order = kept[by_code]
    key = key[order]
    first = torch.ones_like(key, dtype=torch.bool)
    first[1:] = key[1:] != key[:-1]
    starts = torch.cat([first.nonzero().squeeze(1), first.new_tensor([len(key)], dtype=torch.int64)])
    segment = first.cumsum(0) - 1  # of every kept point
    key = key[first]
    row = look_up(key, keys, table)
    new = row < 0
    row = torch.where(new, rows - 1 + new.cumsum(0), row)
    # Smallest footprint, then lowest index; a footprint is not negative, so its bits sort as an integer.
    rank = ((wide[order] + 0.0).view(torch.int32).long() << 32) | order
    last = torch.iinfo(torch.int64).max
    if fusion == LATEST:
        winner = torch.full_like(key, -1).scatter_reduce_(0, segment, order, "amax")
    else:
        winner = torch.full_like(key, last).scatter_reduce_(0, segment, rank, "amin") & 0xFFFFFFFF
        if rows:
            worse = ~new & ~(wide[winner] < footprint_rows[torch.where(new, 0, row)])
            winner = torch.where(worse, -1, winner)
    counts = torch.stack([new.sum(), (offered & ~good).sum()]).cpu()
    return Plan(key, starts.int(), row.int(), winner.int(), order.int()), counts


def commit(
    words: Tensor,
    kept: int,
    segments: int,
    xyz: Tensor,
    features: Tensor,
    keys: Tensor,
    xyz_rows: Tensor,
    footprint_rows: Tensor,
    features_rows: Tensor,
    stamp_rows: Tensor,
    table: Tensor,
    boxes0: Tensor,
    boxes1: Tensor,
    boxes2: Tensor,
    rows: int,
    stamp: int,
    default_footprint: float,
    fusion: int,
    footprint: Tensor | None = None,
    scale: Tensor | None = None,
    count: Tensor | None = None,
) -> None:
    """Write what a plan, packed in ``words``, decided."""
    key, starts, row, winner, order = Plan.unpack(words, kept, segments)
    row, order = row.long(), order.long()
    new = row >= rows
    keys[row[new]] = key[new]
    changed = winner >= 0
    at, point = row[changed], winner[changed].long()
    xyz_rows[at] = xyz[point]
    footprint_rows[at] = default_footprint if footprint is None else footprint[point]
    if fusion == MEAN:
        assert count is not None
        _add_up(order, starts.long(), row, new, features, features_rows, count)
        stamp_rows[row] = stamp
    else:
        if scale is None:
            features_rows[at] = features[point]
        else:
            features_rows[at], scale[at] = quantise(features[point])
        stamp_rows[at] = stamp
    enter_table(table, keys, row[new])
    grow_boxes((boxes0, boxes1, boxes2), at, xyz[point], footprint_rows[at])


insert = insert_with(plan, commit)


def _add_up(
    order: Tensor, starts: Tensor, row: Tensor, new: Tensor, features: Tensor, sums: Tensor, count: Tensor
) -> None:
    """Float32 sums in the order of the points; a new row's begins with its first."""
    lengths = starts[1:] - starts[:-1]
    first = starts[:-1][new]
    sums[row[new]] = features[order[first]].float()
    count[row[new]] = 0
    count[row] += lengths.int()
    rest = torch.ones_like(order, dtype=torch.bool)
    rest[first] = False
    target = row.repeat_interleave(lengths)[rest]
    add_in_order(sums, target, features[order[rest]].float())


def quantise(features: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C) to int8 with one scale a row: the largest magnitude is 127."""
    values = features.float()
    # a tensor: on a GPU, dividing by a Python number multiplies by its reciprocal
    scale = values.abs().amax(1) / values.new_tensor(127.0) if values.shape[1] else values.new_zeros(len(values))
    steps = torch.where(scale[:, None] > 0, values / scale[:, None], 0)
    return steps.round().clamp(-127, 127).to(torch.int8), scale


def index(
    keys: Tensor,
    xyz: Tensor,
    footprint: Tensor,
    table: Tensor,
    boxes0: Tensor,
    boxes1: Tensor,
    boxes2: Tensor,
    rows: int,
) -> None:
    """Make the table and the boxes anew from rows 0 .. rows - 1."""
    table.fill_(-1)
    every = torch.arange(rows, device=keys.device)
    enter_table(table, keys, every)
    clear_boxes((boxes0, boxes1, boxes2))
    grow_boxes((boxes0, boxes1, boxes2), every, xyz[:rows], footprint[:rows])


def carve(
    xyz: Tensor,
    depth: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    boxes0: Tensor,
    boxes1: Tensor,
    boxes2: Tensor,
    rows: int,
    factor: float,
) -> Tensor:
    """keep (rows,) bool: False where a depth map (V, H, W) shows, at the row's pixel, more than ``factor`` times its
    depth."""
    size = (depth.shape[1], depth.shape[2])
    keep = torch.ones(rows, dtype=torch.bool, device=xyz.device)
    for v in range(len(depth)):
        u, r, z, _ = (x[0] for x in project(xyz[:rows], world2cam[v : v + 1], intrinsics[v : v + 1]))
        seen = inside(u, r, z, size)
        pixel = torch.where(seen, r, 0).long() * size[1] + torch.where(seen, u, 0).long()
        shown = depth[v].flatten()[pixel]
        keep &= ~(seen & (shown < torch.inf) & (shown > 0) & (shown > z * factor))
    return keep


def decode(features: Tensor, scale: Tensor | None, count: Tensor | None, index: Tensor, like: Tensor) -> Tensor:
    """(V, C, h, w) of ``like``'s dtype: the rows that ``index`` (V, h, w) names, out of int8 steps or float32 sums;
    zeros where it is -1."""
    v, h, w = index.shape
    if len(features) == 0:
        return like.new_zeros(v, features.shape[1], h, w)
    row = index.clamp(min=0).flatten()
    values = features[row].float()
    if scale is not None:
        values = values * scale[row][:, None]
    if count is not None:
        values = values / count[row][:, None].float()
    values = torch.where((index.flatten() >= 0)[:, None], values, 0).to(like.dtype)
    channels = features.shape[1]
    return values.reshape(v, h * w, channels).transpose(1, 2).reshape(v, channels, h, w).contiguous()
