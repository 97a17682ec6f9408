# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``associate`` in pure PyTorch; all backends return the same bits.

N points, R rendered points, F past depth maps (h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..._projection import inside, project

KNOWN, NEW, CLOSER = 0, 1, 2


def associate(
    xyz: Tensor,
    depth: Tensor,
    footprint: Tensor,
    valid: Tensor | None,
    rendered: Tensor,
    index: Tensor,
    footprints: Tensor,
    past: Tensor,
    intrinsics: Tensor,
    world2cam: Tensor,
    tolerance: float,
    closer: float,
) -> Tensor:
    """Compare every point with what is rendered in its cell, and what remains with every past depth map.

    Args:
        rendered, index: (N,), depth and index of the point that is rendered in the cell of each point.
        footprints: (R,) of the rendered points.
        past: (F, h, w), depth maps of the cameras ``intrinsics`` and ``world2cam``.
    """
    beyond = 1 + tolerance
    is_hole = (index < 0) | (index >= footprints.shape[0])
    known_footprint = torch.cat([footprints, footprints.new_zeros(1)])[torch.where(is_hole, -1, index)]
    in_front = rendered > depth * beyond
    same = (rendered - depth).abs() <= depth * tolerance
    is_closer = same & (known_footprint >= footprint * closer)

    u, v, z, _ = project(xyz, world2cam, intrinsics)  # (F, N)
    seen = inside(u, v, z, (past.shape[1], past.shape[2]))
    cell = torch.where(seen, v, 0).long() * past.shape[2] + torch.where(seen, u, 0).long()
    surface = past.flatten(1).gather(1, cell) if past.numel() else z
    as_near = z / intrinsics[:, 0, 0, None] <= footprint * beyond
    observed = (seen & as_near & ((surface - z).abs() <= z * tolerance)).any(0)

    is_duplicate = observed & (rendered <= depth * (beyond * beyond))
    code = torch.where(is_closer & ~observed, CLOSER, torch.where(in_front & ~is_duplicate, NEW, KNOWN))
    code = torch.where(is_hole, NEW, code)
    code = code if valid is None else torch.where(valid, code, KNOWN)
    return code.to(torch.uint8)
