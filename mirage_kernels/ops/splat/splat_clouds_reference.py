# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``splat`` for several clouds in one call, in pure PyTorch: one call per cloud.

N points of all clouds, which lie one after another, V views. Views b V / clouds to (b + 1) V / clouds - 1 see cloud b.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from . import splat_reference as reference


def splat_clouds(
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    extents: Tensor | None,
    extent: float,
    radius: float,
    near: float,
    clouds: int,
    offsets: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Render every cloud into its views. An index counts within its cloud.

    Args:
        valid: (N,) bool, or (V, N / clouds) with a mask for each view, or None.
        clouds: their number, which divides V.
        offsets: (clouds + 1,) int64, first row of every cloud and the end of the last one, clamped to 0 .. N; or None
            if all clouds have N / clouds points.
    """
    views = world2cam.shape[0]
    own_masks = valid is not None and valid.dim() == 2
    each = 1 if own_masks else max(views // max(clouds, 1), 1)  # views of a call
    parts = []
    for view, (first, end) in enumerate(rows_of_views(xyz.shape[0], views, clouds, offsets)):
        if view % each:
            continue
        mask = valid if valid is None else valid[view] if own_masks else valid[first:end]
        some, points = slice(view, view + each), slice(first, end)
        cloud = (xyz[points], features[points], intrinsics[some], world2cam[some], h, w, mask)
        own = None if extents is None else extents[points]
        parts.append(reference.splat(*cloud, own, extent if own is None else 1.0, -torch.inf, radius, near=near))
    if not parts:
        return reference.splat(xyz, features, intrinsics, world2cam, h, w)
    maps, depth, index = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return maps, depth, index


def rows_of_views(n: int, views: int, clouds: int, offsets: Tensor | None) -> list[tuple[int, int]]:
    """Return the first row, and the row after the last, of the cloud of each view. Offsets wait for the device."""
    if offsets is None:
        size = n // max(clouds, 1)
        rows = [(size * b, size * (b + 1)) for b in range(clouds)]
    else:
        at = [min(max(i, 0), n) for i in offsets.tolist()]
        rows = [(first, max(first, end)) for first, end in itertools.pairwise(at)]
    return [rows[v * clouds // views] for v in range(views)]


def rows_of_index(index: Tensor, num_points: int, clouds: int, offsets: Tensor | None) -> Tensor:
    """Turn an index (V, h, w) within clouds into rows of all points. It does not wait for the device."""
    views = index.shape[0]
    cloud = torch.arange(views, device=index.device, dtype=torch.int64) // max(views // max(clouds, 1), 1)
    first = cloud * (num_points // max(clouds, 1)) if offsets is None else offsets.clamp(0, num_points)[cloud]
    return torch.where(index >= 0, index + first[:, None, None], -1)
