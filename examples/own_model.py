# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A codec and a chunk model of your own in a rollout with memory; the page docs/own_model.md explains both.

python examples/own_model.py turn.mp4
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from mirage.cameras import out_and_back, pan
from mirage.io.video import VideoWriter
from mirage.memory import LatentSpatialMemory
from mirage.rollout.loop import rollout
from mirage_kernels import Cameras


class ShuffleCodec:
    """Encodes every fourth frame without loss: a latent cell holds its 4x4 pixels."""

    name, channels, spatial_stride, temporal_stride = "shuffle-4", 48, 4, 4

    def encode(self, frames: Tensor) -> Tensor:  # (B, 3, 4 (T - 1) + 1, H, W) -> (B, 48, T, H / 4, W / 4)
        every_fourth = frames[:, :, ::4].transpose(1, 2)
        return pixel_unshuffle(every_fourth, 4).transpose(1, 2)

    def decode(self, latents: Tensor) -> Tensor:  # (B, 48, T, h, w) -> (B, 3, 4 (T - 1) + 1, 4 h, 4 w)
        frames = pixel_shuffle(latents.transpose(1, 2), 4).transpose(1, 2)
        return frames.repeat_interleave(4, dim=2)[:, :, 3:]


class GrayModel:
    """Fills what the memory does not know with gray. Replace it with your diffusion model."""

    patch = 1  # h and w must be multiples of this number

    def __call__(self, view: Tensor, mask: Tensor, *, first: Tensor, **_: Any) -> Tensor:  # and other conditions
        latents = torch.where(mask, view, 0.5)
        return torch.cat([first[:, None], latents[:, 1:]], dim=1)  # keep the first latent


def scene(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """An image (3, H, W) of a checkered wall, and its depth (H, W)."""
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    checker = ((rows // 12 + columns // 12) % 2).float()
    image = torch.stack([0.2 + 0.6 * checker, columns / size[1], rows / size[0]])
    return image, torch.full(size, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Turn to the right and back, with a codec and a model of your own.")
    parser.add_argument("out", type=Path, nargs="?", default=Path("turn.mp4"), help="the video to write")
    out = parser.parse_args().out
    size = (96, 160)
    image, depth = scene(size)
    start = Cameras([120.0, 120.0, 80.0, 48.0], torch.eye(4), size)
    cameras = pan(start, out_and_back(17), degrees=25)
    memory, codec = LatentSpatialMemory(channels=48, codec=ShuffleCodec.name), ShuffleCodec()

    chunks = list(rollout(image, depth, cameras, memory=memory, codec=codec, model=GrayModel(), chunk=9))
    with VideoWriter(out, fps=8) as video:
        for chunk in chunks:
            for frame in chunk.frames.unbind(1):
                video.write(frame)
    frames = sum(chunk.frames.shape[1] for chunk in chunks)
    error = (chunks[-1].frames[:, -1] - image).abs().mean()
    print(f"{out}: {len(chunks)} chunks, {frames} frames; back at the start, pixels are off by {error:.4f} on average")


if __name__ == "__main__":
    main()
