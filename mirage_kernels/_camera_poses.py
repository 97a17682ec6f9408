# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of rigid poses, in float64 on the CPU, elementwise: the results of LAPACK depend on the machine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import check

IDENTITY = torch.eye(3, dtype=torch.float64, device="cpu")


def invert_rigid(m: Tensor) -> Tensor:
    """Invert poses (V, 4, 4) to (V, 3, 4): ``R^T`` and ``-((r00 tx + r10 ty) + r20 tz)`` and so on."""
    r = m[:, :3, :3]
    x, y, z = (r * m[:, :3, 3:]).unbind(1)  # row a holds r[a, b] t[a]
    return torch.cat([r.mT, torch.neg((x + y) + z)[:, :, None]], 2)


def invert(m: Tensor) -> Tensor:
    """Invert poses (V, 4, 4) float64 that are rigid up to rounding: the adjugate of the rotation by its determinant."""
    (a, b, c), t = m[:, :3, :3].unbind(1), m[:, :3, 3]
    columns = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], 2)
    inverse = m.clone()
    inverse[:, :3, :3] = columns / (a * columns[:, :, 0]).sum(1)[:, None, None]
    x, y, z = (inverse[:, :3, :3] * t[:, None]).unbind(2)
    inverse[:, :3, 3] = -((x + y) + z)
    return inverse


def _cross(a: Tensor, b: Tensor) -> Tensor:
    x, y, z = a.unbind(1)
    u, v, w = b.unbind(1)
    return torch.stack([y * w - z * v, z * u - x * w, x * v - y * u], 1)


def poses_of_quaternions(q: Tensor, t: Tensor) -> Tensor:
    """Return poses (V, 4, 4) of quaternions (V, 4), in the order w, x, y, z, and translations (V, 3), float64.

    Raises:
        ValueError: a quaternion has the length 0, or a value that is not finite.
    """
    length = q.norm(dim=1)
    usable = (length > 0) & (length < torch.inf)
    if not bool(usable.all()):
        at = int((~usable).nonzero()[0])
        raise check.value_error(f"quaternion[{at}]", "a finite quaternion other than 0", q[at].tolist())
    w, x, y, z = (q / length[:, None]).unbind(1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), t[:, 0]),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x), t[:, 1]),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y), t[:, 2]),
        *(torch.zeros_like(w), torch.zeros_like(w), torch.zeros_like(w), torch.ones_like(w)),
    ]
    return torch.stack(rows, 1).reshape(-1, 4, 4)


def translate(cam2world: Tensor, world2cam: Tensor, offset: Any) -> tuple[Tensor, Tensor]:
    """Add an offset (x, y, z) to the positions of poses (V, 4, 4) float32; return cam2world and world2cam.

    The rotation of world2cam (V, 3, 4) stays as it is, because it need not be the transpose of the other.
    """
    if not isinstance(offset, (tuple, list)) or len(offset) != 3:
        raise check.value_error("offset", "(x, y, z)", check.one_line(offset, repr))
    moved = cam2world.double()
    for axis, distance in enumerate(offset):  # Python numbers, because copying them to the device would wait for it
        moved[:, axis, 3].add_(check.number(f"offset[{axis}]", distance, -1e30, 1e30))
    moved = moved.float()
    inverse = world2cam.double()
    x, y, z = (inverse[:, :, :3] * moved.double()[:, None, :3, 3]).unbind(2)
    inverse[:, :, 3] = torch.neg((x + y) + z)
    return moved, inverse.float()


def slerp(a: Tensor, b: Tensor, fraction: Tensor) -> Tensor:
    """Return rotations (T, 3, 3) at ``fraction`` (T,) of the way from a to b, float64: axis and angle of ``a^T b``."""
    rotation = a.transpose(1, 2) @ b
    skew = rotation - rotation.mT
    w = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], 1)
    sine, cosine = w.norm(dim=1) / 2, (rotation.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    angle = torch.atan2(sine, cosine)
    # A rotation by 180 degrees has w = 0; its axis is then the longest column of (rotation + 1).
    symmetric = rotation + IDENTITY
    longest = symmetric.norm(dim=1).argmax(1)
    fallback = symmetric[torch.arange(len(rotation), device="cpu", dtype=torch.int64), :, longest]
    axis = torch.where((sine > 1e-9)[:, None], w, torch.where((cosine < 0)[:, None], fallback, torch.zeros_like(w)))
    axis = axis / axis.norm(dim=1, keepdim=True).clamp(min=1e-300)
    x, y, z = axis.unbind(1)
    zero = torch.zeros_like(x)
    k = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    theta = (fraction * angle)[:, None, None]
    step = IDENTITY + theta.sin() * k + (1 - theta.cos()) * (k @ k)  # Rodrigues
    return a @ step
