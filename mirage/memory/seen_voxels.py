# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The voxels that past frames have in view, kept from call to call: what is new is projected into the past frames, and
everything into the new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, group_voxels, visible

from .inference import outside_inference_mode

MAX_SHORT = 1 << 15  # voxels that int16 numbers


class SeenVersion(NamedTuple):
    """One version. A change makes another one.

    Attributes:
        points: (G, 3) float32, a point in each voxel. A voxel keeps its number.
        groups: (N,) int16, or int32 for more voxels: the voxel of each point of the memory; -1 for a point without one.
        frames: identifiers of the F frames.
        bits: (F, ceil(G / 64)) int64, as :func:`mirage_kernels.visible` returns them.
        has_empty: whether there may be voxels without a point, because points were removed.
    """

    points: Tensor
    groups: Tensor
    frames: tuple[int, ...]
    bits: Tensor
    has_empty: bool = False

    @property
    def voxels(self) -> int:
        """Number G of voxels."""
        return len(self.points)


class SeenVoxels:
    """Which voxels the frames of a history have in view, while points and frames come and go.

    A frame has a voxel in view if a point in it was inside the frame's view, ignoring occlusion. A point that the
    memory replaces by another one of the same voxel of its cache counts at its first place.

    Args:
        voxel_size: side of a voxel, world units.
        device: of the points.

    Attributes:
        version: the state; assign an earlier one to return to it.
    """

    @outside_inference_mode
    def __init__(self, voxel_size: float, device: torch.device | str) -> None:
        self.voxel_size = voxel_size
        self.version = self._nothing(torch.device(device))

    @staticmethod
    def _nothing(device: torch.device) -> SeenVersion:
        return SeenVersion(
            torch.zeros(0, 3, dtype=torch.float32, device=device),
            torch.zeros(0, dtype=torch.int16, device=device),
            (),
            torch.zeros(0, 0, dtype=torch.int64, device=device),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return self.version.points.nbytes + self.version.groups.nbytes + self.version.bits.nbytes

    @outside_inference_mode
    def remap(self, rows: Tensor) -> None:
        """Follow points that have moved.

        Args:
            rows: (N,) int64, new number of each old point, in ascending order; -1 for removed points.
        """
        known = self.version.groups
        kept = known[rows[: len(known)] >= 0]
        has_empty = self.version.has_empty or len(kept) < len(known)
        self.version = self.version._replace(groups=kept, has_empty=has_empty)

    @outside_inference_mode
    def update(self, xyz: Tensor, cameras: Cameras, frames: Sequence[int]) -> Tensor:
        """Return the voxels in view of every frame.

        Args:
            xyz: (N, 3) float32, all points; new ones come last.
            cameras: F cameras.
            frames: identifiers of the F frames, those that were there before in the same order; new ones come last.

        Returns:
            (F, ceil(G / 64)) int64 bit sets.
        """
        before = self.version
        occupied = _occupied(before) if before.has_empty else None
        if len(xyz) < len(before.groups) or (occupied is not None and 2 * int(occupied.sum()) < before.voxels):
            before = self._nothing(xyz.device)
        elif occupied is not None:
            before = before._replace(bits=before.bits & _pack(occupied), has_empty=False)
        present = set(frames)
        at = [n for n, frame in enumerate(before.frames) if frame in present]
        kept = tuple(before.frames[n] for n in at)
        if kept != before.frames:
            before = before._replace(frames=kept, bits=before.bits[at])
        seen = self._number_new(before, xyz)
        old, first = len(kept), len(before.groups)
        bits = nnf.pad(before.bits, (0, -(-seen.voxels // 64) - before.bits.shape[1]))
        if old and first < len(xyz):
            bits = bits | self._in_view(seen, xyz[first:], seen.groups[first:], cameras[:old])
        if old < len(frames):
            bits = torch.cat([bits, self._in_view(seen, xyz, seen.groups, cameras[old:])])
        self.version = seen._replace(frames=tuple(frames), bits=bits)
        return bits

    def in_view(self, xyz: Tensor, cameras: Cameras) -> Tensor:
        """Return the voxels in any of the views, (1, ceil(G / 64)) int64, of all points after :meth:`update`."""
        views = self._in_view(self.version, xyz, self.version.groups, cameras)
        target = views.new_zeros(1, views.shape[1])
        for view in views:
            target |= view
        return target

    def _number_new(self, seen: SeenVersion, xyz: Tensor) -> SeenVersion:
        """Number the voxels of the points that have come."""
        first, known = len(seen.groups), seen.voxels
        if first == len(xyz):
            return seen
        found, total = group_voxels(torch.cat([seen.points, xyz[first:]]), self.voxel_size)
        number = torch.full((total + 1,), -1, dtype=torch.int64, device=xyz.device)  # the last for points without one
        number[found[:known]] = torch.arange(known, dtype=torch.int64, device=xyz.device)
        new = (number[:total] < 0).nonzero().squeeze(1)
        number[new] = torch.arange(known, known + len(new), dtype=torch.int64, device=xyz.device)
        groups = number[found[known:]]
        points, is_new = torch.cat([seen.points, seen.points.new_empty(len(new), 3)]), groups >= known
        points[groups[is_new]] = xyz[first:][is_new]
        numbers = groups.to(torch.int16 if len(points) <= MAX_SHORT else torch.int32)
        return seen._replace(points=points, groups=torch.cat([seen.groups, numbers]))

    def _in_view(self, seen: SeenVersion, xyz: Tensor, groups: Tensor, cameras: Cameras) -> Tensor:
        return visible(xyz, cameras, groups=groups.long(), num_groups=seen.voxels)


def _occupied(seen: SeenVersion) -> Tensor:
    """(G,) bool, voxels in which there is a point."""
    occupied = torch.zeros(seen.voxels, dtype=torch.bool, device=seen.points.device)
    occupied[seen.groups[seen.groups >= 0].long()] = True
    return occupied


def _pack(flags: Tensor) -> Tensor:
    """(ceil(G / 64),) int64, the bit set of flags (G,)."""
    shifts = torch.arange(64, dtype=torch.int64, device=flags.device)
    return (nnf.pad(flags, (0, -len(flags) % 64)).reshape(-1, 64).long() << shifts).sum(1)
