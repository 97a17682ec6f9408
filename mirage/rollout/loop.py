# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The chunk loop: read the memory, generate latents, decode them, write them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from ..depth import DepthEstimator
from ..filters import Filters
from ..memory import LatentSpatialMemory, MemoryView
from .checks import check_conditions, check_maps, check_sources, check_start
from .chunk import Chunk
from .clock import Clock
from .plan import CHUNK, plan_chunks
from .protocols import ChunkModel, Codec
from .reading import find_reader
from .session_state import SessionState, pack_observations, unpack_observations
from .write_back import MemoryWriter, WriteResult, choose_written

PRECEDING = 2  # latents before the chunk that the model is conditioned on
REFERENCES = 4  # retrieved latents that the model is conditioned on

Source = Literal["latent", "frame"]


class RolloutSession:
    """An interactive rollout: each call of :meth:`step` takes the cameras of the next frames and generates the frames.

    The start image is written to the memory first. Each step renders the memory to the cameras of the chunk, generates
    the chunk from the result, and writes its latents to the memory.

    Args:
        image: (3, H, W), values 0 to 1. H and W must be multiples of ``codec.spatial_stride * model.patch``.
        depth: (H, W) float32 z-depth of the image in world units; not finite or not positive where invalid. None if the
            memory has content already: the image is then written only where the memory renders nothing. Pixels without
            depth are written at the depth of the background around them.
        camera: camera of the image over (H, W).
        memory: the memory to read and write.
        codec: converts between frames and latents.
        model: generates latents.
        prompt: text for the model.
        generator: random number generator for the model; by default, a CPU generator with seed 0.
        stamp: frame number that is stored in the memory for the start image; those of later frames continue from it. By
            default, ``codec.temporal_stride`` after the largest stamp in the memory's history, 0 without a history.
        boundary: first latent of a chunk: ``"latent"`` takes the last latent of the chunk before (as the released
            model does), ``"frame"`` encodes the last frame again (as the paper describes).
        references: latents that are stored in the memory's history and passed to the model as references:
            ``"latent"`` stores the latents of the chunk, ``"frame"`` encodes each decoded frame separately.
        num_references: largest number R of retrieved latents that the model is conditioned on; 0 turns retrieval off.
        num_preceding: largest number P of latents before the chunk that the model is conditioned on.
        reference_threshold: minimum overlap of a retrieved latent's view with the chunk's, 0 to 1.
        decode: whether to decode frames. False is not possible with an estimator, filters, or ``"frame"``.
        estimator: estimates the depth of generated frames. By default, the depth that the memory renders is used.
        filters: decide what is written; see :class:`mirage.filters.Filters`.
        exclude: (H, W) bool, True where the image must not be written.
        state: go on with the session that returned it (:meth:`state`), with the memory as it was then. The image is not
            written again.
        on_part: called with the name of each part of a step (see :attr:`Chunk.seconds`) when it begins.
        synchronize: whether each part of a step waits for the device at its end. Without it, :attr:`Chunk.seconds` are
            those in which the parts were started.

    Attributes:
        camera: camera of the last frame.
        frame: number of the last frame.
        chunks: number of chunks generated.
        prompt: current text for the model.

    Raises:
        TypeError: ``generator`` is not a :class:`torch.Generator`.
        ValueError: arguments do not match.

    Example:
        >>> import torch
        >>> from mirage import DctCodec, FillModel, LatentSpatialMemory, RolloutSession
        >>> from mirage.cameras import CameraController
        >>> from mirage_kernels import Cameras
        >>> camera = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> codec, model = DctCodec(block=16), FillModel()
        >>> session = RolloutSession(
        ...     torch.rand(3, 96, 128), torch.full((96, 128), 2.0), camera,
        ...     memory=LatentSpatialMemory(codec.channels, codec=codec.name), codec=codec, model=model,
        ... )
        >>> controller = CameraController(camera)
        >>> session.step(controller.go("w*8")).frames.shape  # the start frame and 8 more
        torch.Size([3, 9, 96, 128])
        >>> session.step(controller.go("l*4")).frames.shape
        torch.Size([3, 4, 96, 128])
    """

    def __init__(
        self,
        image: Tensor,
        depth: Tensor | None,
        camera: Cameras,
        *,
        memory: LatentSpatialMemory,
        codec: Codec,
        model: ChunkModel,
        prompt: str = "",
        generator: torch.Generator | None = None,
        stamp: int | None = None,
        boundary: Source = "latent",
        references: Source = "latent",
        num_references: int = REFERENCES,
        num_preceding: int = PRECEDING,
        reference_threshold: float = 0.1,
        decode: bool = True,
        estimator: DepthEstimator | None = None,
        filters: Filters | None = None,
        exclude: Tensor | None = None,
        state: SessionState | None = None,
        on_part: Callable[[str], None] | None = None,
        synchronize: bool = True,
    ) -> None:
        check_start(image, depth, exclude, camera, memory, codec, model, estimator)
        if generator is not None and not isinstance(generator, torch.Generator):
            raise TypeError(f"generator: expected a torch.Generator, got {type(generator).__name__}")
        check_sources(boundary, references, decode, needs_frames=estimator is not None or filters is not None)
        check_conditions(num_references, num_preceding, reference_threshold)
        self._num_references, self._num_preceding, self._threshold = num_references, num_preceding, reference_threshold
        self.memory, self.codec, self.model, self.prompt = memory, codec, model, prompt
        self.generator = torch.Generator(device="cpu").manual_seed(0) if generator is None else generator
        if stamp is None:
            stamp = int(memory.history.stamps.max()) + codec.temporal_stride if len(memory.history) else 0
        stamp = check.integer("stamp", stamp, -(1 << 63))
        self.boundary, self.references, self.decode, self.stamp = boundary, references, decode, stamp
        self._writer = MemoryWriter(memory, depth=estimator, filters=filters)
        self._on_part, self._synchronize = on_part, synchronize
        self.camera, self.frame, self.chunks = camera.to(memory.device), 0, 0
        self._written: list[WriteResult] = []
        self._is_done = True  # False during a step
        if state is not None:
            self._restore(state)
            return
        # the last latents, and what the memory rendered when they were generated
        self._history = codec.encode(image[None, :, None])[0].to(memory.device)  # (C, T, h, w)
        self._view = self._history[:, :0]
        self._mask = self._history[0, :0].bool()
        self._written = self._writer.write(
            self._history,
            image[:, None].to(memory.device),
            self.camera,
            depth=None if depth is None else depth[None].to(memory.device),
            exclude=None if exclude is None else exclude[None].to(memory.device),
            stamps=[stamp],
            fill_depth=True,
        )

    def state(self) -> SessionState:
        """Return what the next step needs besides the memory, the codec and the model.

        Returns:
            The state; its tensors are not changed by later steps. Pass it as ``state`` to go on, with the memory as it
            is now.

        Raises:
            ValueError: no step was done yet.
        """
        if not self.chunks:
            raise ValueError("state: expected at least one step before, got none")
        tensors = {
            "history": self._history,
            "view": self._view,
            "mask": self._mask,
            "generator": self.generator.get_state(),
            **self.camera.matrices(),
        }
        values = {"frame": self.frame, "chunks": self.chunks, "stamp": self.stamp, "prompt": self.prompt}
        return SessionState(tensors | pack_observations(self._writer.past), values)

    def _restore(self, state: SessionState) -> None:
        tensors, device = state.tensors, self.memory.device
        self._history, self._view, self._mask = (tensors[name].to(device) for name in ("history", "view", "mask"))
        self.generator.set_state(tensors["generator"].cpu())
        self.camera = Cameras.from_tensors({**tensors, "size": self.camera.size}).to(device)
        self.frame, self.chunks, self.stamp, self.prompt = (
            state.values[name] for name in ("frame", "chunks", "stamp", "prompt")
        )
        self._writer.past.extend(unpack_observations({name: t.to(device) for name, t in tensors.items()}))

    def step(
        self,
        cameras: Cameras,
        prompt: str | None = None,
        *,
        depth: Tensor | None = None,
        exclude: Tensor | None = None,
    ) -> Chunk:
        """Generate the next frames. If this fails or is interrupted, the session and its memory are as before.

        Args:
            cameras: cameras of the next frames over (H, W); their number must be a multiple of the codec's temporal
                stride. The start frame is not among them, but the first chunk contains it. The first call may pass no
                cameras, which gives the start frame alone.
            prompt: text for the model from now on; None keeps the current one.
            depth: (T, H, W) float32 z-depth in world units of the frames of the new latents (one in ``temporal_stride``
                of ``cameras``), where it is known: it is neither estimated nor aligned.
            exclude: (T, H, W) bool of the same frames, True where they must not be written.

        Returns:
            The chunk.

        Raises:
            ValueError: the size or number of cameras, ``depth`` or ``exclude`` does not match.
        """
        stride = self.codec.temporal_stride
        if cameras.size != self.camera.size:
            expected = f"size (H={self.camera.size[0]}, W={self.camera.size[1]})"
            raise ValueError(f"cameras: expected {expected}, got {cameras.size}")
        if len(cameras) % stride or (self.chunks and not len(cameras)):
            raise ValueError(f"cameras: expected a multiple of {stride} frames, got {len(cameras)}")
        check_maps(depth, exclude, len(cameras) // stride, cameras.size)
        undo = self._undo()
        try:
            return self._step(cameras, self.prompt if prompt is None else prompt, (depth, exclude), undo)
        except BaseException:
            if not self._is_done:
                undo()
            raise

    def _undo(self) -> Callable[[], None]:
        """Return a function that returns this session to its present state, with its random numbers."""
        attributes, random, past = dict(self.__dict__), self.generator.get_state(), list(self._writer.past)

        def undo() -> None:
            self._writer.past.clear()
            self._writer.past.extend(past)
            self.generator.set_state(random)
            self.__dict__.update(attributes)

        return undo

    def _step(
        self, cameras: Cameras, prompt: str, maps: tuple[Tensor | None, Tensor | None], undo: Callable[[], None]
    ) -> Chunk:
        self._is_done, self.prompt, stride = False, prompt, self.codec.temporal_stride
        last, cameras = self.camera, cameras.to(self.camera.device)
        new = cameras[stride - 1 :: stride]  # cameras of the new latents
        clock = Clock(self._history.device, self._on_part, synchronize=self._synchronize)
        clock.start("read")
        latent_cameras = Cameras.cat([last, new]).rescale((self._history.shape[-2], self._history.shape[-1]))
        view = find_reader(self.memory, self.codec)(latent_cameras)
        latents = self._generate(view, latent_cameras, clock)
        clock.start("decode")
        frames = self.codec.decode(latents[None])[0] if self.decode else latents.new_zeros(3, 0, *cameras.size)
        # What follows changes the memory and this session, both or none.
        return self.memory.atomic(lambda: self._write(latents, view, frames, last, cameras, maps, clock), undo)

    def _write(
        self,
        latents: Tensor,
        view: MemoryView,
        frames: Tensor,
        last: Cameras,
        cameras: Cameras,
        maps: tuple[Tensor | None, Tensor | None],
        clock: Clock,
    ) -> Chunk:
        clock.start("write")
        stride = self.codec.temporal_stride
        new = cameras[stride - 1 :: stride]
        stamps = [self.stamp + self.frame + stride * (k + 1) for k in range(len(new))]
        latent_frames = frames[:, stride::stride]
        history = self._encode_frames(latent_frames) if self.references == "frame" else None
        written = self._writer.write(
            latents[:, 1:],
            latent_frames.to(latents.device),
            new,
            depth=None if maps[0] is None else maps[0].to(latents.device),
            exclude=None if maps[1] is None else maps[1].to(latents.device),
            stamps=stamps,
            history_latents=history,
            is_written=choose_written(view.mask[1:], self.frame, stride, self.model),
        )
        self._keep_last(latents, view, frames)
        clock.stop()

        shared = 1 if self.chunks else 0  # the first latent and its frame belong to the chunk before
        start, all_cameras = self.frame + shared, cameras if shared else Cameras.cat([last, cameras])
        written = written if shared else self._written + written
        self.frame, self.chunks = self.frame + len(cameras), self.chunks + 1
        self.camera, self._is_done = all_cameras[-1:], True
        return Chunk(start, frames[:, shared:], latents[:, shared:], view, all_cameras, written, clock.seconds)

    def _generate(self, view: MemoryView, cameras: Cameras, clock: Clock) -> Tensor:
        """Generate the chunk's latents (C, T, h, w) from what the memory rendered for their cameras over (h, w)."""
        # The chunk's first latent and the preceding ones are inputs of the model already.
        clock.start("retrieve")
        preceding = slice(-1 - self._num_preceding, -1)
        recent = self.stamp + self.frame - self.codec.temporal_stride * self._num_preceding
        k, threshold = self._num_references, self._threshold
        references = self.memory.retrieve(cameras, k=k, threshold=threshold, before=recent)
        clock.start("generate")
        return self.model(
            view.latents,
            view.mask,
            first=self._history[:, -1],
            preceding=self._history[:, preceding],
            preceding_view=self._view[:, preceding],
            preceding_mask=self._mask[preceding],
            references=references.latents,
            prompt=self.prompt,
            generator=self.generator,
        ).to(self._history)

    def _keep_last(self, latents: Tensor, view: MemoryView, frames: Tensor) -> None:
        """Keep the last latents and what the memory rendered for them, as inputs of the next chunk."""
        keep, shared = 1 + self._num_preceding, 1 if self.chunks else 0
        # Contiguous, as they are after a restart: a model's results may depend on the layout of its inputs.
        self._history = torch.cat([self._history, latents[:, 1:]], 1)[:, -keep:].contiguous()
        self._view = torch.cat([self._view, view.latents[:, shared:].to(self._view)], 1)[:, -keep:].contiguous()
        self._mask = torch.cat([self._mask, view.mask[shared:]])[-keep:]
        if self.boundary == "frame":
            self._history[:, -1:] = self._encode_frames(frames[:, -1:])

    def _encode_frames(self, frames: Tensor) -> Tensor:
        """Encode each of the frames (3, T, H, W) as a video of one frame, to latents (C, T, h, w)."""
        if not frames.shape[1]:
            return self._history[:, :0]
        return self.codec.encode(frames.movedim(1, 0)[:, :, None])[:, :, 0].movedim(0, 1).to(self._history)


def rollout(
    image: Tensor,
    depth: Tensor | None,
    cameras: Cameras,
    *,
    memory: LatentSpatialMemory,
    codec: Codec,
    model: ChunkModel,
    chunk: int = CHUNK,
    **options: Any,
) -> Iterator[Chunk]:
    """Generate a video along a camera path, chunk by chunk.

    Args:
        image: (3, H, W), values 0 to 1; the first frame.
        depth: (H, W) float32 z-depth of the image in world units, or None.
        cameras: cameras of all frames over (H, W), the image's first. Their number must be
            ``codec.temporal_stride * N + 1``.
        memory: the memory to read and write.
        codec: converts between frames and latents.
        model: generates latents.
        chunk: maximum frames per chunk, ``codec.temporal_stride * N + 1``.
        options: further arguments of :class:`RolloutSession`.

    Yields:
        Each :class:`Chunk` when it is ready. The first one begins with the image's frame.

    Raises:
        TypeError, ValueError: arguments do not match; raised when the first chunk is requested.

    Example:
        >>> import torch
        >>> from mirage import DctCodec, FillModel, LatentSpatialMemory
        >>> from mirage.cameras import out_and_back, pan
        >>> from mirage.rollout import rollout
        >>> from mirage_kernels import Cameras
        >>> start = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> image, depth = torch.rand(3, 96, 128), torch.full((96, 128), 2.0)
        >>> codec = DctCodec(block=16)
        >>> memory = LatentSpatialMemory(codec.channels, codec=codec.name)
        >>> path = pan(start, out_and_back(17), degrees=30)
        >>> for chunk in rollout(image, depth, path, memory=memory, codec=codec, model=FillModel(), chunk=9):
        ...     print(chunk.start, chunk.frames.shape, chunk.written)
        0 torch.Size([3, 9, 96, 128]) [48, 6, 6]
        9 torch.Size([3, 8, 96, 128]) [0, 0]
    """
    stride = codec.temporal_stride
    plan = plan_chunks(len(cameras), chunk, stride)
    session = RolloutSession(image, depth, cameras[:1], memory=memory, codec=codec, model=model, **options)
    for part in plan:
        yield session.step(cameras[1 + stride * part.start : 1 + stride * (part.stop - 1)])
