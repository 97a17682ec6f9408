# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``voxel_cache`` in pure PyTorch; all backends return the same bits, state included.

N points, K of them kept, in S voxels; R rows of capacity, ``rows`` of them in use; T slots of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..._modes import FUSIONS
from ..._ordered_sums import add_in_order
from ...cameras import inside, project
from .voxel_cache_index_reference import AXIS, LIMIT, clear_boxes, enter_table, grow_boxes, look_up, morton

BEST, LATEST, MEAN = (FUSIONS.index(name) for name in ("best", "latest", "mean"))
# A mean is a float32 sum and a count. A sum that grows without end absorbs what is added to it, so both are halved once
# the count is MAX_COUNT: later observations then weigh as much as before.
MAX_COUNT = 1 << 20
MAX_AVERAGED = 2.0**107  # of features: the sum of so many of them is finite


def keys_of(xyz: Tensor, inverse_size: float) -> tuple[Tensor, Tensor]:
    """Return the packed voxel of every point (N,) and whether it is in range.

    The voxel is ``floor(x * inverse_size) + 2^20`` per axis, 21 bits each.
    """
    voxel = (xyz * inverse_size).floor()
    in_range = ((voxel >= -LIMIT) & (voxel < LIMIT)).all(1)
    x, y, z = (torch.where(in_range[:, None], voxel, 0).long() + LIMIT).unbind(1)
    return x << 2 * AXIS | y << AXIS | z, in_range


def are_in_range(features: Tensor, fusion: int) -> Tensor:
    """Return which points (N,) have finite features (N, C) only, and none that the sum of a mean must not contain."""
    if fusion != MEAN or features.dtype is torch.float16:
        return features.isfinite().all(1)
    return (features.abs() <= MAX_AVERAGED).all(1)


class Plan(NamedTuple):
    """The rows that the points of an insert go to.

    Attributes:
        key: (S,) int64, the voxel of each segment.
        starts: (S + 1,) int32, start of each segment in ``order``.
        row: (S,) int32, the row of each segment; new voxels get the rows after those in use.
        winner: (S,) int32, the point whose observation is stored, -1 if the row keeps its observation.
        order: (K,) int32, the kept points sorted by Morton code, then index. A segment is a run of points in one voxel.
    """

    key: Tensor
    starts: Tensor
    row: Tensor
    winner: Tensor
    order: Tensor

    def pack(self) -> Tensor:
        """Pack the plan into one int64 tensor, padded to a multiple of 8 bytes."""
        short = [self.starts, self.row, self.winner, self.order]
        if sum(map(len, short)) % 2:
            short.append(self.starts.new_zeros(1))
        return torch.cat([self.key, torch.cat(short).view(torch.int64)])

    @classmethod
    def unpack(cls, words: Tensor, kept: int, segments: int) -> Plan:
        """Unpack a plan of K = ``kept`` points and S = ``segments``; its tensors are views of ``words``."""
        sizes = [segments + 1, segments, segments, kept]
        short = words[segments:].view(torch.int32)[: sum(sizes)]
        return cls(words[:segments], *torch.split(short, sizes))


def insert_with(plan: Callable[..., tuple[Plan, Tensor]], commit: Callable[..., None] | None) -> Callable[..., Any]:
    """Return the operation ``voxel_cache_insert`` made of an implementation of ``plan`` and one of ``commit``.

    Without ``commit`` it only plans.
    """

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
        """Plan, and commit if the state has room for the new voxels.

        Returns:
            The packed plan; on the CPU (4,) int64: numbers of new voxels, rejected points, kept points and segments.
        """
        existing = (keys, footprint_rows, table, rows)
        planned, counts = plan(xyz, features, valid, footprint, *existing, inverse_size, default_footprint, fusion)
        added, rejected = counts.tolist()
        kept, segments, words = len(planned.order), len(planned.key), planned.pack()
        if commit is not None and rows + added <= len(keys):
            state = (keys, xyz_rows, footprint_rows, features_rows, stamp_rows, table, boxes0, boxes1, boxes2, rows)
            rule = (stamp, default_footprint, fusion, footprint, scale, count)
            commit(words, kept, segments, xyz, features, *state, *rule)
        return words, torch.tensor([added, rejected, kept, segments], device="cpu", dtype=torch.int64)

    return insert


def plan_with(plan: Callable[..., tuple[Plan, Tensor]]) -> Callable[..., Any]:
    """Return the operation ``voxel_cache_plan`` made of an implementation of ``plan``."""
    insert = insert_with(plan, None)

    def plan_alone(
        xyz: Tensor,
        features: Tensor,
        keys: Tensor,
        footprint_rows: Tensor,
        table: Tensor,
        rows: int,
        inverse_size: float,
        default_footprint: float,
        fusion: int,
        footprint: Tensor | None = None,
        valid: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Plan as ``voxel_cache_insert`` does."""
        state = (keys, None, footprint_rows, None, None, table, None, None, None, rows)
        planned: tuple[Tensor, Tensor] = insert(
            xyz, features, *state, 0, inverse_size, default_footprint, fusion, footprint, valid
        )
        return planned

    return plan_alone


def plan(
    xyz: Tensor,
    features: Tensor,
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
    """Find the row of every point. Nothing is modified.

    Returns:
        The plan; on the CPU (2,) int64: numbers of new voxels and of rejected points.
    """
    key, accepted = keys_of(xyz, inverse_size)
    width = torch.full_like(xyz[:, 0], default_footprint) if footprint is None else footprint
    accepted = accepted & (width > 0) & (width < torch.inf) & are_in_range(features, fusion)
    valid = torch.ones_like(accepted) if valid is None else valid
    kept = (accepted & valid).nonzero().squeeze(1)
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
    # Smallest footprint, then lowest index. Footprints are positive, so their bits sort as integers.
    rank = (width[order].view(torch.int32).long() << 32) | order
    last = torch.iinfo(torch.int64).max
    if fusion == LATEST:
        winner = torch.full_like(key, -1).scatter_reduce_(0, segment, order, "amax")
    else:
        winner = torch.full_like(key, last).scatter_reduce_(0, segment, rank, "amin") & 0xFFFFFFFF
        if rows:
            not_better = ~new & ~(width[winner] < footprint_rows[torch.where(new, 0, row)])
            winner = torch.where(not_better, -1, winner)
    counts = torch.stack([new.sum(), (valid & ~accepted).sum()]).cpu()
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
    """Write the points of a plan, packed in ``words``, into the state."""
    key, starts, row, winner, order = Plan.unpack(words, kept, segments)
    row, order = row.long(), order.long()
    new = row >= rows
    keys[row[new]] = key[new]
    changed = winner >= 0
    target, point = row[changed], winner[changed].long()
    xyz_rows[target] = xyz[point]
    footprint_rows[target] = default_footprint if footprint is None else footprint[point]
    if fusion == MEAN:
        assert count is not None
        _accumulate(order, starts.long(), row, new, features, features_rows, count)
        stamp_rows[row] = stamp
    else:
        if scale is None:
            features_rows[target] = features[point]
        else:
            features_rows[target], scale[target] = quantize(features[point])
        stamp_rows[target] = stamp
    enter_table(table, keys, row[new])
    grow_boxes((boxes0, boxes1, boxes2), target, xyz[point], footprint_rows[target])


insert = insert_with(plan, commit)
plan_alone = plan_with(plan)


def _accumulate(
    order: Tensor, starts: Tensor, row: Tensor, new: Tensor, features: Tensor, sums: Tensor, count: Tensor
) -> None:
    """Add features to float32 sums in the order of the points. The sum of a new row starts with its first point.

    A row whose count reaches :data:`MAX_COUNT` has its sum and count halved before the next point is added.
    """
    begin, end = starts[:-1].clone(), starts[1:]
    sums[row[new]] = features[order[begin[new]]].float()
    count[row[new]] = 1
    begin[new] += 1
    segment = torch.arange(len(row), device=row.device, dtype=torch.int64).repeat_interleave(starts[1:] - starts[:-1])
    position = torch.arange(len(order), device=order.device, dtype=torch.int64)
    while True:
        counts = count[row].long()
        last = torch.minimum(end, begin + (MAX_COUNT - counts).clamp(min=1))
        added = (position >= begin[segment]) & (position < last[segment])
        add_in_order(sums, row[segment[added]], features[order[added]].float())
        counts += last - begin
        full = (counts >= MAX_COUNT) & (last > begin)
        count[row] = torch.where(full, counts // 2, counts).int()
        sums[row[full]] *= 0.5
        begin = last
        if bool((begin == end).all()):
            break


def quantize(features: Tensor) -> tuple[Tensor, Tensor]:
    """Convert features (N, C) to int8 with one scale per row, so that the largest magnitude becomes 127."""
    values = features.float()
    # The divisor is a tensor, because a GPU divides by a number by multiplying with its reciprocal.
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
    """Rebuild the table and the boxes from rows 0 .. rows - 1."""
    table.fill_(-1)
    all_rows = torch.arange(rows, device=keys.device, dtype=torch.int64)
    enter_table(table, keys, all_rows)
    clear_boxes((boxes0, boxes1, boxes2))
    grow_boxes((boxes0, boxes1, boxes2), all_rows, xyz[:rows], footprint[:rows])


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
    """Return keep (rows,) bool, False where a depth map (V, H, W) exceeds ``factor`` times the depth of the row."""
    size = (depth.shape[1], depth.shape[2])
    keep = torch.ones(rows, dtype=torch.bool, device=xyz.device)
    for v in range(len(depth)):
        u, r, z, _ = (x[0] for x in project(xyz[:rows], world2cam[v : v + 1], intrinsics[v : v + 1]))
        in_view = inside(u, r, z, size)
        pixel = torch.where(in_view, r, 0).long() * size[1] + torch.where(in_view, u, 0).long()
        surface = depth[v].flatten()[pixel]
        keep &= ~(in_view & (surface < torch.inf) & (surface > 0) & (surface > z * factor))
    return keep


def decode(features: Tensor, scale: Tensor | None, count: Tensor | None, index: Tensor, like: Tensor) -> Tensor:
    """Return features (V, C, h, w), in the dtype of ``like``, of the rows ``index`` (V, h, w); zeros where it is -1."""
    v, h, w = index.shape
    if features.shape[1] == 0:  # nothing is read
        return like.new_zeros(v, 0, h, w)
    if len(features) == 0:
        if index.is_cpu and bool((index >= 0).any()):
            raise IndexError("index names a row that does not exist")
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
