# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval of past frames by the voxels they have in common with a view, as the released Mirage code describes it: a
Python set of voxels per frame, and intersection over union by set operations. Written here from that description, in
the fastest plain Python found: all voxels become Python numbers in one call."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

VOXEL = 0.1  # meters

Voxels = set[tuple[int, ...]]


def voxels(xyz: Tensor) -> Voxels:
    """The voxels of points (N, 3)."""
    return set(map(tuple, (xyz / VOXEL).floor().long().tolist()))


def ious(target: Voxels, history: Iterable[Voxels]) -> list[float]:
    """Intersection over union of one set with each of many."""
    return [len(target & frame) / len(target | frame) if target or frame else 0.0 for frame in history]


def retrieve(target: Tensor, history: Iterable[Tensor]) -> list[float]:
    """Intersection over union of the voxels of points (N, 3) of the target view with those of every past frame."""
    return ious(voxels(target), map(voxels, history))
