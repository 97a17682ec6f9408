# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The chunk loop: read the memory, generate, write back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

from .codecs import Codec
from .generators import Generator
from .memory import LatentSpatialMemory, MemoryView

CHUNK = 33  # frames: 9 latents of Wan2.2, the first of which a later chunk shares with the one before
PRECEDING = 2  # latents handed to the generator from before the chunk
REFERENCES = 4  # and from any time before, that saw the same places


class Chunk(NamedTuple):
    """The new part of a video: F frames from number ``start``, and the T latents that stand for some of them.

    Attributes:
        start: number of the first frame.
        frames: (3, F, H, W), 0 to 1.
        latents: (C, T, h, w).
        view: what the memory showed before the chunk was generated, to the cameras of all its latents: in a later chunk
            those T and, before them, the latent it shares with the chunk before.
        written: points that each latent added to the memory.
        seconds: time spent reading, generating, decoding and writing.
    """

    start: int
    frames: Tensor
    latents: Tensor
    view: MemoryView
    written: list[int]
    seconds: dict[str, float]


def plan_chunks(frames: int, chunk: int = CHUNK, stride: int = 4) -> list[range]:
    """Latents of every chunk. Each chunk after the first begins with the last latent of the one before.

    Args:
        frames: of the whole video, ``stride * N + 1``.
        chunk: frames of a chunk at most, likewise.
        stride: frames from one latent to the next.
    """
    for name, value in (("frames", frames), ("chunk", chunk)):
        if value < 1 or (value - 1) % stride:
            raise ValueError(f"{name}: expected {stride} N + 1, got {value}")
    if chunk < stride + 1:
        raise ValueError(f"chunk: expected at least {stride + 1} frames, got {chunk}")
    last, step = (frames - 1) // stride, (chunk - 1) // stride
    return [range(a, min(a + step, last) + 1) for a in range(0, max(last, 1), step)]


def rollout(
    image: Tensor,
    depth: Tensor | None,
    cameras: Cameras,
    *,
    memory: LatentSpatialMemory,
    codec: Codec,
    generator: Generator,
    prompt: str = "",
    seed: int = 0,
    chunk: int = CHUNK,
    stamp: int = 0,
) -> Iterator[Chunk]:
    """Walk along a path of cameras, chunk by chunk, starting from one picture and its depth.

    The picture is written to the memory first. Every chunk is generated from what the memory shows to its cameras, and
    written back before the next one is read.

    Args:
        image: (3, H, W), 0 to 1; H and W multiples of the codec's stride.
        depth: (H, W) float32 of the image, world units; None where the memory knows the place: then the picture only
            fills what the memory does not show.
        cameras: of every frame, over (H, W); the first is the image's. Their number is 1 + stride * N.
        memory: is read and written.
        codec, generator: see :mod:`mirage.codecs` and :mod:`mirage.generators`.
        prompt, seed: handed to the generator.
        chunk: frames of a chunk.
        stamp: of the first frame in the memory; later ones count on from it.

    Yields:
        :class:`Chunk`, as each is ready; the first one begins with the image's own frame.
    """
    size = (image.shape[-2], image.shape[-1])
    if image.dim() != 3 or any(side % codec.spatial_stride for side in size):
        raise ValueError(f"image: expected (3, H, W) in steps of {codec.spatial_stride}, got {tuple(image.shape)}")
    if depth is None and len(memory) == 0:
        raise ValueError(f"depth: expected (H={size[0]}, W={size[1]}), because the memory is empty, got none")
    if depth is not None and depth.shape != size:
        raise ValueError(f"depth: expected (H={size[0]}, W={size[1]}), got {tuple(depth.shape)}")
    if cameras.size != size:
        raise ValueError(f"cameras: expected size (H={size[0]}, W={size[1]}), got {cameras.size}")
    stride = codec.temporal_stride
    plan = plan_chunks(len(cameras), chunk, stride)
    grid = (size[0] // codec.spatial_stride, size[1] // codec.spatial_stride)
    latent_cameras = cameras[::stride].rescale(grid)
    rng = torch.Generator().manual_seed(seed)

    history = codec.encode(image[None, :, None])[0]  # (C, T, h, w) so far
    first_written = memory.write(history, cameras[:1], None if depth is None else depth[None], stamps=[stamp])
    for number, part in enumerate(plan):
        clock = _Clock()
        views = latent_cameras[part.start : part.stop]
        view = memory.read(views)
        clock.lap("read")
        # those the generator is handed anyway are no references
        references = memory.retrieve(views, k=REFERENCES, before=stamp + stride * (part.start - PRECEDING))
        clock.lap("retrieve")
        latents = generator(
            view.latents,
            view.mask,
            first=history[:, -1],
            preceding=history[:, -1 - PRECEDING : -1],
            references=references.latents,
            prompt=prompt,
            rng=rng,
        )
        clock.lap("generate")
        frames = codec.decode(latents[None])[0]
        clock.lap("decode")
        frames_of = [stride * k for k in part[1:]]
        written = memory.write(latents[:, 1:], cameras[frames_of], stamps=[stamp + frame for frame in frames_of])
        clock.lap("write")
        history = torch.cat([history, latents[:, 1:]], 1)[:, -1 - PRECEDING :]
        old = 0 if number == 0 else 1  # the shared latent and its frame were part of the chunk before
        start, written = (0, first_written + written) if number == 0 else (frames_of[0] - stride + 1, written)
        yield Chunk(start, frames[:, old:], latents[:, old:], view, written, clock.seconds)


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
