# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``prepare_cameras``, which checks the values of cameras and inverts their poses, and the error messages
for wrong values. The arithmetic is float64, on the CPU."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from . import _library, backend, check
from ._camera_poses import IDENTITY, invert, invert_rigid
from ._pickling import copies

RIGID_TOLERANCE = 1e-3
LAST_ROW_TOLERANCE = 1e-5  # of poses, for the rounding of torch.linalg.inv
_INVERSE_TOLERANCE = 4e-3  # of two poses that are rigid within RIGID_TOLERANCE, where one is computed from the other


# The bounds of every entry: a tensor that clamping does not change is finite and within bounds. Those of focal lengths,
# principal points and translations keep clear of the bounds of float32 (normal numbers from 2^-126, below 2^128): a
# rescaling of the grid, by at most 2^24, does not overflow, nor does the inverse of a pose. The native kernel has the
# same (csrc/cameras/cameras_cpu.cpp).
MIN_FOCAL, MAX_INTRINSIC = 2.0**-64, 2.0**64  # cells
MAX_TRANSLATION = 2.0**126  # world units
_MAX_FLOAT = torch.finfo(torch.float32).max
_FOCAL, _CENTER, _ZERO, _ONE = (MIN_FOCAL, MAX_INTRINSIC), (-MAX_INTRINSIC, MAX_INTRINSIC), (0.0, 0.0), (1.0, 1.0)
_ROTATION, _SHIFT = (-_MAX_FLOAT, _MAX_FLOAT), (-MAX_TRANSLATION, MAX_TRANSLATION)


# Bounds of the intrinsics of cameras, in cells: the smallest focal length and the largest absolute value, in x and y.
# They are those of the constructor, changed with every rescaling and cropping. So it is known that float32 can hold the
# values without reading them, which may be on a GPU.
Limits = tuple[float, float, float, float]
LIMITS: Limits = (MIN_FOCAL, MAX_INTRINSIC, MIN_FOCAL, MAX_INTRINSIC)
_MIN_SCALED, _MAX_SCALED = 2.0**-125, 2.0**127
_MAX_OFFSET = 2.0**100


def rescale(limits: Limits, size: tuple[int, int], x: float, y: float) -> Limits:
    """Return the limits after multiplying fx and cx by ``x``, fy and cy by ``y``.

    Raises:
        ValueError: intrinsics may leave the range of float32; the message names ``size``, the size of the new grid.
    """
    if torch.compiler.is_compiling():  # numbers that differ between calls would cause recompilation
        return LIMITS
    min_x, max_x, min_y, max_y = limits
    min_x, max_x, min_y, max_y = min_x * x, max_x * x, min_y * y, max_y * y
    if min_x < _MIN_SCALED or min_y < _MIN_SCALED or max_x > _MAX_SCALED or max_y > _MAX_SCALED:
        raise check.value_error("size", "a size for which float32 can represent the intrinsics", size)
    return min_x, max_x, min_y, max_y


@functools.lru_cache(64)
def row_factors(x: float, y: float) -> Tensor:
    """Return (3, 1) float64 on the CPU, what a rescaling multiplies the rows of intrinsics with. Do not modify it."""
    return torch.tensor([[x], [y], [1.0]], dtype=torch.float64, device="cpu")


def shift(limits: Limits, x: float, y: float) -> Limits:
    """Return the limits after subtracting ``x`` from cx and ``y`` from cy; see :func:`offset`."""
    if torch.compiler.is_compiling():
        return LIMITS
    min_x, max_x, min_y, max_y = limits
    return min_x, min(max_x + abs(x), _MAX_SCALED), min_y, min(max_y + abs(y), _MAX_SCALED)


def union(limits: list[Limits]) -> Limits:
    """Return the limits of several cameras together."""
    min_x, max_x, min_y, max_y = zip(*limits, strict=True)
    return min(min_x), max(max_x), min(min_y), max(max_y)


def listed(name: str, expected: str, value: Any) -> list[Any]:
    """Return what an argument iterates over as a list.

    Raises:
        TypeError: it does not iterate.
    """
    try:
        items = iter(value)
    except TypeError:
        raise check.type_error(name, expected, value) from None
    return list(items)


def numbers(
    name: str, value: Any, count: int, minimum: float | None = None, maximum: float | None = None
) -> list[float]:
    """Check that an argument iterates over some numbers, see :func:`mirage_kernels.check.number`; return them."""
    items = listed(name, f"{count} numbers", value)
    result = [check.number(f"{name}[{at}]", item, minimum, maximum) for at, item in enumerate(items[: count + 1])]
    if len(items) != count:
        raise check.value_error(name, f"{count} numbers", len(items))
    return result


def on_cpu(name: str, tensor: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return a tensor without its gradient on the CPU.

    Raises:
        ValueError: it has no values, because it is on the device "meta".
    """
    return check.dense(name, tensor, values=True).detach().to("cpu", dtype)


def offset(name: str, value: Any) -> float:
    """Check a number of rows or columns, which may be a tensor with one element; return a float.

    Raises:
        TypeError, ValueError: it is not a number, not finite, or beyond 2^100.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    result = check.number(name, float(value) if isinstance(value, bool) else value)
    if abs(result) > _MAX_OFFSET:
        raise check.value_error(name, "-2^100 to 2^100", value)
    return result


def _bounds(entries: list[tuple[float, float]], side: int) -> tuple[Tensor, Tensor]:
    low, high = torch.tensor(entries, dtype=torch.float64, device="cpu").T.reshape(2, side, side)
    return low, high


_INTRINSICS_LOW, _INTRINSICS_HIGH = _bounds([_FOCAL, _ZERO, _CENTER, _ZERO, _FOCAL, _CENTER, _ZERO, _ZERO, _ONE], 3)
_POSE_LOW, _POSE_HIGH = _bounds([*[_ROTATION] * 3, _SHIFT] * 3 + [_ZERO, _ZERO, _ZERO, _ONE], 4)


def _within(x: Tensor, low: Any, high: Any) -> bool:
    return torch.equal(x, x.clamp(low, high))


def _intrinsics_are_valid(k: Tensor) -> bool:
    return _within(k, _INTRINSICS_LOW, _INTRINSICS_HIGH)


def _poses_are_valid(m: Tensor) -> bool:
    r = m[:, :3, :3]
    return (
        _within(m, _POSE_LOW, _POSE_HIGH)
        and _within(r @ r.mT - IDENTITY, -RIGID_TOLERANCE, RIGID_TOLERANCE)
        and bool((torch.linalg.det(r) > 0).all())
    )


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
            if not MIN_FOCAL <= value <= MAX_INTRINSIC:
                expected = "a focal length above 0" if value <= 0 else "a focal length of 2^-64 to 2^64 cells"
                raise check.value_error(f"{name} {axis}", expected, f"{value:g}")
        for axis, value in (("cx", matrix[0, 2].item()), ("cy", matrix[1, 2].item())):
            if not abs(value) <= MAX_INTRINSIC:
                raise check.value_error(f"{name} {axis}", "at most 2^64 cells from the grid's corner", f"{value:g}")


def raise_for_poses(name: str, m: Tensor) -> None:
    """Raise ValueError for the first of the poses (V, 4, 4) float64 that is not rigid, if there is one."""
    for v, matrix in enumerate(m):
        pose = f"{name}[{v}]"
        if not _within(matrix, -_MAX_FLOAT, _MAX_FLOAT):
            raise check.value_error(pose, "finite float32 values", matrix.tolist())
        if matrix[3].tolist() != [0.0, 0.0, 0.0, 1.0]:
            raise check.value_error(pose, "a last row of [0, 0, 0, 1]", matrix[3].tolist())
        if not _within(matrix[:3, 3], -MAX_TRANSLATION, MAX_TRANSLATION):
            raise check.value_error(pose, "a position within 2^126 of the origin", matrix[:3, 3].tolist())
        r = matrix[:3, :3]
        error = (r @ r.mT - IDENTITY).abs().max().item()
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


def check_cameras(intrinsics: Tensor, cam2world: Tensor, name: str = "cam2world") -> Tensor:
    """Check all values and invert the poses.

    Args:
        intrinsics, cam2world: as for :func:`prepare`. The last row of the poses is set to 0, 0, 0, 1 if it is that
            up to rounding.
        name: of the poses, for errors.

    Returns:
        world2cam (V, 3, 4) float32.

    Raises:
        ValueError: a value is not valid; the message names the camera.
    """
    world2cam, valid = prepare(intrinsics, cam2world)
    if not valid and _round_last_row(cam2world):
        world2cam, valid = prepare(intrinsics, cam2world)
    if not valid:
        raise_for_intrinsics(intrinsics.double())
        raise_for_poses(name, cam2world.double())
    return world2cam


def check_world2cam(intrinsics: Tensor, world2cam: Tensor) -> Tensor:
    """Check all values of cameras with world-to-camera poses and invert the poses.

    Args:
        intrinsics, world2cam: as ``intrinsics`` and ``cam2world`` of :func:`check_cameras`.

    Returns:
        cam2world (V, 4, 4) float32.

    Raises:
        ValueError: as :func:`check_cameras`.
    """
    check_cameras(intrinsics, world2cam, "world2cam")
    cam2world = invert(world2cam.double()).float()
    check_cameras(intrinsics, cam2world, "world2cam")  # the inverse may be less rigid
    return cam2world


def check_inverse(cam2world: Tensor, world2cam: Tensor) -> None:
    """Check that poses (V, 3, 4) float32 are the inverse of poses (V, 4, 4) float32 up to rounding, on the CPU.

    Raises:
        ValueError: they are not; the message names ``world2cam``.
    """
    m, inverse = cam2world.double(), world2cam.double()
    product = inverse[:, :, :3] @ m[:, :3]
    scale = m[:, :3, 3].abs().amax(1) + inverse[:, :, 3].abs().amax(1)
    turned = (product[:, :, :3] - IDENTITY).abs().flatten(1).amax(1)
    moved = (product[:, :, 3] + inverse[:, :, 3]).abs().amax(1)
    # An infinite position would be within a tolerance that is relative to it.
    fits = (turned <= _INVERSE_TOLERANCE) & (moved <= _INVERSE_TOLERANCE * scale) & (scale < torch.inf)
    if not bool(fits.all()):
        at = int((~fits).nonzero()[0])
        raise check.value_error(f"world2cam[{at}]", "the inverse of cam2world", world2cam[at].tolist())


def _round_last_row(m: Tensor) -> bool:
    """Set the last row of poses (V, 4, 4) in place if rounding may have changed it. Return whether it did."""
    last = m.new_zeros(4)
    last[3] = 1
    off = (m[:, 3] - last).abs()
    if not bool((off > 0).any()) or not bool((off <= LAST_ROW_TOLERANCE).all()):
        return False
    m[:, 3] = last
    return True


def _prepare_reference(intrinsics: Tensor, cam2world: Tensor) -> tuple[Tensor, bool]:
    k, m = intrinsics.double(), cam2world.double()
    return invert_rigid(m).float(), _intrinsics_are_valid(k) and _poses_are_valid(m)


def _fake(_: Tensor, cam2world: Tensor) -> tuple[Tensor, bool]:
    return cam2world.new_empty(cam2world.shape[0], 3, 4), True


# Takes float32 (V, 3, 3) and (V, 4, 4) on the CPU. Returns world2cam (V, 3, 4) and whether all values are valid.
_library.define(
    "prepare_cameras(Tensor intrinsics, Tensor cam2world) -> (Tensor, bool)", reference=_prepare_reference, fake=_fake
)


def _clamp_intrinsics(intrinsics: Any, limits: Any) -> Tensor:
    """Return intrinsics that a rescaling or a crop has taken beyond what the constructor accepts, clamped to that.

    Raises:
        TypeError, ValueError: they are not within the limits, or these are not limits.
    """
    check.tensor("intrinsics", intrinsics, ("V", 3, 3), {})
    bounds = numbers("limits", limits, 4, _MIN_SCALED, _MAX_SCALED)
    k, eps = intrinsics.detach().to("cpu", torch.float64), 2.0**-20  # the values are rounded to float32
    min_x, max_x, min_y, max_y = bounds
    min_x, max_x, min_y, max_y = min_x * (1 - eps), max_x * (1 + eps), min_y * (1 - eps), max_y * (1 + eps)
    x, y = [(min_x, max_x), _ZERO, (-max_x, max_x)], [_ZERO, (min_y, max_y), (-max_y, max_y)]
    low, high = _bounds([*x, *y, _ZERO, _ZERO, _ONE], 3)
    if not torch.equal(k.clamp(low, high), k):
        raise check.value_error("intrinsics", f"values within {tuple(bounds)}", k.tolist())
    usual: Tensor = k.clamp(_INTRINSICS_LOW, _INTRINSICS_HIGH).to(intrinsics)
    return usual


class PickledCameras:
    """How :class:`mirage_kernels.Cameras` are pickled and copied: by the arguments of the constructor, which checks."""

    def __getstate__(self) -> dict[str, Any]:
        cameras: Any = self
        return {
            **copies(cameras.matrices()),
            "size": tuple(cameras.size),
            **({} if cameras._limits == LIMITS else {"limits": tuple(cameras._limits)}),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A subclass may have another constructor, but then it has its own state as well.
        cameras: Any = self
        limits, intrinsics = state.get("limits", LIMITS), state["intrinsics"]
        if limits == LIMITS:
            cameras.__init__(intrinsics, state["cam2world"], state["size"])
        else:
            usual = _clamp_intrinsics(intrinsics, limits)
            cameras.__init__(usual, state["cam2world"], state["size"])
            cameras._intrinsics, cameras._limits = intrinsics.clone(), tuple(limits)
        if "world2cam" in state:  # as of 0.3
            cameras._keep_world2cam(state["world2cam"])
