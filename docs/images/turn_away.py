# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The animation of the README: ``python docs/images/turn_away.py``.

The camera turns away from a photograph and back, twice with the embedded codec and hole filling: with the latent
spatial memory, and with the last frame of the chunk before as everything that a chunk knows.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as nnf

from mirage import DctCodec, FillModel, LatentSpatialMemory, RolloutSession
from mirage.cameras import out_and_back, pan
from mirage.data.scenes import Scene, motorcycle
from mirage_kernels import Cameras

FRAMES, CHUNK, DEGREES, BLOCK = 65, 16, -36.0, 8
WIDTH, GAP, BAR = 400, 8, 26


def begin(image: Tensor, depth: Tensor, camera: Cameras) -> RolloutSession:
    codec = DctCodec(BLOCK, temporal_stride=1)
    memory = LatentSpatialMemory(codec.channels, codec=codec.name)
    return RolloutSession(image, depth, camera, memory=memory, codec=codec, model=FillModel())


def with_memory(scene: Scene, cameras: Cameras) -> Tensor:
    session = begin(scene.image, scene.depth, cameras[:1])
    chunks = [session.step(cameras[at + 1 : at + 1 + CHUNK]).frames for at in range(0, FRAMES - 1, CHUNK)]
    return torch.cat(chunks, 1)


def without_memory(scene: Scene, cameras: Cameras) -> Tensor:
    """Generate each chunk with an empty memory, from the last frame of the previous chunk and its valid depth."""
    image, depth, chunks = scene.image, scene.depth, []
    for at in range(0, FRAMES - 1, CHUNK):
        session = begin(image, depth, cameras[at : at + 1])
        frames = session.step(cameras[at + 1 : at + 1 + CHUNK]).frames
        chunks.append(frames if at == 0 else frames[:, 1:])
        image, grid = frames[:, -1], (image.shape[1] // BLOCK, image.shape[2] // BLOCK)
        view = session.memory.read(cameras[at + CHUNK : at + CHUNK + 1].rescale(grid))
        depth = view.depth[0].repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return torch.cat(chunks, 1)


def to_image(frame: Tensor) -> Image.Image:
    values = (frame.clamp(0, 1) * 255).round().to(torch.uint8).movedim(0, -1)
    return Image.fromarray(values.contiguous().numpy())


def join(left: Tensor, right: Tensor, labels: tuple[str, str]) -> list[Image.Image]:
    height = WIDTH * left.shape[2] // left.shape[3]
    font, pages = ImageFont.load_default(16), []
    for frames in zip(left.unbind(1), right.unbind(1), strict=True):
        page = Image.new("RGB", (2 * WIDTH + GAP, height + BAR), "white")
        draw = ImageDraw.Draw(page)
        for column, (frame, label) in enumerate(zip(frames, labels, strict=True)):
            x = column * (WIDTH + GAP)
            draw.text((x + 2, 3), label, fill="black", font=font)
            small = nnf.interpolate(frame[None], (height, WIDTH), mode="bilinear", antialias=True)[0]
            page.paste(to_image(small), (x, BAR))
        pages.append(page)
    return pages


def main() -> None:
    scene = motorcycle().trim(2 * BLOCK)
    cameras = pan(scene.keys[:1], out_and_back(FRAMES), DEGREES)
    remembered, forgotten = with_memory(scene, cameras), without_memory(scene, cameras)
    for name, frames in (("with", remembered), ("without", forgotten)):
        error = (frames[:, -1] - scene.image).square().mean().item()
        print(f"last frame {name} memory against the photograph: {-10 * math.log10(error):.2f} dB")
    pages = join(remembered, forgotten, ("with the memory", "without: only the last frame is carried over"))
    durations = [900, *[70] * (FRAMES - 2), 1800]
    durations[FRAMES // 2] = 700
    path = Path(__file__).with_name("turn_away.webp")
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=durations, loop=0, quality=70, method=6)
    print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
