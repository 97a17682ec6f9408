# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Writing new frames to the memory: depth estimation and alignment, filters, carving."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..depth import Alignment, DepthEstimator, align
from ..filters import DepthHistory, FilterResult, Filters, FrameObservation, Observation
from ..geometry.grids import masked_cells
from ..memory import LatentSpatialMemory, MemoryView
from .protocols import ChunkModel

WRITE_STRIDE = 4  # frames; of latents that are closer, one in so many frames is written
NEIGHBORS = 8  # earlier and later latent frames that filters compare a frame with: the new latents of a chunk


class WriteResult(NamedTuple):
    """The result of writing one frame.

    Attributes:
        added: number of points added to the memory.
        carved: number of points removed, because the frame's depth proves them to be gone.
        filter_result: the cells that were excluded, and why; None without filters.
        alignment: alignment of the estimated depth to the memory; None if depth was not estimated, or was the first of
            a memory. If it is not accepted, the frame was not written, for the reason that it states.
    """

    added: int
    carved: int = 0
    filter_result: FilterResult | None = None
    alignment: Alignment | None = None


class MemoryWriter:
    """Writes new frames to a memory.

    Depth is given, estimated, or else what the memory renders, with holes filled by the background around them. An
    estimate is aligned to the memory frame by frame; frames whose alignment is rejected are not written. The first
    frame of an empty memory needs metric depth.

    To detect motion, filters compare each frame with the frames written together with it and with the last ones written
    before.

    Args:
        memory: the memory to read and write.
        depth: estimates the depth of frames; see :mod:`mirage.depth`.
        filters: decide what is written; None writes everything.
        carve: whether to remove points that a frame's depth proves to be gone; by default, only with filters.
        shift: whether the alignment fits a shift in addition to the scale.

    Attributes:
        past: the last frames written, with depth; only with filters.
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
        self.past: deque[FrameObservation] = deque(maxlen=NEIGHBORS)

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
        history_latents: Tensor | None = None,
        fill_depth: bool = False,
        is_written: Sequence[bool] | None = None,
    ) -> list[WriteResult]:
        """Write T latent frames, one after the other: all of them, or none if that fails or is interrupted.

        Args:
            latents: (C, T, h, w).
            frames: (3, T, H, W), values 0 to 1, the frames of the latents. May be empty (3, 0, H, W) without an
                estimator and filters.
            cameras: T cameras over (H, W).
            depth: (T, H, W) float32 z-depth in world units. It is used instead of an estimate, without alignment.
            exclude: (T, H, W) bool, True where nothing must be written.
            keep: (T, H, W) bool, True where filters are ignored.
            stamps: T frame numbers, see :meth:`mirage.memory.LatentSpatialMemory.write`.
            history_latents: (C, T, h, w), see :meth:`mirage.memory.LatentSpatialMemory.write`.
            fill_depth: whether to write cells without depth as well, at the depth of the background around them; see
                :meth:`mirage.memory.LatentSpatialMemory.write`. Excluded and filtered cells are not written.
            is_written: T values, False for frames to leave out: their depth is not estimated, and they are in neither
                the memory nor its history. By default all frames are written.

        Returns:
            The result for each frame.

        Raises:
            ValueError: shapes do not match, or the memory is empty and the estimate is not metric.
        """
        count = latents.shape[1]
        is_estimated = depth is None and self.depth is not None
        if is_estimated or self.filters is not None:
            expected = (3, count, *cameras.size)
            if frames.shape != expected:
                raise ValueError(f"frames: expected {expected}, got {tuple(frames.shape)}")
        shape = (count, *cameras.size)
        if depth is not None and self.filters is not None and tuple(depth.shape) != shape:
            raise ValueError(f"depth: expected {shape}, got {tuple(depth.shape)}")
        chosen = [t for t in range(count) if is_written is None or is_written[t]]
        results = [WriteResult(0)] * count
        if len(chosen) < count:
            latents, frames, cameras = (
                latents[:, chosen],
                frames[:, chosen] if frames.shape[1] else frames,
                cameras[chosen],
            )
            depth = None if depth is None else depth[chosen]
        is_metric = False
        if is_estimated and chosen:
            assert self.depth is not None
            depth, _, is_metric = self.depth(frames, cameras)

        def write_chosen() -> list[WriteResult]:
            for k, t in enumerate(chosen):
                new = _NewFrame(latents, frames, cameras, depth, k)
                new = self._align(new, is_metric) if is_estimated else new
                options = {
                    "stamps": None if stamps is None else stamps[t : t + 1],
                    "history_latents": None if history_latents is None else history_latents[:, t : t + 1],
                    "fill_depth": fill_depth,
                }
                masks = [None if mask is None else mask[t] for mask in (exclude, keep)]
                results[t] = self._write_one(new, masks, options)
            return results

        past = list(self.past)
        return self.memory.atomic(write_chosen, lambda: self._return_to(past))

    def _return_to(self, past: list[FrameObservation]) -> None:
        self.past.clear()
        self.past.extend(past)

    def _align(self, new: _NewFrame, is_metric: bool) -> _NewFrame:
        """Align the depth of all frames by the fit of this one; without depth if the fit is rejected."""
        if len(self.memory) == 0:
            if not is_metric:
                raise ValueError("depth: expected metric depth for an empty memory, got depth of unknown scale")
            return new
        assert new.depth is not None
        view = self.memory.read(new.camera.rescale(new.grid))
        camera = self.memory.history.to_local(new.camera)
        fit = align(new.depth[new.number], camera, view, self.memory.cache.xyz, shift=self.shift)
        return new._replace(depth=fit.apply(new.depth) if fit.accepted else None, view=view, alignment=fit)

    def _write_one(self, new: _NewFrame, masks: list[Tensor | None], options: dict[str, Any]) -> WriteResult:
        latent = new.latents[:, new.number : new.number + 1]
        depth = None if new.depth is None else new.depth[new.number]
        if new.alignment is not None and not new.alignment.accepted:
            # The frame is added to the history, but no cell of it is written.
            everything = torch.ones(1, *new.grid, dtype=torch.bool, device=latent.device)
            self.memory.write(latent, new.camera, mask=everything, **options)
            return WriteResult(0, alignment=new.alignment)
        has_frames = new.frames.shape[1] > 0
        filters = Filters() if self.filters is None and masks[0] is not None and has_frames else self.filters
        result = None if filters is None else filters(self._observe(new, depth, masks))
        carved = self.memory.carve(depth, new.camera, new.grid) if self.carve and depth is not None else 0
        mask = None if result is None else result.mask[None]
        if result is None and masks[0] is not None:
            mask = masked_cells(masks[0], new.grid)[None]
        added = self.memory.write(latent, new.camera, None if depth is None else depth[None], mask=mask, **options)[0]
        if depth is not None and self.filters is not None:
            self.past.append(FrameObservation(new.frames[:, new.number], depth, new.camera))
        return WriteResult(added, carved, result, new.alignment)

    def _observe(self, new: _NewFrame, depth: Tensor | None, masks: list[Tensor | None]) -> Observation:
        history, others = self.memory.history, list(self.past)
        if new.depth is not None:
            later = range(new.number + 1, min(new.number + 1 + NEIGHBORS, len(new.cameras)))
            others += [FrameObservation(new.frames[:, k], new.depth[k], new.cameras[k]) for k in later]
        return Observation(
            new.frames[:, new.number],
            new.camera,
            new.grid,
            depth=depth,
            view=self.memory.read(new.camera.rescale(new.grid)) if new.view is None else new.view,
            depth_history=None if history.cameras is None else DepthHistory(history.cameras, history.surface),
            others=tuple(others),
            exclude=masks[0],
            keep=masks[1],
        )


def choose_written(mask: Tensor, frame: int, stride: int, model: ChunkModel) -> list[bool]:
    """Choose which new latents are written to the memory.

    Args:
        mask: (T, h, w) bool, where the memory rendered anything when the latents were generated.
        frame: number of the frame before them.
        stride: frames from one latent to the next.
        model: that generated them. If it has ``needs_view``, latents without any valid cell are not written.

    Returns:
        T values, True for one latent in every :data:`WRITE_STRIDE` frames, and for all if they are farther apart.
    """
    numbers = range(frame + stride, frame + stride * len(mask) + 1, stride)
    is_due = [number // WRITE_STRIDE > (number - stride) // WRITE_STRIDE for number in numbers]
    if not getattr(model, "needs_view", False):
        return is_due
    return [due and hit for due, hit in zip(is_due, mask.flatten(1).any(1).tolist(), strict=True)]


class _NewFrame(NamedTuple):
    """A frame that is being written, with the frames of its chunk."""

    latents: Tensor
    frames: Tensor
    cameras: Cameras
    depth: Tensor | None
    number: int
    view: MemoryView | None = None  # the memory rendered from the frame's camera, if that is done already
    alignment: Alignment | None = None

    @property
    def camera(self) -> Cameras:
        return self.cameras[self.number]

    @property
    def grid(self) -> tuple[int, int]:
        return self.latents.shape[-2], self.latents.shape[-1]
