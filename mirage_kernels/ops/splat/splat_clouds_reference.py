# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``splat`` for several clouds in one call, in pure PyTorch: one call per cloud.

B clouds, V views. Views b V / B to (b + 1) V / B - 1 see cloud b.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ...cameras import NEAR
from . import splat_reference as reference

NO_MIN_EXTENT = -torch.finfo(torch.float32).max


def splat_clouds(
    xyz: Tensor,
    features: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None = None,
    extents: Tensor | None = None,
    offsets: Tensor | None = None,
    extent: float = 0.0,
    radius: float = 0.0,
    near: float = NEAR,
) -> tuple[Tensor, Tensor, Tensor]:
    """Render every cloud into its views. An index counts within its cloud.

    Args:
        xyz, features: (B, N, 3) and (B, N, C); or (N, 3) and (N, C), one cloud or with ``offsets`` several.
        valid: bool as the points, or (V, N) with a mask for each view.
        extents: as the points; or ``extent`` for all. With a ``radius``, the radii of discs.
        offsets: (B + 1,), first row of every cloud and the end of the last one, clamped to 0 .. N.
    """
    views, clouds = world2cam.shape[0], count_clouds(xyz, offsets)
    own_masks = has_own_masks(xyz, valid)
    points, rows = xyz.flatten(0, -2), features.flatten(0, -2)
    mask = valid if valid is None or own_masks else valid.flatten()
    each = 1 if own_masks else max(views // max(clouds, 1), 1)  # views of a call
    parts = []
    for view, (first, end) in list(enumerate(rows_of_views(len(points), views, clouds, offsets)))[::each]:
        some, seen = slice(view, view + each), slice(first, end)
        own = None if mask is None else mask[view] if own_masks else mask[seen]
        cloud = (points[seen], rows[seen], intrinsics[some], world2cam[some], h, w, own)
        if extents is None:
            parts.append(reference.splat(*cloud, None, extent, radius=radius, near=near))
        else:
            own = extents.flatten()[seen]
            parts.append(reference.splat(*cloud, own, 1.0, NO_MIN_EXTENT, radius, near=near))
    if not parts:
        return reference.splat(points, rows, intrinsics, world2cam, h, w)
    maps, depth, index = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return maps, depth, index


def count_clouds(xyz: Tensor, offsets: Tensor | None) -> int:
    """Return the number of clouds."""
    return offsets.shape[0] - 1 if offsets is not None else xyz.shape[0] if xyz.dim() == 3 else 1


def has_own_masks(xyz: Tensor, valid: Tensor | None) -> bool:
    """Return whether ``valid`` is (V, N) with a mask for each view, and not (N,) or (B, N)."""
    return valid is not None and valid.dim() == 2 and not (xyz.dim() == 3 and valid.shape[0] == xyz.shape[0])


def rows_of_views(n: int, views: int, clouds: int, offsets: Tensor | None) -> list[tuple[int, int]]:
    """Return the first row, and the row after the last, of the cloud of each view. Offsets wait for the device.

    Args:
        n: number of points of all clouds.
    """
    if offsets is None:
        size = n // max(clouds, 1)
        rows = [(size * b, size * (b + 1)) for b in range(clouds)]
    else:
        at = [min(max(i, 0), n) for i in offsets.tolist()]
        rows = [(first, max(first, end)) for first, end in itertools.pairwise(at)]
    return [rows[v * clouds // views] for v in range(views)]


def rows_of_index(index: Tensor, n: int, clouds: int, offsets: Tensor | None) -> Tensor:
    """Turn an index (V, h, w) within clouds into rows of the points of all. It does not wait for the device.

    Args:
        n: number of points of all clouds.
    """
    views = index.shape[0]
    cloud = torch.arange(views, device=index.device, dtype=torch.int64) // max(views // max(clouds, 1), 1)
    first = cloud * (n // max(clouds, 1)) if offsets is None else offsets.clamp(0, n)[cloud]
    return torch.where(index >= 0, index + first[:, None, None], -1)
