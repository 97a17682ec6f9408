# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The projection of points, in plain PyTorch; ``mirage_kernels.cameras`` describes the arithmetic."""

from __future__ import annotations

import math

from torch import Tensor

NEAR = 1e-6


def project(xyz: Tensor, world2cam: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Project points into views with the arithmetic of :mod:`mirage_kernels.cameras`, in the dtype of ``xyz``.

    Args:
        xyz: (N, 3) float32 or float64, world units; or (V, N, 3), those of each view.
        world2cam: (V, 3, 4) poses.
        intrinsics: (V, 3, 3) intrinsics.

    Returns:
        ``u`` and ``v`` in cells, ``depth`` in world units, and ``1 / depth``, each (V, N).
    """
    x, y, z = xyz.unbind(-1)
    m = world2cam.to(xyz.dtype)[..., None]  # (V, 3, 4, 1)
    k = intrinsics.to(xyz.dtype)[..., None]
    depth = ((m[:, 2, 0] * x + m[:, 2, 1] * y) + m[:, 2, 2] * z) + m[:, 2, 3]
    inverse = 1 / depth
    u = (((m[:, 0, 0] * x + m[:, 0, 1] * y) + m[:, 0, 2] * z) + m[:, 0, 3]) * inverse
    v = (((m[:, 1, 0] * x + m[:, 1, 1] * y) + m[:, 1, 2] * z) + m[:, 1, 3]) * inverse
    return u * k[:, 0, 0] + k[:, 0, 2], v * k[:, 1, 1] + k[:, 1, 2], depth, inverse


def inside(u: Tensor, v: Tensor, depth: Tensor, size: tuple[int, int]) -> Tensor:
    """Return where a projection is in front of its camera and on its grid ``size`` = (h, w). NaN gives False."""
    h, w = size
    return (depth > NEAR) & (depth < math.inf) & (u >= 0) & (u < w) & (v >= 0) & (v < h)
