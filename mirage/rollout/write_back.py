# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What of new frames is remembered: their depth is found and brought to the memory's scale, filters take out what must
not be, stale points go, and the rest is written."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..depth import Alignment, DepthEstimator, align
from ..filters import DepthHistory, Filters, FrameObservation, Observation, Verdict
from ..memory import LatentSpatialMemory, MemoryView

AROUND = 8  # latent frames that one is held against on either side: a chunk's worth


class WriteResult(NamedTuple):
    """What became of a frame.

    Attributes:
        added: points that it added to the memory.
        carved: points that it proved to be gone.
        verdict: why cells were left out; None without filters.
        alignment: of its depth to the memory's; None where that was given, or the memory's own. One that is not
            accepted says why the frame was not written.
    """

    added: int
    carved: int = 0
    verdict: Verdict | None = None
    alignment: Alignment | None = None


class MemoryWriter:
    """Writes new frames to a memory.

    Without depth or an estimator the memory's own depth is taken, holes taking the far side's. An estimate is aligned
    to what the memory shows, frame by frame; a frame whose fit is bad is not written. Only metric depth may begin a
    world.

    Each frame is held against those written with it, earlier and later, and against the last ones before: that tells
    motion.

    Args:
        memory: is read and written.
        depth: estimates the depth of frames; see :mod:`mirage.depth`.
        filters: see :class:`mirage.filters.Filters`.
        carve: drop points that a frame's depth sees through.
        shift: whether alignment fits a shift besides the scale.
    """

    def __init__(
        self,
        memory: LatentSpatialMemory,
        *,
        depth: DepthEstimator | None = None,
        filters: Filters | None = None,
        carve: bool | None = None,
        shift: bool = False,
    ) -> None:
        self.memory, self.depth, self.filters, self.shift = memory, depth, filters, shift
        self.carve = filters is not None if carve is None else carve
        self._past: deque[FrameObservation] = deque(maxlen=AROUND)

    def write(
        self,
        latents: Tensor,
        frames: Tensor,
        cameras: Cameras,
        *,
        depth: Tensor | None = None,
        exclude: Tensor | None = None,
        keep: Tensor | None = None,
        stamps: Sequence[int] | None = None,
        remembered: Tensor | None = None,
    ) -> list[WriteResult]:
        """Write T latent frames one after the other.

        Args:
            latents: (C, T, h, w).
            frames: (3, T, H, W), 0 to 1: those that the latents stand for; T = 0 where nothing was decoded, which
                neither an estimator nor filters can do with.
            cameras: T cameras over (H, W).
            depth: (T, H, W) float32, world units; is not aligned.
            exclude, keep: (T, H, W) bool, the user's; see :class:`mirage.filters.Observation`.
            stamps, remembered: see :meth:`mirage.memory.LatentSpatialMemory.write`.
        """
        count = latents.shape[1]
        estimated = depth is None and self.depth is not None
        if estimated or self.filters is not None:
            expected = (3, count, *cameras.size)
            if frames.shape != expected:
                raise ValueError(f"frames: expected {expected}, got {tuple(frames.shape)}")
        shape = (count, *cameras.size)
        if depth is not None and self.filters is not None and tuple(depth.shape) != shape:
            raise ValueError(f"depth: expected {shape}, got {tuple(depth.shape)}")
        metric = False
        if estimated and count:
            assert self.depth is not None
            depth, _, metric = self.depth(frames, cameras)
        written = []
        for t in range(count):
            here = slice(t, t + 1)
            new = _Frames(latents, frames, cameras, depth, t)
            new = self._align(new, metric) if estimated else new
            notes = {
                "stamps": None if stamps is None else stamps[here],
                "remembered": None if remembered is None else remembered[:, here],
            }
            masks = [None if mask is None else mask[t] for mask in (exclude, keep)]
            written.append(self._write_one(new, masks, notes))
        return written

    def _align(self, new: _Frames, metric: bool) -> _Frames:
        """The frames with depth in the memory's scale, as far as this frame's own fit goes."""
        if len(self.memory) == 0:
            if not metric:
                raise ValueError("depth: expected metric depth to begin a world with, got one of unknown scale")
            return new
        assert new.depth is not None
        view = self.memory.read(new.camera.rescale(new.grid))
        fit = align(new.depth[new.at], new.camera, view, self.memory.cache.xyz, shift=self.shift)
        return new._replace(depth=fit.apply(new.depth) if fit.accepted else None, view=view, alignment=fit)

    def _write_one(self, new: _Frames, masks: list[Tensor | None], notes: dict[str, Any]) -> WriteResult:
        latent, own = new.latents[:, new.at : new.at + 1], None if new.depth is None else new.depth[new.at]
        if new.alignment is not None and not new.alignment.accepted:
            # it is remembered as a frame, but none of its cells are
            nothing = torch.ones(1, *new.grid, dtype=torch.bool, device=latent.device)
            self.memory.write(latent, new.camera, mask=nothing, **notes)
            return WriteResult(0, alignment=new.alignment)
        filters = Filters() if self.filters is None and masks[0] is not None else self.filters
        verdict = None if filters is None else filters(self._observe(new, own, masks))
        carved = self.memory.carve(own, new.camera, new.grid) if self.carve and own is not None else 0
        depth, out = None if own is None else own[None], None if verdict is None else verdict.out[None]
        added = self.memory.write(latent, new.camera, depth, mask=out, **notes)[0]
        if own is not None and self.filters is not None:
            self._past.append(FrameObservation(new.frames[:, new.at], own, new.camera))
        return WriteResult(added, carved, verdict, new.alignment)

    def _observe(self, new: _Frames, own: Tensor | None, masks: list[Tensor | None]) -> Observation:
        history, others = self.memory.history, list(self._past)
        if new.depth is not None:
            later = range(new.at + 1, min(new.at + 1 + AROUND, len(new.cameras)))
            others += [FrameObservation(new.frames[:, k], new.depth[k], new.cameras[k]) for k in later]
        return Observation(
            new.frames[:, new.at],
            new.camera,
            new.grid,
            depth=own,
            view=self.memory.read(new.camera.rescale(new.grid)) if new.view is None else new.view,
            seen=None if history.cameras is None else DepthHistory(history.cameras, history.surface),
            others=tuple(others),
            exclude=masks[0],
            keep=masks[1],
        )


class _Frames(NamedTuple):
    """A chunk's new frames, and the number of the one that is being written."""

    latents: Tensor
    frames: Tensor
    cameras: Cameras
    depth: Tensor | None
    at: int
    view: MemoryView | None = None  # what the memory shows to it, where that was asked already
    alignment: Alignment | None = None

    @property
    def camera(self) -> Cameras:
        return self.cameras[self.at]

    @property
    def grid(self) -> tuple[int, int]:
        return self.latents.shape[-2], self.latents.shape[-1]
