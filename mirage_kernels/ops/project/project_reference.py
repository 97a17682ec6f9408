# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``project`` in pure PyTorch; all backends return the same bits.

It is also what runs in float64, and where the projection is differentiated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _projection


def project(xyz: Tensor, intrinsics: Tensor, world2cam: Tensor, h: int, w: int) -> tuple[Tensor, Tensor, Tensor]:
    u, v, depth, _ = _projection.project(xyz, world2cam, intrinsics)
    return torch.stack([u, v], -1), depth, _projection.inside(u, v, depth, (h, w))
