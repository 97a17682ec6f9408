# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the stand-ins share: arrays as tensors, and cameras in the forms of other projects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import Cameras, check


def numbers(
    name: str, value: Any, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Tensor:
    """Convert a tensor, an array, or a list of numbers, arrays or tensors to a tensor of any shape.

    Args:
        name: name of the argument, for errors.
        value: the argument.
        dtype: dtype of the result; by default that of ``value``.
        device: device of the result; by default that of ``value``.

    Raises:
        TypeError: ``value`` is not numeric.
        ValueError: the items of a list have different shapes.
    """
    if isinstance(value, (list, tuple)) and any(hasattr(item, "ndim") for item in value):
        items = [numbers(f"{name}[{i}]", item, dtype, device) for i, item in enumerate(value)]
        if any(item.shape != items[0].shape for item in items):
            raise check.value_error(name, "items of one shape", [tuple(item.shape) for item in items])
        return torch.stack(items)
    flags = getattr(value, "flags", None)
    if flags is not None and (not flags.writeable or not value.dtype.isnative or min(value.strides, default=0) < 0):
        value = value.astype(value.dtype.newbyteorder("="), order="C")  # torch takes none of these
    try:
        return torch.as_tensor(value, dtype=dtype, device=device)
    except (TypeError, ValueError, RuntimeError):
        got = f"an array of {value.dtype}" if flags is not None else type(value).__name__
        raise TypeError(f"{name}: expected a tensor or an array of numbers, got {got}") from None


def as_tensor(
    name: str,
    value: Any,
    shape: tuple[str | int, ...],
    dims: check.Dims,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Convert a tensor, an array or nested numbers to a tensor of a dtype and shape.

    Args:
        name: name of the argument, for errors.
        value: the argument.
        shape: expected shape, with named dimensions.
        dims: sizes of the named dimensions; updated in place.
        device: device of the result; by default that of ``value``.
        dtype: dtype of the result.

    Raises:
        TypeError: ``value`` is not numeric.
        ValueError: it has another shape.
    """
    tensor = numbers(name, value, dtype, device)
    check.tensor(name, tensor, shape, dims, (dtype,))
    return tensor


def intrinsics_matrix(
    intrinsics: Any, count: int, device: torch.device, *, offset: float, name: str = "intrinsics"
) -> Tensor:
    """Return intrinsics (V, 3, 3) or (3, 3) float64, with ``offset`` cells added to the principal point.

    Args:
        intrinsics: (V, 3, 3), (3, 3), (V, 4) or (4,), the last two ``fx, fy, cx, cy``.
        count: V.
        device: device of the result.
        offset: 0.5 where the pixel centers of the original have integer coordinates.
        name: name of the argument, for errors.

    Raises:
        TypeError, ValueError: ``intrinsics`` is no array of such a shape.
    """
    given = numbers(name, intrinsics, torch.float64, device)
    if given.shape in ((4,), (count, 4)):
        fx, fy, cx, cy = given.unbind(-1)
        zero = torch.zeros_like(fx)
        rows = torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, torch.ones_like(fx)], -1)
        given = rows.reshape(*rows.shape[:-1], 3, 3)
    if given.shape not in ((3, 3), (count, 3, 3)):
        expected = f"(V={count}, 3, 3), (3, 3), (V={count}, 4) or (4,)"
        raise check.value_error(name, expected, tuple(given.shape))
    return given + _principal_shift(offset, device) if offset else given


@lru_cache(maxsize=8)
def _principal_shift(offset: float, device: torch.device) -> Tensor:
    return torch.tensor([[0, 0, offset], [0, 0, offset], [0, 0, 0]], dtype=torch.float64, device=device)


def scale_intrinsics(intrinsics: Any, source_hw: Sequence[int], target_hw: Sequence[int]) -> Tensor:
    """Scale intrinsics (..., 3, 3) from one grid size (h, w) to another; float32."""
    scaled = numbers("intrinsics", intrinsics, torch.float32).clone()
    scaled[..., 0, :] *= target_hw[1] / source_hw[1]
    scaled[..., 1, :] *= target_hw[0] / source_hw[0]
    return scaled


def cameras_of(
    intrinsics: Any,
    poses: Any,
    size: tuple[int, int],
    device: torch.device,
    *,
    inverse: bool,
    offset: float = 0.0,
    name: str = "poses",
) -> Cameras:
    """Construct cameras from arrays of another project.

    Args:
        intrinsics: see :func:`intrinsics_matrix`.
        poses: (V, 4, 4), (V, 3, 4), (4, 4) or (3, 4); a last row is ignored, because inverses of poses are often off.
        size: (h, w) of the grid.
        device: device of the cameras.
        inverse: whether the poses are world-to-camera.
        offset: added to the principal point, in cells.
        name: name of the poses, for errors.

    Raises:
        TypeError, ValueError: an argument is no array of such a shape, or its values are no camera's.
    """
    given = numbers(name, poses, torch.float64, device)
    if given.dim() == 2:
        given = given[None]
    if given.dim() != 3 or given.shape[1] not in (3, 4) or given.shape[2] != 4:
        raise check.value_error(name, "(V, 4, 4), (V, 3, 4), (4, 4) or (3, 4)", tuple(given.shape))
    matrix = intrinsics_matrix(intrinsics, len(given), device, offset=offset)
    if inverse:
        return Cameras.from_world2cam(matrix, given[:, :3], size)
    if given.shape[1] == 4:
        try:
            return Cameras(matrix, given, size)
        except ValueError:  # such as a last row that is off, as that of an inverse often is
            pass
    last = given.new_tensor([0, 0, 0, 1]).expand(len(given), 1, 4)
    return Cameras(matrix, torch.cat([given[:, :3], last], 1), size)


@lru_cache(maxsize=32)
def homogeneous_camera(
    size: tuple[int, int], device: torch.device, center: tuple[float, float], scale: float = 1.0
) -> Cameras:
    """A camera for points given as (u z, v z, z): such a point is projected to (scale u, scale v) + ``center``.

    With the center (0.5, 0.5), u and v are coordinates in which pixel centers are integers.
    """
    matrix = torch.tensor([[scale, 0, center[0]], [0, scale, center[1]], [0, 0, 1]], dtype=torch.float64, device=device)
    return Cameras(matrix, torch.eye(4, dtype=torch.float64, device=device), size)
