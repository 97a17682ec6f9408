# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Visibility of groups with occlusion, and of the first points of a cloud only, composed of other operations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf

from ... import _memory, check
from ...cameras import Cameras
from ..splat.splat_operators import splat_nearest
from .overlap_operators import visible_groups


def groups_in_view(
    xyz: Tensor, cameras: Cameras, occlusion: bool, *, valid: Tensor | None, groups: Tensor | None, num_groups: int
) -> Tensor:
    """Return the bits of :func:`mirage_kernels.visible`. Arguments are not checked."""
    if not occlusion or num_groups == 0:
        return visible_groups(xyz, cameras, valid=valid, groups=groups, num_groups=num_groups)
    return _groups_of_nearest(xyz, cameras, valid, groups, num_groups)


@_memory.explains("visible")
def _groups_of_nearest(
    xyz: Tensor, cameras: Cameras, valid: Tensor | None, groups: Tensor | None, num_groups: int
) -> Tensor:
    index = splat_nearest(xyz, xyz[:, :0], cameras, valid=valid, differentiable=False)[2].flatten(1)  # (V, h w)
    views, words = len(cameras), -(-num_groups // 64)
    group = index if groups is None else torch.cat([groups, groups.new_full((1,), -1)])[index]  # -1 reads the last
    group = torch.where((group >= 0) & (group < num_groups), group, 64 * words)
    seen = torch.zeros(views, 64 * words + 1, dtype=torch.bool, device=xyz.device)
    # In any order, because all write the same; not in place, for torch.func.vmap.
    seen = seen.scatter(1, group, True)
    # Bytes, then words of them, whose sum wraps around to the sign. (torch 2.4 has no view of a dtype under vmap.)
    bits = torch.arange(8, dtype=torch.int64, device=xyz.device)
    packed = (seen[:, :-1].reshape(views, words, 8, 8) * (1 << bits).to(torch.uint8)).sum(3, dtype=torch.uint8)
    return (packed.long() << (8 * bits)).sum(2)


@_memory.explains("visible")
def groups_in_view_of_first_points(
    xyz: Tensor,
    cameras: Cameras,
    occlusion: bool,
    count: list[int],
    *,
    valid: Tensor | None,
    groups: Tensor | None,
    num_groups: int,
) -> Tensor:
    """Return the bits as :func:`groups_in_view`, where camera v sees the first ``count[v]`` points only."""
    words = -(-num_groups // 64)
    bits: dict[int, Tensor] = {}
    for points in sorted(set(count)):
        views = [v for v, of_view in enumerate(count) if of_view == points]
        part = groups_in_view(
            *(xyz[:points], cameras[views], occlusion),
            valid=None if valid is None else valid[:points],
            groups=None if groups is None else groups[:points],
            num_groups=num_groups if groups is not None else points,
        )
        bits |= zip(views, nnf.pad(part, (0, words - part.shape[1])), strict=True)
    if not bits:
        return torch.zeros(0, words, dtype=torch.int64, device=xyz.device)
    return torch.stack([bits[v] for v in range(len(bits))])


def check_count(count: object, views: int, points: int) -> list[int]:
    """Check the numbers of points that V cameras see, each 0 to N, and return them.

    Raises:
        TypeError, ValueError: they are no integers, out of range, or of another number.
    """
    try:
        values = count.tolist() if hasattr(count, "tolist") else count
    except RuntimeError:  # of a tensor without values
        values = None
    if not isinstance(values, (list, tuple)):
        raise check.type_error("count", f"{views} integers, one for each camera", count)
    if len(values) != views:
        raise check.value_error("count", f"{views} integers, one for each camera", f"{len(values)}")
    return [check.integer(f"count[{v}]", value, 0, points) for v, value in enumerate(values)]
