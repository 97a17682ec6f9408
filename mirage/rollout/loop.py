# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The chunk loop: read the memory, generate, write back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..depth import DepthEstimator
from ..filters import Filters
from ..memory import LatentSpatialMemory, MemoryView
from .protocols import ChunkModel, Codec
from .write_back import MemoryWriter, WriteResult

CHUNK = 33  # frames: 9 latents of Wan2.2, the first of which a later chunk shares with the one before
PRECEDING = 2  # latents handed to the generator from before the chunk
REFERENCES = 4  # and from any time before, that saw the same places

Source = Literal["latent", "frame"]


class Chunk(NamedTuple):
    """The new part of a video: F frames from number ``start``, and the T latents that stand for some of them.

    Attributes:
        start: number of the first frame.
        frames: (3, F, H, W), 0 to 1; F = 0 where nothing was decoded.
        latents: (C, T, h, w).
        view: what the memory showed before the chunk was generated, to the cameras of all its latents: in a later chunk
            those T and, before them, the latent it shares with the chunk before.
        cameras: of its frames, over (H, W).
        write_back: what became of each latent's frame.
        seconds: time spent reading, retrieving, generating, decoding and writing.
    """

    start: int
    frames: Tensor
    latents: Tensor
    view: MemoryView
    cameras: Cameras
    write_back: list[WriteResult]
    seconds: dict[str, float]

    @property
    def written(self) -> list[int]:
        """Points that each latent added to the memory."""
        return [one.added for one in self.write_back]


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


class RolloutSession:
    """A walk that is steered while it goes: every step takes the cameras of the next frames and makes them.

    The picture is written to the memory first. Every chunk is generated from what the memory shows to its cameras, and
    written back before the next one is read.

    Args:
        image: (3, H, W), 0 to 1; H and W multiples of the codec's stride, and of the generator's patch of cells.
        depth: (H, W) float32 of the image, world units; None where the memory knows the place: then the picture only
            fills what the memory does not show.
        camera: the image's, over (H, W).
        memory: is read and written.
        codec, generator: see :mod:`mirage.rollout.protocols` and :mod:`mirage.rollout.protocols`.
        prompt, rng: handed to the generator; by default no words, and a seed of 0.
        stamp: of the first frame in the memory; later ones count on from it. By default they follow what it holds.
        boundary: what a chunk begins with: ``"latent"``, the last latent of the one before (as in the released model),
            or ``"frame"``, its last frame encoded anew (as in the paper).
        references: what the history remembers, and generators are handed as references: ``"latent"`` of a chunk, or
            ``"frame"``, the frames they stand for, encoded one by one.
        decode: False leaves chunks without frames.
        estimator, filters: of what is written; see :class:`mirage.rollout.write_back.MemoryWriter`. Both need frames.
        exclude: (H, W) bool of the image, True where nothing may be remembered.
    """

    def __init__(
        self,
        image: Tensor,
        depth: Tensor | None,
        camera: Cameras,
        *,
        memory: LatentSpatialMemory,
        codec: Codec,
        generator: ChunkModel,
        prompt: str = "",
        rng: torch.Generator | None = None,
        stamp: int | None = None,
        boundary: Source = "latent",
        references: Source = "latent",
        decode: bool = True,
        estimator: DepthEstimator | None = None,
        filters: Filters | None = None,
        exclude: Tensor | None = None,
    ) -> None:
        _check_start(image, depth, exclude, camera, memory, codec, generator, estimator)
        for name, source in (("boundary", boundary), ("references", references)):
            if source not in ("latent", "frame"):
                raise ValueError(f"{name}: expected 'latent' or 'frame', got {source!r}")
            if source == "frame" and not decode:
                raise ValueError(f"decode: expected True with {name}='frame', got False")
        if not decode and (estimator is not None or filters is not None):
            raise ValueError("decode: expected True with an estimator or filters, got False")
        self.memory, self.codec, self.generator, self.prompt = memory, codec, generator, prompt
        self.rng = torch.Generator().manual_seed(0) if rng is None else rng
        if stamp is None:
            stamp = int(memory.history.stamps.max()) + codec.temporal_stride if len(memory.history) else 0
        self.boundary, self.references, self.decode, self.stamp = boundary, references, decode, stamp
        # the last latents made, and what the memory showed when they were
        self._history = codec.encode(image[None, :, None])[0].to(memory.cache.xyz.device)  # (C, T, h, w)
        self._view = self._history[:, :0]
        self._mask = self._history[0, :0].bool()
        start, out = (None if part is None else part[None].to(self._history.device) for part in (depth, exclude))
        picture = image[:, None].to(self._history.device)
        self._writer = MemoryWriter(memory, depth=estimator, filters=filters)
        self.camera, self.frame, self.chunks = camera.to(self._history.device), 0, 0
        self._written = self._writer.write(
            self._history, picture, self.camera, depth=start, exclude=out, stamps=[stamp]
        )

    def step(self, cameras: Cameras, prompt: str | None = None) -> Chunk:
        """Make the frames that follow.

        Args:
            cameras: of these frames, over (H, W): a multiple of the codec's temporal stride. The image's own frame is
                not among them; the first chunk begins with it all the same.
            prompt: from now on.

        Returns:
            The chunk.
        """
        stride = self.codec.temporal_stride
        if cameras.size != self.camera.size:
            expected = f"size (H={self.camera.size[0]}, W={self.camera.size[1]})"
            raise ValueError(f"cameras: expected {expected}, got {cameras.size}")
        if len(cameras) % stride or (self.chunks and not len(cameras)):
            raise ValueError(f"cameras: expected a multiple of {stride} frames, got {len(cameras)}")
        self.prompt = self.prompt if prompt is None else prompt
        last, cameras = self.camera, cameras.to(self.camera.device)
        new = cameras[stride - 1 :: stride]  # those of the new latents
        clock = _Clock(self._history.device)
        view, latents = self._generate(Cameras.cat([last, new]), clock)
        frames = self.codec.decode(latents[None])[0] if self.decode else latents.new_zeros(3, 0, *cameras.size)
        clock.lap("decode")
        stamps = [self.stamp + self.frame + stride * (k + 1) for k in range(len(new))]
        remembered = self._encode_single(frames[:, stride::stride]) if self.references == "frame" else None
        shown = frames[:, stride::stride].to(latents.device)
        written = self._writer.write(latents[:, 1:], shown, new, stamps=stamps, remembered=remembered)
        self._remember(latents, view, frames)
        clock.lap("write")

        old = 1 if self.chunks else 0  # the shared latent and its frame were part of the chunk before
        start, all_cameras = self.frame + old, cameras if old else Cameras.cat([last, cameras])
        written = written if old else self._written + written
        self.frame, self.chunks = self.frame + len(cameras), self.chunks + 1
        self.camera = all_cameras[-1:]
        return Chunk(start, frames[:, old:], latents[:, old:], view, all_cameras, written, clock.seconds)

    def _generate(self, cameras: Cameras, clock: _Clock) -> tuple[MemoryView, Tensor]:
        """What the memory shows to the cameras of the chunk's latents, and the latents (C, T, h, w)."""
        stride, grid = self.codec.temporal_stride, (self._history.shape[-2], self._history.shape[-1])
        views = cameras.rescale(grid)
        view = self.memory.read(views)
        clock.lap("read")
        # those the generator is handed anyway are no references
        recent = self.stamp + self.frame - stride * PRECEDING
        references = self.memory.retrieve(views, k=REFERENCES, before=recent)
        clock.lap("retrieve")
        latents = self.generator(
            view.latents,
            view.mask,
            first=self._history[:, -1],
            preceding=self._history[:, -1 - PRECEDING : -1],
            preceding_view=self._view[:, -1 - PRECEDING : -1],
            preceding_mask=self._mask[-1 - PRECEDING : -1],
            references=references.latents,
            prompt=self.prompt,
            rng=self.rng,
        ).to(self._history)
        clock.lap("generate")
        return view, latents

    def _remember(self, latents: Tensor, view: MemoryView, frames: Tensor) -> None:
        """Keep what the next chunk begins with and follows."""
        keep, old = 1 + PRECEDING, 1 if self.chunks else 0
        self._history = torch.cat([self._history, latents[:, 1:]], 1)[:, -keep:]
        self._view = torch.cat([self._view, view.latents[:, old:].to(self._view)], 1)[:, -keep:]
        self._mask = torch.cat([self._mask, view.mask[old:]])[-keep:]
        if self.boundary == "frame":
            self._history[:, -1:] = self._encode_single(frames[:, -1:])

    def _encode_single(self, frames: Tensor) -> Tensor:
        """Frames (3, T, H, W), each encoded as a video of its own, (C, T, h, w)."""
        if not frames.shape[1]:
            return self._history[:, :0]
        return self.codec.encode(frames.movedim(1, 0)[:, :, None])[:, :, 0].movedim(0, 1).to(self._history)


def _check_start(
    image: Tensor,
    depth: Tensor | None,
    exclude: Tensor | None,
    camera: Cameras,
    memory: LatentSpatialMemory,
    codec: Codec,
    generator: ChunkModel,
    estimator: DepthEstimator | None,
) -> None:
    """Raise where a walk cannot start so."""
    step = codec.spatial_stride * generator.patch
    if image.dim() != 3 or image.shape[0] != 3 or any(side % step or not side for side in image.shape[1:]):
        raise ValueError(f"image: expected (3, H, W) with H and W in steps of {step}, got {tuple(image.shape)}")
    size = (image.shape[1], image.shape[2])
    if depth is None and len(memory) == 0 and estimator is None:
        raise ValueError(f"depth: expected (H={size[0]}, W={size[1]}), because the memory is empty, got none")
    if depth is not None and depth.shape != size:
        raise ValueError(f"depth: expected (H={size[0]}, W={size[1]}), got {tuple(depth.shape)}")
    if exclude is not None and (exclude.shape != size or exclude.dtype != torch.bool):
        expected = f"bool (H={size[0]}, W={size[1]})"
        raise ValueError(f"exclude: expected {expected}, got {exclude.dtype} {tuple(exclude.shape)}")
    if camera.size != size:
        raise ValueError(f"cameras: expected size (H={size[0]}, W={size[1]}), got {camera.size}")
    if len(camera) != 1:
        raise ValueError(f"camera: expected one, the image's, got {len(camera)}")
    if memory.channels != codec.channels:
        raise ValueError(f"memory: expected {codec.channels} channels ({codec.name}), got {memory.channels}")
    if memory.codec not in ("", codec.name):
        raise ValueError(f"memory: expected latents of {codec.name!r}, got those of {memory.codec!r}")


def rollout(
    image: Tensor,
    depth: Tensor | None,
    cameras: Cameras,
    *,
    memory: LatentSpatialMemory,
    codec: Codec,
    generator: ChunkModel,
    chunk: int = CHUNK,
    **options: Any,
) -> Iterator[Chunk]:
    """Walk along a path of cameras, chunk by chunk, starting from one picture and its depth.

    Args:
        image, depth, memory, codec, generator, options: see :class:`RolloutSession`.
        cameras: of every frame, over (H, W); the first is the image's. Their number is 1 + stride * N.
        chunk: frames of a chunk.

    Yields:
        :class:`Chunk`, as each is ready; the first one begins with the image's own frame.
    """
    stride = codec.temporal_stride
    plan = plan_chunks(len(cameras), chunk, stride)
    walk = RolloutSession(image, depth, cameras[:1], memory=memory, codec=codec, generator=generator, **options)
    for part in plan:
        yield walk.step(cameras[1 + stride * part.start : 1 + stride * (part.stop - 1)])


class _Clock:
    """Seconds between laps, once the device has done what it was given."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
