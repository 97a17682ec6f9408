# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A small memory that can be computed by hand."""

from __future__ import annotations

import torch

from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import DctCodec
from mirage_kernels import Cameras

CODEC = DctCodec(block=8, temporal_stride=1)
CAMERA = Cameras(torch.tensor([[48.0, 0, 24], [0, 48, 16], [0, 0, 1]]), torch.eye(4), (32, 48))
SHIFT = 2 / 3  # two cells


def wall_memory() -> LatentSpatialMemory:
    """A red wall of 4 x 6 cells at 2 m, of 1/3 m each, and 4 x 2 green cells that a camera farther right has added."""
    memory = LatentSpatialMemory(CODEC.channels, codec=CODEC.name)
    for number, color in enumerate(([1.0, 0, 0], [0, 1.0, 0])):
        image = torch.tensor(color)[None, :, None, None, None].expand(1, 3, 1, 32, 48)
        camera = CAMERA.translate((SHIFT * number, 0, 0))
        memory.write(CODEC.encode(image)[0], camera, torch.full((1, 32, 48), 2.0), stamps=[10 * number])
    assert torch.unique(memory.cache.stamp, return_counts=True)[1].tolist() == [24, 8]
    return memory
