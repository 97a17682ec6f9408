# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Optical flow that the motion of cameras causes: ``Cameras.flow``."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from . import _memory, check
from ._projection import NEAR
from .ops.project.project_operators import project_points
from .ops.unproject.unproject_operators import unproject_cells


class Views(Protocol):
    """What this module needs of ``Cameras``, whose module imports it."""

    _intrinsics: Tensor
    _cam2world: Tensor
    _world2cam: Tensor
    _size: tuple[int, int]

    def __len__(self) -> int: ...


def flow(depth: Tensor, cameras: Views, target: Views) -> Tensor:
    """Check the arguments and compute what ``Cameras.flow`` returns."""
    _check(depth, cameras, target)
    try:
        return _flow(depth, cameras, target)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "flow", depth=depth)


def _check(depth: Tensor, cameras: Views, target: Views) -> None:
    views, (h, w) = len(cameras), cameras._size
    dims: check.Dims = {"V": views, "H": h, "W": w}
    like = ("cameras", cameras._intrinsics)
    check.tensor("depth", depth, ("V", "H", "W"), dims, (torch.float32,), like)
    if len(target) not in (1, views):
        raise check.value_error("target", f"one camera, or V={views}", len(target))
    if target._size != (h, w):
        raise check.value_error("target", f"cameras of depth's size (H={h}, W={w})", target._size)
    if target._intrinsics.device != depth.device:
        raise check.value_error("target", f"cameras on {depth.device} like cameras", target._intrinsics.device)


def _flow(depth: Tensor, cameras: Views, target: Views) -> Tensor:
    views, (h, w) = len(cameras), cameras._size
    xyz, valid = _unproject(depth, cameras)
    if len(target) == views:
        k, m = _matrices(target)
        own = enumerate(xyz.reshape(views, h * w, 3).unbind())
        projected = [project_points(points, k[i : i + 1], m[i : i + 1], (h, w)) for i, points in own]
    else:
        projected = [project_points(xyz, *_matrices(target), (h, w))]
    uv = torch.cat([uv[0] for uv, _, _ in projected] or [depth.new_empty(0, 2)])
    z = torch.cat([z[0] for _, z, _ in projected] or [depth.new_empty(0)])
    seen = valid & (z > NEAR) & (z < math.inf)
    displacement = uv.reshape(views, h, w, 2) - _centers(h, w, depth.device)
    return torch.where(seen.reshape(views, h, w, 1), displacement, math.nan)


def _unproject(depth: Tensor, cameras: Views) -> tuple[Tensor, Tensor]:
    """Return the points of the centers of all pixels, (V H W, 3), and which are valid."""
    no_features = depth.new_empty(depth.shape[0], 0, *cameras._size)
    matrices = cameras._intrinsics, cameras._cam2world
    xyz, _, valid, _ = unproject_cells(
        depth, no_features, *matrices, mask=None, pooling="nearest", min_valid=1, max_masked=1.0
    )
    return xyz, valid


def _matrices(target: Views) -> tuple[Tensor, Tensor]:
    return target._intrinsics, target._world2cam


def _centers(h: int, w: int, device: torch.device) -> Tensor:
    """Return u and v of the centers of all cells, (h, w, 2)."""
    v, u = (torch.arange(n, device=device, dtype=torch.float32) + 0.5 for n in (h, w))
    return torch.stack([u.expand(h, w), v[:, None].expand(h, w)], -1)
