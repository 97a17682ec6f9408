# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Computations of ``Cameras`` whose errors depend on values.

A program that is recorded by ``torch.compile``, ``torch.export`` or ``make_fx`` has no values yet, so it cannot be
checked while it is recorded. There, these computations are calls of operators, which check their arguments, and raise
the same errors, whenever the program runs. Elsewhere they are called as plain functions, which is faster. The recorded
program uses the outputs of the operators instead of their inputs, so that no compiler removes the check.

All take and return tensors on the CPU. Their arguments have been checked but for the values.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import _camera_poses, _camera_values, _library, check


def is_recorded() -> bool:
    """Return whether calls are recorded, or made for several values at once as by ``torch.func.vmap``."""
    return (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


def _define(schema: str, function: Callable[..., Any], fake: Callable[..., Any]) -> Callable[..., Any]:
    _library.define(schema, reference=function, fake=fake)
    operator = _library.overload(_library.REFERENCE, schema.partition("(")[0])

    def call(*tensors: Tensor) -> Any:
        return operator(*tensors) if is_recorded() else function(*tensors)

    return call


def _check(intrinsics: Tensor, cam2world: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    k, m = intrinsics.clone(), cam2world.clone()  # an operator must not return its arguments
    return k, m, _camera_values.check_cameras(k, m)


def _copy(x: Tensor) -> Tensor:
    if x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        message = "cameras: poses and intrinsics get no gradient; examples/refine_pose.py moves the points instead"
        warnings.warn(message, stacklevel=4)
    x = x.detach()
    if x.is_cpu and x.dtype is torch.float32:
        return x.clone(memory_format=torch.contiguous_format)  # takes two thirds of the time of to()
    return x.to("cpu", torch.float32, copy=True, memory_format=torch.contiguous_format)


def copy_checked(intrinsics: Tensor, cam2world: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Copy the tensors of cameras and check their values, which is done on the CPU.

    Args:
        intrinsics: (V, 3, 3), on any device.
        cam2world: (V, 4, 4), on the same device.

    Returns:
        Copies of both, and world2cam (V, 3, 4), all float32 and contiguous, on that device.

    Raises:
        ValueError: a value is not valid; the message names the camera.
    """
    k, m = _copy(intrinsics), _copy(cam2world)
    checked = _check_recorded(k, m) if is_recorded() else (k, m, _camera_values.check_cameras(k, m))
    if cam2world.is_cpu:
        return checked
    k, m, world2cam = (x.to(cam2world.device) for x in checked)
    return k, m, world2cam


def _check_world2cam(intrinsics: Tensor, world2cam: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    k, m = intrinsics.clone(), world2cam.clone()
    cam2world = _camera_values.check_world2cam(k, m)
    return k, cam2world, m[:, :3].clone()


def copy_inverted(intrinsics: Tensor, world2cam: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Copy the tensors of cameras with world-to-camera poses, check their values, and invert the poses, on the CPU.

    Args:
        intrinsics: (V, 3, 3), on any device.
        world2cam: (V, 4, 4), on the same device.

    Returns:
        Intrinsics, cam2world (V, 4, 4) and world2cam (V, 3, 4), as of :func:`copy_checked`.

    Raises:
        ValueError: a value is not valid; the message names the camera.
    """
    k, m = _copy(intrinsics), _copy(world2cam)
    checked = _check_inverted(k, m) if is_recorded() else _check_world2cam(k, m)
    if world2cam.is_cpu:
        return checked
    k, m, inverse = (x.to(world2cam.device) for x in checked)
    return k, m, inverse


def _kept_inverse(cam2world: Tensor, world2cam: Tensor) -> Tensor:
    _camera_values.check_inverse(cam2world, world2cam)
    return world2cam.clone()


def _look_at(eye: Tensor, target: Tensor, up: Tensor) -> Tensor:
    forward = target - eye
    right = torch.linalg.cross(-up.expand_as(forward), forward)
    lengths = torch.stack([forward.norm(dim=1), right.norm(dim=1)])
    usable = ((lengths > 1e-12) & (lengths < torch.inf)).all(0)
    if not bool(usable.all()):
        v = int((~usable).nonzero()[0])
        expected = f"a point in a direction from eye that is neither zero nor parallel to up={tuple(up.tolist())}"
        raise check.value_error(f"target[{v}]", expected, f"{target[v].tolist()} with eye {eye[v].tolist()}")
    forward, right = forward / lengths[0, :, None], right / lengths[1, :, None]
    cam2world = torch.eye(4, dtype=torch.float64, device="cpu").repeat(eye.shape[0], 1, 1)
    cam2world[:, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward, eye], 2)
    return cam2world


def _interpolate(intrinsics: Tensor, cam2world: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    last = len(cam2world) - 1
    in_range = (times >= 0) & (times <= last)
    if not bool(in_range.all()):
        t = int((~in_range).nonzero()[0])
        raise check.value_error(f"times[{t}]", f"0 to {last}", f"{times[t].item():g}")
    first = times.floor().clamp(max=max(last - 1, 0)).long()
    second = (first + 1).clamp(max=last)
    fraction = times - first
    k, m, weight = intrinsics.double(), cam2world.double(), fraction[:, None, None]
    between_k, between_m = torch.lerp(k[first], k[second], weight), torch.lerp(m[first], m[second], weight)
    between_m[:, :3, :3] = _camera_poses.slerp(m[first, :3, :3], m[second, :3, :3], fraction)
    for key, exact in ((first, fraction == 0), (second, fraction == 1)):
        between_k[exact], between_m[exact] = k[key[exact]], m[key[exact]]
    return between_k, between_m


def _fake_poses(like: Tensor, *_: Tensor) -> Tensor:
    return like.new_empty(like.shape[0], 4, 4, dtype=torch.float64)


# Takes float32 (V, 3, 3) and (V, 4, 4). Returns copies of them, and world2cam (V, 3, 4) float32.
_check_recorded = _define(
    "check_cameras(Tensor intrinsics, Tensor cam2world) -> (Tensor, Tensor, Tensor)",
    _check,
    lambda k, m: (k.new_empty(k.shape), m.new_empty(m.shape), m.new_empty(m.shape[0], 3, 4)),
)
# Takes float32 (V, 3, 3) and (V, 4, 4). Returns a copy of the first, cam2world (V, 4, 4), and world2cam (V, 3, 4).
_check_inverted = _define(
    "check_world2cam(Tensor intrinsics, Tensor world2cam) -> (Tensor, Tensor, Tensor)",
    _check_world2cam,
    lambda k, m: (k.new_empty(k.shape), m.new_empty(m.shape), m.new_empty(m.shape[0], 3, 4)),
)
# Takes float32 (V, 4, 4) and (V, 3, 4). Returns a copy of the second.
keep_inverse = _define(
    "check_inverse(Tensor cam2world, Tensor world2cam) -> Tensor",
    _kept_inverse,
    lambda _, inverse: inverse.new_empty(inverse.shape),
)
# Takes float64 (V, 4) in the order w, x, y, z, and (V, 3). Returns poses (V, 4, 4) float64, on the device of both.
poses_of_quaternions = _define(
    "poses_of_quaternions(Tensor quaternion, Tensor translation) -> Tensor",
    _camera_poses.poses_of_quaternions,
    _fake_poses,
)
# Takes float64 (V, 3), (V, 3) and (3,). Returns cam2world (V, 4, 4) float64.
look_at = _define("look_at(Tensor eye, Tensor target, Tensor up) -> Tensor", _look_at, _fake_poses)
# Takes float32 (V, 3, 3) and (V, 4, 4), and times (T,) float64. Returns (T, 3, 3) and (T, 4, 4) float64.
interpolate = _define(
    "interpolate_cameras(Tensor intrinsics, Tensor cam2world, Tensor times) -> (Tensor, Tensor)",
    _interpolate,
    lambda k, m, times: tuple(x.new_empty(times.shape[0], *x.shape[1:], dtype=torch.float64) for x in (k, m)),
)
