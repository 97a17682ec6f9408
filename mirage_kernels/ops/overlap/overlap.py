# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""visible and overlap: what V cameras see of a cloud of points, as sets of bits, and how much such sets share."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ... import backend, check, library
from ...cameras import Cameras
from . import overlap_reference as reference


def visible(
    xyz: Tensor,
    cameras: Cameras,
    *,
    valid: Tensor | None = None,
    groups: Tensor | None = None,
    num_groups: int | None = None,
) -> Tensor:
    """The groups of points that every camera has in its view, one bit a group.

    Bit g % 64 of word g // 64 is set when any point of group g lies inside the view: in front of the camera and on its
    grid, by the arithmetic of :mod:`mirage_kernels.cameras`. Nothing hides what lies behind it. Points with a
    coordinate that is not finite are in no view. The result is the same, bit for bit, on every backend, device and
    number of threads. It has no gradient, and never waits for a device.

    Args:
        xyz: (N, 3) float32, world units.
        cameras: V cameras over one grid, on the same device.
        valid: (N,) bool; points that are False are in no view.
        groups: (N,) int64, the group of every point, 0 to G - 1. Any other number, such as -1, is no group: the point
            is ignored. Without it every point is a group of its own, G = N.
        num_groups: G; given with ``groups``, and only then.

    Returns:
        (V, ceil(G / 64)) int64; bits that belong to no group are 0.

    Raises:
        TypeError, ValueError: ``name: expected X, got Y``.
    """
    dims: check.Dims = {}
    check.tensor("xyz", xyz, ("N", 3), dims)
    like = ("xyz", xyz)
    if not isinstance(cameras, Cameras):
        raise check.type_error("cameras", "Cameras", cameras)
    if cameras.intrinsics.device != xyz.device:
        raise check.value_error("cameras", f"cameras on {xyz.device} like xyz", cameras.device)
    if valid is not None:
        check.tensor("valid", valid, ("N",), dims, (torch.bool,), like)
    if groups is not None:
        check.tensor("groups", groups, ("N",), dims, (torch.int64,), like)
        count = check.integer("num_groups", num_groups, 0)
    elif num_groups is not None:
        raise check.value_error("num_groups", "None where there are no groups", num_groups)
    else:
        count = dims["N"]
    h, w = cameras.size
    operation = backend.operation("visible", xyz)
    bits: Tensor = operation(xyz, cameras.intrinsics, cameras.world2cam, h, w, valid, groups, count)
    return bits


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every set of ``a`` with every set of ``b``.

    The counts are exact integers. Their quotient is rounded to float64 and then to float32; for sets of up to 2^24
    elements that is the nearest float32 to the true quotient, one float32 division. Two empty sets give 0. The result
    is the same, bit for bit, on every backend, device and number of threads. It has no gradient.

    Args:
        a: (A, W) int64, sets of bits as :func:`visible` makes them.
        b: (B, W) int64, likewise, on the same device.

    Returns:
        (A, B) float32, 0 to 1.

    Raises:
        TypeError, ValueError: ``name: expected X, got Y``.
    """
    dims: check.Dims = {}
    check.tensor("a", a, ("A", "W"), dims, (torch.int64,))
    check.tensor("b", b, ("B", "W"), dims, (torch.int64,), ("a", a))
    shares: Tensor = backend.operation("overlap", a)(a, b)
    return shares


class Groups(NamedTuple):
    """Points sorted into groups.

    Attributes:
        groups: (N,) int64, 0 to num_groups - 1, or -1 for a point of no group.
        num_groups: how many there are.
    """

    groups: Tensor
    num_groups: int


_LEAST, _LARGEST = torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).max
_DENSE_AXIS = 1 << 24  # cells; up to here the difference of two whole float32 numbers is exact


def group_voxels(xyz: Tensor, size: float, valid: Tensor | None = None) -> Groups:
    """Group points by the voxel they lie in, ``floor(xyz / size)``.

    The division is float32's, as numpy and PyTorch divide a float32 array on a CPU by the number ``size``, so these are
    the groups of Python sets of such voxels. (It is not the voxel of a multiplication by 1 / size.) Groups are numbered
    in ascending order of (x, y, z). The numbers depend on the points alone: not on their order, nor on the device.

    Plain PyTorch, for use where points change, not where they are looked at: it waits for the device to learn how far
    the voxels reach and how many there are.

    Args:
        xyz: (N, 3) float32, world units.
        size: side of a voxel, world units, a normal float32 number above 0.
        valid: (N,) bool; points that are False get no group.

    Returns:
        The group of every point, -1 where it is not valid or its voxel is not a finite float32 number.

    Raises:
        TypeError, ValueError: ``name: expected X, got Y``.
    """
    dims: check.Dims = {}
    check.tensor("xyz", xyz, ("N", 3), dims)
    side = check.number("size", size, _LEAST, _LARGEST)
    if valid is not None:
        check.tensor("valid", valid, ("N",), dims, (torch.bool,), ("xyz", xyz))
    if not dims["N"]:
        return Groups(torch.empty(0, dtype=torch.int64, device=xyz.device), 0)
    # Divided by a tensor: on a GPU the division by a number is a multiplication by its inverse. Zero has one sign.
    cells = (xyz.detach().T.contiguous() / torch.full((), side, device=xyz.device)).floor_().add_(0.0)  # (3, N)
    known = cells.isfinite().all(0)
    if valid is not None:
        known = known & valid
    unknown = ~known
    cells.masked_fill_(unknown, 0)
    first, last = cells.amin(1), cells.amax(1)
    extents = [int(b - a) + 1 for a, b in zip(first.tolist(), last.tolist(), strict=True)]
    if max(extents) <= _DENSE_AXIS and math.prod(extents) <= (1 << 20) + 8 * dims["N"]:
        return _number_dense(cells.sub_(first[:, None]), extents, unknown)
    return _number_sorted(cells, known)


def _number_dense(cells: Tensor, extents: list[int], unknown: Tensor) -> Groups:
    """Where voxels (3, N), counted from the first on every axis, lie close together: a table of all there could be."""
    volume = math.prod(extents)
    place, y, z = cells.long()
    place.mul_(extents[1]).add_(y).mul_(extents[2]).add_(z).masked_fill_(unknown, volume)
    used = torch.zeros(volume + 1, dtype=torch.bool, device=cells.device)
    used[place] = True
    used[volume] = False  # where points without a voxel went
    number = used.cumsum(0).sub_(1)
    count = int(number[-1]) + 1
    number[volume] = -1
    return Groups(number[place], count)


def _number_sorted(cells: Tensor, known: Tensor) -> Groups:
    """Anywhere: distinct (x, y), then distinct (x, y) with z. A float32 sorts as its bits once those below zero are
    turned round, so any two pack into an int64."""
    bits = cells[:, known].view(torch.int32).long()
    x, y, z = torch.where(bits < 0, -(1 << 31) - bits - 1, bits)
    _, columns = torch.unique(x * (1 << 32) + (y + (1 << 31)), return_inverse=True)
    voxels, inverse = torch.unique(columns * (1 << 32) + (z + (1 << 31)), return_inverse=True)
    groups = torch.full(known.shape, -1, dtype=torch.int64, device=cells.device)
    groups[known] = inverse
    return Groups(groups, len(voxels))


library.define(
    "visible(Tensor xyz, Tensor intrinsics, Tensor world2cam, SymInt h, SymInt w, Tensor? valid, Tensor? groups, "
    "SymInt num_groups) -> Tensor",
    reference=reference.visible,
    triton=f"{__package__}.overlap_triton",
    fake=lambda xyz, intrinsics, world2cam, h, w, valid, groups, num_groups: xyz.new_empty(
        world2cam.shape[0], (num_groups + 63) // 64, dtype=torch.int64
    ),
)
library.define(
    "overlap(Tensor a, Tensor b) -> Tensor",
    reference=reference.overlap,
    triton=f"{__package__}.overlap_triton",
    fake=lambda a, b: a.new_empty(a.shape[0], b.shape[0], dtype=torch.float32),
)
