# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the values of a camera must be, and its inverse pose: the operation ``prepare_cameras``, and the words for what
is wrong. The arithmetic is float64, on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import check, library

RIGID_TOLERANCE = 1e-3


def invert_rigid(m: Tensor) -> Tensor:
    """(V, 4, 4) -> (V, 3, 4): ``R^T`` and ``-((r00 tx + r10 ty) + r20 tz)`` and so on, elementwise: no LAPACK, whose
    result depends on the machine."""
    r = m[:, :3, :3]
    x, y, z = (r * m[:, :3, 3:]).unbind(1)  # row a holds r[a, b] t[a]
    inverse = m.new_empty(m.shape[0], 3, 4)
    inverse[:, :, :3] = r.mT
    torch.neg((x + y) + z, out=inverse[:, :, 3])
    return inverse


# The least and greatest value of every entry: a tensor that clamping does not change is finite and within bounds.
_LARGEST = torch.finfo(torch.float32).max
_LEAST = torch.finfo(torch.float32).tiny
_ANY = (-_LARGEST, _LARGEST)
_FOCAL, _ZERO, _ONE = (_LEAST, _LARGEST), (0.0, 0.0), (1.0, 1.0)
_INTRINSICS = torch.tensor([_FOCAL, _ZERO, _ANY, _ZERO, _FOCAL, _ANY, _ZERO, _ZERO, _ONE], dtype=torch.float64)
_INTRINSICS_LOW, _INTRINSICS_HIGH = _INTRINSICS.T.reshape(2, 3, 3)
_POSE = torch.tensor([_ANY] * 12 + [_ZERO, _ZERO, _ZERO, _ONE], dtype=torch.float64)
_POSE_LOW, _POSE_HIGH = _POSE.T.reshape(2, 4, 4)
_IDENTITY = torch.eye(3, dtype=torch.float64)


def _within(x: Tensor, low: Any, high: Any) -> bool:
    return torch.equal(x, x.clamp(low, high))


def _intrinsics_are_sound(k: Tensor) -> bool:
    return _within(k, _INTRINSICS_LOW, _INTRINSICS_HIGH)


def _poses_are_sound(m: Tensor) -> bool:
    r = m[:, :3, :3]
    return (
        _within(m, _POSE_LOW, _POSE_HIGH)
        and _within(r @ r.mT - _IDENTITY, -RIGID_TOLERANCE, RIGID_TOLERANCE)
        and bool((torch.linalg.det(r) > 0).all())
    )


def check_poses(name: str, m: Tensor) -> None:
    """Raise unless all of (V, 4, 4) float64 are rigid."""
    if not _poses_are_sound(m):
        explain_poses(name, m)


def explain_intrinsics(k: Tensor) -> None:
    """Raise what is wrong with the first of (V, 3, 3) float64 that is not sound."""
    for v, matrix in enumerate(k):
        name = f"intrinsics[{v}]"
        if not _within(matrix, -_LARGEST, _LARGEST):
            raise check.value_error(name, "finite float32 values", matrix.tolist())
        if matrix[0, 1] != 0:
            raise check.value_error(name, "no skew (0 in row 0, column 1)", matrix[0, 1].item())
        if matrix[1, 0] != 0 or matrix[2].tolist() != [0.0, 0.0, 1.0]:
            raise check.value_error(name, "[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]", matrix.tolist())
        for axis, value in (("fx", matrix[0, 0].item()), ("fy", matrix[1, 1].item())):
            if not value >= _LEAST:
                raise check.value_error(f"{name} {axis}", "a focal length above 0", f"{value:g}")


def explain_poses(name: str, m: Tensor) -> None:
    """Raise what is wrong with the first of (V, 4, 4) float64 that is not rigid."""
    for v, matrix in enumerate(m):
        at = f"{name}[{v}]"
        if not _within(matrix, -_LARGEST, _LARGEST):
            raise check.value_error(at, "finite float32 values", matrix.tolist())
        if matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
            raise check.value_error(at, "a last row of [0, 0, 0, 1]", matrix[3].tolist())
        r = matrix[:3, :3]
        error = (r @ r.mT - _IDENTITY).abs().max().item()
        if not error <= RIGID_TOLERANCE:
            raise check.value_error(at, f"a rigid pose (max |R R^T - 1| <= {RIGID_TOLERANCE:g})", f"{error:.3g}")
        if torch.linalg.det(r) < 0:
            raise check.value_error(at, "a rotation", "a mirrored pose (determinant -1)")


def _prepare(intrinsics: Tensor, cam2world: Tensor) -> tuple[Tensor, bool]:
    k, m = intrinsics.double(), cam2world.double()
    return invert_rigid(m).float(), _intrinsics_are_sound(k) and _poses_are_sound(m)


def _fake(_: Tensor, cam2world: Tensor) -> tuple[Tensor, bool]:
    return cam2world.new_empty(cam2world.shape[0], 3, 4), True


# float32 (V, 3, 3) and (V, 4, 4) on the CPU -> world2cam (V, 3, 4), and whether all values are sound
library.define("prepare_cameras(Tensor intrinsics, Tensor cam2world) -> (Tensor, bool)", reference=_prepare, fake=_fake)
