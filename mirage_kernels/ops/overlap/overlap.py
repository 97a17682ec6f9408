# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Visibility of groups of points as bit sets, overlap of such sets, and grouping of points by voxel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ... import _inputs, _memory, check
from ...cameras import Cameras, check_cameras
from .overlap_occlusion import check_count, groups_in_view, groups_in_view_of_first_points
from .overlap_operators import intersection_over_union, most_of_sets

MAX_GROUPS = 1 << 32  # half a gigabyte of bits for each view


def visible(
    xyz: Tensor,
    cameras: Cameras,
    *,
    valid: Tensor | None = None,
    groups: Tensor | None = None,
    num_groups: int | None = None,
    occlusion: bool = False,
    count: Sequence[int] | Tensor | None = None,
) -> Tensor:
    """Compute which groups of points every camera has in its view, as bit sets with one bit per group.

    Bit g % 64 of word g // 64 is set if any point of group g is inside the view: in front of the camera and on its
    grid, by the arithmetic of :mod:`mirage_kernels.cameras`. Points with a coordinate that is not finite are in no
    view. The result is the same, bit for bit, on every backend, device and number of threads. It has no gradient, and
    without ``count`` the function does not wait for the device.

    Args:
        xyz: (N, 3) float32, or float64 that is rounded to float32 once; world units.
        cameras: V cameras over one grid, on the same device.
        valid: (N,) bool; points that are False are in no view. It may also be uint8 or floating point, where whatever
            is not 0 is True.
        groups: (N,) int64, the group of every point, 0 to G - 1. A point with any other number, such as -1, belongs to
            no group and is ignored. If None, every point is a group of its own and G = N.
        num_groups: G; required with ``groups``, None without.
        occlusion: False ignores occlusion. True sets the bit of a group only if one of its points is the nearest in a
            cell of the grid, as :func:`splat` renders points; choose a grid about as coarse as the points are dense.
        count: V integers, 0 to N: camera v sees only the first ``count[v]`` points, for frames that saw a cloud before
            it grew. A tensor is read on the host.

    Returns:
        (V, ceil(G / 64)) int64; unused bits are 0.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras, visible
        >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 1], [0, 0, 1]]), torch.eye(4), size=(2, 4))
        >>> xyz = torch.tensor([[0.1, 0.1, 2.0], [9.0, 0.0, 2.0], [0.0, 0.0, 1.0]])
        >>> [f"{bits:03b}" for bits in visible(xyz, camera)[:, 0].tolist()]
        ['101']
    """
    dims: check.Dims = {}
    xyz = _inputs.geometry("xyz", xyz, ("N", 3), dims)
    like = ("xyz", xyz)
    check_cameras(cameras, "xyz", xyz)
    if valid is not None:
        valid = _inputs.mask("valid", valid, ("N",), dims, like)
    if groups is not None:
        check.tensor("groups", groups, ("N",), dims, (torch.int64,), like)
        number = check.integer("num_groups", num_groups, 0, MAX_GROUPS)
    elif num_groups is not None:
        raise check.value_error("num_groups", "None if groups is None", num_groups)
    else:
        number = dims["N"]
    occlusion = check.flag("occlusion", occlusion)
    if count is None:
        return groups_in_view(xyz, cameras, occlusion, valid=valid, groups=groups, num_groups=number)
    first = check_count(count, len(cameras), dims["N"])
    return groups_in_view_of_first_points(
        *(xyz, cameras, occlusion, first), valid=valid, groups=groups, num_groups=number
    )


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Compute the intersection over union (IoU) of every set of ``a`` with every set of ``b``.

    The counts are exact integers. Their quotient is rounded to float64 and then to float32; for sets of up to 2^24
    elements this is the float32 nearest to the exact quotient. The IoU of two empty sets is 0. The result is the same,
    bit for bit, on every backend, device and number of threads. It has no gradient, and the function does not wait for
    the device.

    Args:
        a: (A, W) int64, bit sets as :func:`visible` returns them.
        b: (B, W) int64, on the same device.

    Returns:
        (A, B) float32, 0 to 1.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape or device.

    Example:
        >>> import torch
        >>> from mirage_kernels import overlap
        >>> overlap(torch.tensor([[0b0110]]), torch.tensor([[0b0110], [0b1100], [0b0001]]))
        tensor([[1.0000, 0.3333, 0.0000]])
    """
    dims: check.Dims = {}
    check.tensor("a", a, ("A", "W"), dims, (torch.int64,))
    check.tensor("b", b, ("B", "W"), dims, (torch.int64,), ("a", a))
    return intersection_over_union(a, b)


class Groups(NamedTuple):
    """Points assigned to groups.

    Attributes:
        groups: (N,) int64, 0 to num_groups - 1, or -1 for a point without a group.
        num_groups: number of groups.
    """

    groups: Tensor
    num_groups: int


_MIN_SIZE, _MAX_SIZE = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
_MAX_DENSE_AXIS = 1 << 24  # voxels; up to here the difference of two integers in float32 is exact


@_memory.explains("group_voxels")
def group_voxels(xyz: Tensor, voxel_size: float, valid: Tensor | None = None) -> Groups:
    """Group points by voxel, ``floor(xyz / voxel_size)``.

    The division is a float32 division by a number, as NumPy and PyTorch compute it on a CPU, so the groups equal those
    of a Python dictionary with such voxels as keys. (:class:`VoxelCache` multiplies by 1 / voxel_size instead.) Groups
    are numbered in ascending order of (x, y, z). The numbers depend neither on the order of the points nor on the
    device.

    It is written in plain PyTorch and waits for the device, so call it when points change, not in every frame.

    Args:
        xyz: (N, 3) float32, or float64 that is rounded to float32 once; world units.
        voxel_size: side of a voxel, world units, a normal float32 number above 0.
        valid: (N,), a mask as :func:`visible` takes it; points that are False get no group.

    Returns:
        :class:`Groups`. A point that is not valid, or whose voxel is not a finite float32 number, has group -1.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value.

    Example:
        >>> import torch
        >>> from mirage_kernels import group_voxels
        >>> group_voxels(torch.tensor([[0.3, 0, 0], [0.1, 0, 0], [0.35, 0, 0]]), voxel_size=0.2)
        Groups(groups=tensor([1, 0, 1]), num_groups=2)
    """
    dims: check.Dims = {}
    xyz = _inputs.geometry("xyz", xyz, ("N", 3), dims)
    check.dense("xyz", xyz, values=True)
    side = check.number("voxel_size", voxel_size, _MIN_SIZE, _MAX_SIZE)
    if valid is not None:
        valid = _inputs.mask("valid", valid, ("N",), dims, ("xyz", xyz))
    if not dims["N"]:
        return Groups(torch.empty(0, dtype=torch.int64, device=xyz.device), 0)
    # The divisor is a tensor, because a GPU divides by a number by multiplying with its reciprocal. Adding 0 turns -0
    # into 0.
    voxels = (
        (xyz.detach().T.contiguous() / torch.full((), side, device=xyz.device, dtype=torch.float32)).floor_().add_(0.0)
    )  # (3, N)
    grouped = voxels.isfinite().all(0)
    if valid is not None:
        grouped = grouped & valid
    voxels.masked_fill_(~grouped, 0)
    first, last = voxels.amin(1), voxels.amax(1)
    sides = [int(b - a) + 1 for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    if max(sides) <= _MAX_DENSE_AXIS and math.prod(sides) <= (1 << 20) + 8 * dims["N"]:
        return _number_dense(voxels.sub_(first[:, None]), sides, ~grouped)
    return _number_sorted(voxels, grouped)


def keep_sets(bits: Tensor, count: int) -> Tensor:
    """Choose sets whose union stays large: again and again the set leaves that alone has the fewest members.

    So a history of views forgets those whose places other views show as well. Ties: the first set leaves. The choice is
    the same on every backend, device and number of threads.

    Args:
        bits: (S, W) int64, S sets as :func:`visible` returns them.
        count: number of sets to keep, 0 to S.

    Returns:
        (count,) int64, the sets that are kept, in ascending order.

    Raises:
        TypeError, ValueError: an argument has the wrong type, dtype, shape or value.

    Example:
        >>> import torch
        >>> from mirage_kernels import keep_sets
        >>> keep_sets(torch.tensor([[0b0011], [0b0111], [0b1000]]), 2)
        tensor([1, 2])
    """
    dims: check.Dims = {}
    check.tensor("bits", bits, ("S", "W"), dims, (torch.int64,))
    return most_of_sets(bits, check.integer("count", count, 0, dims["S"]))


def _number_dense(voxels: Tensor, sides: list[int], ungrouped: Tensor) -> Groups:
    """Number voxels (3, N), relative to the first on every axis, with a table of all voxels of their bounding box."""
    volume = math.prod(sides)
    flat, y, z = voxels.long()
    flat.mul_(sides[1]).add_(y).mul_(sides[2]).add_(z).masked_fill_(ungrouped, volume)
    used = torch.zeros(volume + 1, dtype=torch.bool, device=voxels.device)
    used[flat] = True
    used[volume] = False  # the entry of points without a group
    number = used.cumsum(0).sub_(1)
    count = int(number[-1]) + 1
    number[volume] = -1
    return Groups(number[flat], count)


def _number_sorted(voxels: Tensor, grouped: Tensor) -> Groups:
    """Number voxels (3, N) anywhere in space: first distinct (x, y), then distinct (x, y) with z.

    The bits of a float32 sort as an integer once those of negative numbers are inverted, so two of them pack into an
    int64.
    """
    bits = voxels[:, grouped].view(torch.int32).long()
    x, y, z = torch.where(bits < 0, -(1 << 31) - bits - 1, bits)
    _, columns = torch.unique(x * (1 << 32) + (y + (1 << 31)), return_inverse=True)
    distinct, inverse = torch.unique(columns * (1 << 32) + (z + (1 << 31)), return_inverse=True)
    groups = torch.full(grouped.shape, -1, dtype=torch.int64, device=voxels.device)
    groups[grouped] = inverse
    return Groups(groups, len(distinct))
