# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval of past frames by the voxels they share with a view, as the released Mirage code describes it: a Python set
of voxels for each frame, intersection over union by set operations. Written here from that description, in the fastest
plain Python found: the voxels become Python numbers all at once."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

VOXEL = 0.1  # metres

Voxels = set[tuple[int, ...]]


def voxels(xyz: Tensor) -> Voxels:
    """The voxels of the points (N, 3) that a frame sees."""
    return set(map(tuple, (xyz / VOXEL).floor().long().tolist()))


def shares(target: Voxels, history: Iterable[Voxels]) -> list[float]:
    """Intersection over union of one set with each of many."""
    return [len(target & frame) / len(target | frame) if target or frame else 0.0 for frame in history]


def retrieve(target: Tensor, history: Iterable[Tensor]) -> list[float]:
    """The same from the points that the target view and every past frame see."""
    return shares(voxels(target), map(voxels, history))
