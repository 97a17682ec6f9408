# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The input and the result of filters, and the interface of a filter."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..memory import MemoryView


class Reason(IntEnum):
    """Why a cell is not written to the memory."""

    KEPT = 0  # it is written
    EXCLUDED = 1  # by the user's mask
    SKY = 2
    MOVING = 3
    INCONSISTENT = 4  # lies where an earlier view saw free space
    EDGE = 5
    FAR = 6


class FrameObservation(NamedTuple):
    """A frame with depth and camera.

    Attributes:
        frame: (3, H, W) float, 0 to 1.
        depth: (H, W) float32 z-depth, in world units; invalid where not finite or not positive.
        camera: 1 camera, over (H, W).
    """

    frame: Tensor
    depth: Tensor
    camera: Cameras


class DepthHistory(NamedTuple):
    """Depth maps of earlier views. For a memory: ``DepthHistory(memory.history.cameras, memory.history.surface)``.

    Attributes:
        cameras: F cameras, over (h, w).
        depth: (F, h, w) float32 depth of the surface that each camera saw, in world units; +inf where unknown.
    """

    cameras: Cameras
    depth: Tensor


@dataclass(frozen=True)
class Observation:
    """A frame to filter before it is written to the memory, and what is known about it. None means unknown; a filter
    that needs a part that is None marks nothing.

    Attributes:
        frame: (3, H, W) float, 0 to 1.
        camera: 1 camera, over (H, W).
        grid: (h, w) of the latent.
        depth: (H, W) float32 z-depth, in world units; invalid where not finite or not positive.
        view: the memory read from the camera (T = 1, over the grid).
        depth_history: depth maps of earlier views.
        others: earlier and later frames, in any order, for motion.
        exclude: (H, W) bool, the user's mask: True for pixels that are never written. It takes precedence over
            ``keep``.
        keep: (H, W) bool, the user's mask: True for pixels that filters do not mark.

    Raises:
        ValueError: a shape or dtype is wrong.
    """

    frame: Tensor
    camera: Cameras
    grid: tuple[int, int]
    depth: Tensor | None = None
    view: MemoryView | None = None
    depth_history: DepthHistory | None = None
    others: tuple[FrameObservation, ...] = ()
    exclude: Tensor | None = None
    keep: Tensor | None = None

    def __post_init__(self) -> None:
        if self.frame.dim() != 3 or self.frame.shape[0] != 3:
            raise ValueError(f"frame: expected (3, H, W), got {tuple(self.frame.shape)}")
        if len(self.camera) != 1 or self.camera.size != self.size:
            raise ValueError(f"camera: expected 1 camera over {self.size}, got {self.camera}")
        if self.depth is not None and (self.depth.shape != self.size or self.depth.dtype != torch.float32):
            expected = f"float32 (H={self.size[0]}, W={self.size[1]})"
            raise ValueError(f"depth: expected {expected}, got {self.depth.dtype} {tuple(self.depth.shape)}")
        for name, mask in (("exclude", self.exclude), ("keep", self.keep)):
            if mask is not None and (mask.shape != self.size or mask.dtype != torch.bool):
                expected = f"bool (H={self.size[0]}, W={self.size[1]})"
                raise ValueError(f"{name}: expected {expected}, got {mask.dtype} {tuple(mask.shape)}")
        if self.view is not None and self.view.mask.shape != (1, *self.grid):
            raise ValueError(f"view: expected T=1 over {self.grid}, got {tuple(self.view.mask.shape)}")

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.frame.shape[1], self.frame.shape[2]


class FilterResult(NamedTuple):
    """Which cells of a frame are written to the memory, and why the others are not.

    Attributes:
        reason: (h, w) uint8, the :class:`Reason` of each cell; 0 for cells that are kept.
        pixels: (H, W) uint8, the :class:`Reason` of each marked pixel, else 0. A filter may mark a cell without marking
            any of its pixels, and a cell with few marked pixels may be kept.
    """

    reason: Tensor
    pixels: Tensor

    @property
    def kept(self) -> Tensor:
        """(h, w) bool, True for cells that are kept."""
        return self.reason == Reason.KEPT

    @property
    def mask(self) -> Tensor:
        """(h, w) bool, True for excluded cells; the ``mask`` of :meth:`mirage.memory.LatentSpatialMemory.write`."""
        return self.reason != Reason.KEPT

    @property
    def fractions(self) -> dict[str, float]:
        """Fraction of all cells per reason, by its lowercase name."""
        counts = torch.bincount(self.reason.flatten().long(), minlength=len(Reason)).tolist()
        return {reason.name.lower(): counts[reason] / max(self.reason.numel(), 1) for reason in Reason}


class Filter(Protocol):
    """Protocol of filters. A filter is a frozen dataclass whose fields are its settings: numbers, strings or tuples of
    strings.

    Attributes:
        reason: the reason of the cells that it marks.
        max_masked: a cell is marked if more than this fraction of its pixels is marked; 0 for any pixel.
    """

    @property
    def reason(self) -> Reason: ...

    @property
    def max_masked(self) -> float: ...

    def __call__(self, observation: Observation) -> Tensor:
        """Mark pixels or cells that must not be written to the memory.

        Args:
            observation: the frame. If a part that the filter needs is None, the filter marks nothing.

        Returns:
            (H, W) bool for pixels, or (h, w) bool for cells.
        """
        ...
