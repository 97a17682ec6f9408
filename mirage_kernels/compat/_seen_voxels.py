# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval of past latents for LatentSpatialMemory: the voxels that frames saw, as bit sets."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, group_voxels, visible


class VoxelNumbers:
    """Numbers of the voxels of a cloud that stay as they are when the cloud grows.

    Attributes:
        groups: (N,) int64, the number of the voxel of every point, -1 for points without one.
        count: number of voxels.
    """

    def __init__(self, voxel_size: float, device: torch.device) -> None:
        self.voxel_size, self.count = voxel_size, 0
        self.groups = torch.empty(0, dtype=torch.int64, device=device)

    def extend(self, xyz: Tensor, valid: Tensor) -> None:
        """Number the voxels of the points that have been appended."""
        known = len(self.groups)
        if known == len(xyz):
            return
        found, total = group_voxels(xyz, self.voxel_size, valid)
        number = torch.full((total + 1,), -1, dtype=torch.int64, device=xyz.device)  # the last for points without one
        numbered = self.groups >= 0
        number[found[:known][numbered]] = self.groups[numbered]
        new = (number[:total] < 0).nonzero().squeeze(1)
        number[new] = torch.arange(self.count, self.count + len(new), dtype=torch.int64, device=xyz.device)
        self.groups, self.count = number[found], self.count + len(new)


class SeenFrame:
    """What a past latent frame saw: the points of the cloud, as it was then, in the view of its camera."""

    def __init__(self, camera: Cameras, rows: int) -> None:
        self.camera, self.rows = camera, rows
        self._bits: dict[VoxelNumbers, Tensor] = {}


def past_bits(xyz: Tensor, frames: list[SeenFrame], numbers: VoxelNumbers) -> Tensor:
    """The sets of voxels (H, W) that past frames saw of the points (N, 3). Those of a frame are computed once."""
    new: dict[int, list[SeenFrame]] = {}
    for frame in frames:
        if numbers not in frame._bits:
            new.setdefault(frame.rows, []).append(frame)
    for rows, some in new.items():
        cameras, groups = Cameras.cat([frame.camera for frame in some]), numbers.groups[:rows]
        bits = visible(xyz[:rows], cameras, groups=groups, num_groups=numbers.count)
        for frame, words in zip(some, bits, strict=True):
            frame._bits[numbers] = words
    width = -(-numbers.count // 64)
    return torch.stack([nnf.pad(frame._bits[numbers], (0, width - len(frame._bits[numbers]))) for frame in frames])
