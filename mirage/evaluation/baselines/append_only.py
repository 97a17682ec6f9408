# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""An append-only latent point cloud, the memory of the released Mirage code: every cell with depth becomes a point with
float32 position and features, added with ``torch.cat`` and never removed; read by sorting (:mod:`.argsort`); past
frames are retrieved with Python sets (:mod:`.python_sets`). Written here from that description.

In its best fair form: cells are unprojected by this project's kernel (plain PyTorch takes ten times as long), and the
voxels of a past frame are computed once, when it is written.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from mirage_kernels import Cameras, unproject

from . import argsort, python_sets


class AppendOnly:
    """Latent points in the order of writing, and past frames.

    Args:
        channels: C of the latents.
    """

    def __init__(self, channels: int) -> None:
        self.xyz = torch.zeros(0, 3, dtype=torch.float32, device="cpu")
        self.features = torch.zeros(0, channels, dtype=torch.float32, device="cpu")
        self.latents: list[Tensor] = []  # (C, h, w) of every past frame
        self.voxels: list[python_sets.Voxels] = []  # that each past frame saw

    def __len__(self) -> int:
        """The number of points."""
        return len(self.xyz)

    @property
    def nbytes(self) -> int:
        """Bytes of the points."""
        return self.xyz.nbytes + self.features.nbytes

    @property
    def history_nbytes(self) -> int:
        """Bytes of past latents, and of the sets of past frames with their tuples (without the numbers in the
        tuples)."""
        sets = sum(sys.getsizeof(voxels) + sum(map(sys.getsizeof, voxels)) for voxels in self.voxels)
        return sum(latent.nbytes for latent in self.latents) + sets

    def write(self, latents: Tensor, depth: Tensor, cameras: Cameras) -> None:
        """Add every cell that has depth.

        Args:
            latents: (T, C, h, w).
            depth: (T, H, W), 0 = none.
            cameras: T cameras over (H, W).
        """
        points = unproject(depth, latents, cameras)
        valid = points.valid.chunk(len(latents))
        new = [xyz[valid_of_one] for xyz, valid_of_one in zip(points.xyz.chunk(len(latents)), valid, strict=True)]
        self.xyz = torch.cat([self.xyz, *new])
        self.features = torch.cat([self.features, points.features[points.valid].float()])
        self.latents += latents.unbind()
        self.voxels += map(python_sets.voxels, new)

    def read(self, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """Features (V, C, h, w) and mask (V, h, w) of V cameras over (h, w)."""
        return argsort.read(self.xyz, self.features, cameras)

    def in_view(self, cameras: Cameras) -> Tensor:
        """The points inside any of the views, (M, 3)."""
        return self.xyz[cameras.project(self.xyz)[2].any(0)]

    def retrieve(self, cameras: Cameras, *, k: int = 4, threshold: float = 0.1) -> list[int]:
        """At most ``k`` past frames with the largest overlap with the views, the best first.

        Args:
            cameras: over the grid.
            k: maximum number of frames.
            threshold: minimum intersection over union.
        """
        ious = python_sets.ious(python_sets.voxels(self.in_view(cameras)), self.voxels)
        best = sorted(range(len(ious)), key=lambda t: -ious[t])[:k]
        return [t for t in best if ious[t] >= threshold]
