# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The memory in someone else's loop: three calls, and nothing of the loop changes.

The model here is a stand-in: its latents are random. What is marked with (1), (2) and (3) is all that a loop needs.

python examples/memory_in_a_loop.py
"""

from __future__ import annotations

import torch
from torch import Tensor

from mirage.memory import LatentSpatialMemory
from mirage_kernels import Cameras

FRAMES, STRIDE, SIZE = 33, 4, (352, 640)  # of a chunk, of the codec in time, and of an image
GRID = (SIZE[0] // 16, SIZE[1] // 16)


def look_around(chunk: int) -> Cameras:
    """Cameras of the chunk's latents: the path turns to the right, and in the second chunk back."""
    angle = torch.linspace(0, 0.6, FRAMES)[::STRIDE]
    angle = angle if chunk % 2 == 0 else angle.flip(0)
    eye = torch.zeros(len(angle), 3)
    target = torch.stack([angle.sin(), torch.zeros_like(angle), angle.cos()], 1)
    return Cameras.look_at(eye, target, [320.0, 320.0, 320.0, 176.0], SIZE)


def their_model(known: Tensor, mask: Tensor) -> Tensor:
    """Stands for a diffusion model that is conditioned on what the memory shows."""
    return torch.where(mask, known, torch.randn_like(known))


def main() -> None:
    torch.manual_seed(0)
    memory = LatentSpatialMemory(channels=48)  # (1)
    for chunk in range(3):
        cameras = look_around(chunk)
        view = memory.read(cameras.rescale(GRID))  # (2) latents (C, T, h, w), mask, depth
        latents = their_model(view.latents, view.mask)
        depth = torch.full((len(cameras), *SIZE), 2.0)  # of a depth network
        added = memory.write(latents, cameras, depth, stamps=range(chunk * FRAMES, (chunk + 1) * FRAMES, STRIDE))  # (3)
        known = view.mask.float().mean()
        print(f"chunk {chunk}: {known:.0%} known before, {sum(added)} points added, {len(memory)} kept")


if __name__ == "__main__":
    main()
