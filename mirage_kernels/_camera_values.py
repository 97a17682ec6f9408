# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``prepare_cameras``, which checks the values of cameras and inverts their poses, and the error messages
for wrong values. The arithmetic is float64, on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _library, backend, check

RIGID_TOLERANCE = 1e-3


def invert_rigid(m: Tensor) -> Tensor:
    """Invert poses (V, 4, 4) to (V, 3, 4): ``R^T`` and ``-((r00 tx + r10 ty) + r20 tz)`` and so on.

    It uses elementwise arithmetic, because the result of LAPACK depends on the machine.
    """
    r = m[:, :3, :3]
    x, y, z = (r * m[:, :3, 3:]).unbind(1)  # row a holds r[a, b] t[a]
    return torch.cat([r.mT, torch.neg((x + y) + z)[:, :, None]], 2)


def translate(cam2world: Tensor, offset: Any) -> tuple[Tensor, Tensor]:
    """Add an offset (x, y, z) to the positions of poses (V, 4, 4) float32; return cam2world and world2cam."""
    if not isinstance(offset, (tuple, list)) or len(offset) != 3:
        raise check.value_error("offset", "(x, y, z)", repr(offset))
    moved = cam2world.double()
    for axis, distance in enumerate(offset):  # Python numbers, because copying them to the device would wait for it
        moved[:, axis, 3].add_(check.number(f"offset[{axis}]", distance, -1e30, 1e30))
    moved = moved.float()
    return moved, invert_rigid(moved.double()).float()


def slerp(a: Tensor, b: Tensor, fraction: Tensor) -> Tensor:
    """Return rotations (T, 3, 3) at ``fraction`` (T,) of the way from a to b, by axis and angle of ``a^T b``."""
    rotation = a.transpose(1, 2) @ b
    skew = rotation - rotation.mT
    w = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], 1)
    sine, cosine = w.norm(dim=1) / 2, (rotation.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    angle = torch.atan2(sine, cosine)
    # A rotation by 180 degrees has w = 0; its axis is then the longest column of (rotation + 1).
    symmetric = rotation + torch.eye(3, dtype=rotation.dtype)
    longest = symmetric.norm(dim=1).argmax(1)
    fallback = symmetric[torch.arange(len(rotation)), :, longest]
    axis = torch.where((sine > 1e-9)[:, None], w, torch.where((cosine < 0)[:, None], fallback, torch.zeros_like(w)))
    axis = axis / axis.norm(dim=1, keepdim=True).clamp(min=1e-300)
    x, y, z = axis.unbind(1)
    zero = torch.zeros_like(x)
    k = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    theta = (fraction * angle)[:, None, None]
    step = torch.eye(3, dtype=rotation.dtype) + theta.sin() * k + (1 - theta.cos()) * (k @ k)  # Rodrigues
    return a @ step


# The bounds of every entry: a tensor that clamping does not change is finite and within bounds.
_MAX_FLOAT = torch.finfo(torch.float32).max
_MIN_NORMAL = torch.finfo(torch.float32).tiny
_ANY = (-_MAX_FLOAT, _MAX_FLOAT)
_FOCAL, _ZERO, _ONE = (_MIN_NORMAL, _MAX_FLOAT), (0.0, 0.0), (1.0, 1.0)
_INTRINSICS = torch.tensor([_FOCAL, _ZERO, _ANY, _ZERO, _FOCAL, _ANY, _ZERO, _ZERO, _ONE], dtype=torch.float64)
_INTRINSICS_LOW, _INTRINSICS_HIGH = _INTRINSICS.T.reshape(2, 3, 3)
_POSE = torch.tensor([_ANY] * 12 + [_ZERO, _ZERO, _ZERO, _ONE], dtype=torch.float64)
_POSE_LOW, _POSE_HIGH = _POSE.T.reshape(2, 4, 4)
_IDENTITY = torch.eye(3, dtype=torch.float64)


def _within(x: Tensor, low: Any, high: Any) -> bool:
    return torch.equal(x, x.clamp(low, high))


def _intrinsics_are_valid(k: Tensor) -> bool:
    return _within(k, _INTRINSICS_LOW, _INTRINSICS_HIGH)


def _poses_are_valid(m: Tensor) -> bool:
    r = m[:, :3, :3]
    return (
        _within(m, _POSE_LOW, _POSE_HIGH)
        and _within(r @ r.mT - _IDENTITY, -RIGID_TOLERANCE, RIGID_TOLERANCE)
        and bool((torch.linalg.det(r) > 0).all())
    )


def check_poses(name: str, m: Tensor) -> None:
    """Raise ValueError unless all poses (V, 4, 4) float64 are rigid."""
    if not _poses_are_valid(m):
        raise_for_poses(name, m)


def raise_for_intrinsics(k: Tensor) -> None:
    """Raise ValueError for the first invalid one of intrinsics (V, 3, 3) float64, if there is one."""
    for v, matrix in enumerate(k):
        name = f"intrinsics[{v}]"
        if not _within(matrix, -_MAX_FLOAT, _MAX_FLOAT):
            raise check.value_error(name, "finite float32 values", matrix.tolist())
        if matrix[0, 1] != 0:
            raise check.value_error(name, "no skew (0 in row 0, column 1)", matrix[0, 1].item())
        if matrix[1, 0] != 0 or matrix[2].tolist() != [0.0, 0.0, 1.0]:
            raise check.value_error(name, "[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]", matrix.tolist())
        for axis, value in (("fx", matrix[0, 0].item()), ("fy", matrix[1, 1].item())):
            if not value >= _MIN_NORMAL:
                raise check.value_error(f"{name} {axis}", "a focal length above 0", f"{value:g}")


def raise_for_poses(name: str, m: Tensor) -> None:
    """Raise ValueError for the first of the poses (V, 4, 4) float64 that is not rigid, if there is one."""
    for v, matrix in enumerate(m):
        pose = f"{name}[{v}]"
        if not _within(matrix, -_MAX_FLOAT, _MAX_FLOAT):
            raise check.value_error(pose, "finite float32 values", matrix.tolist())
        if matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
            raise check.value_error(pose, "a last row of [0, 0, 0, 1]", matrix[3].tolist())
        r = matrix[:3, :3]
        error = (r @ r.mT - _IDENTITY).abs().max().item()
        if not error <= RIGID_TOLERANCE:
            raise check.value_error(pose, f"a rigid pose (max |R R^T - 1| <= {RIGID_TOLERANCE:g})", f"{error:.3g}")
        if torch.linalg.det(r) < 0:
            raise check.value_error(pose, "a rotation", "a mirrored pose (determinant -1)")


def prepare(intrinsics: Tensor, cam2world: Tensor) -> tuple[Tensor, bool]:
    """Invert poses and check all values, with the native kernel if there is one.

    Args:
        intrinsics: (V, 3, 3) float32 on the CPU.
        cam2world: (V, 4, 4) float32 on the CPU.

    Returns:
        world2cam (V, 3, 4) float32, and whether all values are valid.
    """
    world2cam, valid = backend.host_operation("prepare_cameras")(intrinsics, cam2world)
    return world2cam, valid


def _prepare_reference(intrinsics: Tensor, cam2world: Tensor) -> tuple[Tensor, bool]:
    k, m = intrinsics.double(), cam2world.double()
    return invert_rigid(m).float(), _intrinsics_are_valid(k) and _poses_are_valid(m)


def _fake(_: Tensor, cam2world: Tensor) -> tuple[Tensor, bool]:
    return cam2world.new_empty(cam2world.shape[0], 3, 4), True


# Takes float32 (V, 3, 3) and (V, 4, 4) on the CPU. Returns world2cam (V, 3, 4) and whether all values are valid.
_library.define(
    "prepare_cameras(Tensor intrinsics, Tensor cam2world) -> (Tensor, bool)", reference=_prepare_reference, fake=_fake
)
