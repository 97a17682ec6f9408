# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""An append-only latent point cloud, the way the released Mirage code remembers: every cell that has depth becomes a
point of float32 coordinates and features, added with ``torch.cat`` and never given up; read by sorting
(:mod:`benchmarks.baselines.argsort`); past frames found with Python sets (:mod:`benchmarks.baselines.python_sets`).
Written here from that description.

In its best fair form: cells are lifted by this project's own kernel, which in plain PyTorch takes ten times as long;
and the voxels that a past frame saw are worked out once, when it is written.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from benchmarks.baselines import argsort, python_sets
from mirage_kernels import Cameras, unproject


class AppendOnly:
    """Latent points in the order they came, and past frames.

    Args:
        channels: C of the latents.
    """

    def __init__(self, channels: int) -> None:
        self.xyz = torch.zeros(0, 3)
        self.features = torch.zeros(0, channels)
        self.latents: list[Tensor] = []  # (C, h, w) of every past frame
        self.seen: list[python_sets.Voxels] = []  # and what it saw

    def __len__(self) -> int:
        """How many points there are."""
        return len(self.xyz)

    @property
    def nbytes(self) -> int:
        """Bytes of the points."""
        return self.xyz.nbytes + self.features.nbytes

    @property
    def history_nbytes(self) -> int:
        """Bytes of past latents, and of past frames' sets with the tuples in them (but not the tuples' numbers)."""
        sets = sum(sys.getsizeof(seen) + sum(map(sys.getsizeof, seen)) for seen in self.seen)
        return sum(latent.nbytes for latent in self.latents) + sets

    def write(self, latents: Tensor, depth: Tensor, cameras: Cameras) -> None:
        """Add every cell of latents (T, C, h, w) that has depth (T, H, W), at T cameras over (H, W)."""
        points = unproject(depth, latents, cameras)
        valid = points.valid.chunk(len(latents))
        new = [xyz[known] for xyz, known in zip(points.xyz.chunk(len(latents)), valid, strict=True)]
        self.xyz = torch.cat([self.xyz, *new])
        self.features = torch.cat([self.features, points.features[points.valid].float()])
        self.latents += latents.unbind()
        self.seen += map(python_sets.voxels, new)

    def read(self, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """Features (V, C, h, w) and mask (V, h, w) that V cameras over (h, w) see."""
        return argsort.read(self.xyz, self.features, cameras)

    def in_view(self, cameras: Cameras) -> Tensor:
        """(M, 3), the points inside any of the views."""
        return self.xyz[cameras.project(self.xyz)[2].any(0)]

    def retrieve(self, cameras: Cameras, *, k: int = 4, threshold: float = 0.1) -> list[int]:
        """At most ``k`` past frames that saw most of what is inside the views, the best first."""
        shares = python_sets.shares(python_sets.voxels(self.in_view(cameras)), self.seen)
        best = sorted(range(len(shares)), key=lambda t: -shares[t])[:k]
        return [t for t in best if shares[t] >= threshold]
