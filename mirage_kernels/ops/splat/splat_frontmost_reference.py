# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``frontmost`` in pure PyTorch; all backends return the same bits.

N points, V views, grid (h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..._projection import project


def splat_frontmost(
    xyz: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    h: int,
    w: int,
    valid: Tensor | None,
    near: float,
    far: float,
    tolerance: float,
    cut_off: bool,
) -> Tensor:
    """Compare the depth of every point with the smallest of its cell, view by view.

    Args:
        near, far: points with a depth of more than ``near`` and less than ``far`` are in view; a ``far`` beyond float32
            is no limit.
        cut_off: whether coordinates are cut off toward zero.
    """
    far = far if far <= torch.finfo(torch.float32).max else torch.inf
    front = torch.zeros(world2cam.shape[0], xyz.shape[0], dtype=torch.bool, device=xyz.device)
    for v in range(len(front)):
        u, row, depth, _ = (x[0] for x in project(xyz, world2cam[v : v + 1], intrinsics[v : v + 1]))
        if cut_off:
            u, row = (torch.where((x < 0) & (x > -1), 0, x) for x in (u, row))
        seen = (depth > near) & (depth < far) & (u >= 0) & (u < w) & (row >= 0) & (row < h)
        seen = seen if valid is None else seen & valid
        cell = torch.where(seen, torch.where(seen, row, 0).long() * w + torch.where(seen, u, 0).long(), h * w)
        nearest = depth.new_full((h * w + 1,), torch.inf).scatter_reduce_(0, cell, depth.nan_to_num(), "amin")
        front[v] = seen & (depth <= nearest[cell] + tolerance)
    return front
