# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What filters look at, and what they find."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..memory import MemoryView


class Reason(IntEnum):
    """Why a cell is not remembered."""

    KEPT = 0
    EXCLUDED = 1  # the user said so
    SKY = 2
    MOVING = 3
    INCONSISTENT = 4  # nearer than what the memory has seen there
    EDGE = 5
    FAR = 6


class FrameObservation(NamedTuple):
    """Another frame of the same scene, earlier or later.

    Attributes:
        frame: (3, H, W), 0 to 1.
        depth: (H, W) float32, world units.
        camera: one, over (H, W).
    """

    frame: Tensor
    depth: Tensor
    camera: Cameras


class DepthHistory(NamedTuple):
    """What earlier views saw: F cameras over (h, w) and the depth (F, h, w) of the surface before each; +inf where
    unknown. A memory's are ``DepthHistory(memory.history.cameras, memory.history.surface)``."""

    cameras: Cameras
    depth: Tensor


@dataclass(frozen=True)
class Observation:
    """A frame that is about to be remembered, and what is known of it. What is None is not at hand.

    Attributes:
        frame: (3, H, W), 0 to 1.
        camera: one, over (H, W).
        grid: (h, w) of the latent.
        depth: (H, W) float32, world units.
        view: what the memory shows to the camera (T = 1, over the grid).
        seen: what earlier views saw.
        others: frames before and after it, in any order; those in which a moving thing stood elsewhere tell most.
        exclude: (H, W) bool, the user's: True where nothing may be remembered. Nothing overrules it.
        keep: (H, W) bool, the user's: True where filters have no say.

    Raises:
        ValueError: shapes do not fit together.
    """

    frame: Tensor
    camera: Cameras
    grid: tuple[int, int]
    depth: Tensor | None = None
    view: MemoryView | None = None
    seen: DepthHistory | None = None
    others: tuple[FrameObservation, ...] = ()
    exclude: Tensor | None = None
    keep: Tensor | None = None

    def __post_init__(self) -> None:
        if self.frame.dim() != 3 or self.frame.shape[0] != 3:
            raise ValueError(f"frame: expected (3, H, W), got {tuple(self.frame.shape)}")
        if len(self.camera) != 1 or self.camera.size != self.size:
            raise ValueError(f"camera: expected one over {self.size}, got {self.camera}")
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


class Verdict(NamedTuple):
    """What may be remembered of a frame.

    Attributes:
        reason: (h, w) uint8, a :class:`Reason` for every cell; 0 where it is kept.
        pixels: (H, W) uint8, the same for the pixels that led to it. A cell can be out by its memory alone, without a
            pixel of it marked, and a pixel marked in a cell that is kept.
    """

    reason: Tensor
    pixels: Tensor

    @property
    def keep(self) -> Tensor:
        """(h, w) bool."""
        return self.reason == Reason.KEPT

    @property
    def out(self) -> Tensor:
        """(h, w) bool; the ``mask`` of :meth:`mirage.memory.LatentSpatialMemory.write`."""
        return self.reason != Reason.KEPT

    @property
    def shares(self) -> dict[str, float]:
        """Of all cells, how many are kept and how many are out for every reason."""
        counts = torch.bincount(self.reason.flatten().long(), minlength=len(Reason)).tolist()
        return {reason.name.lower(): counts[reason] / max(self.reason.numel(), 1) for reason in Reason}


class Filter(Protocol):
    """Finds what is not to be remembered, for one reason. A dataclass, whose fields are numbers, strings, or lists of
    them.

    Attributes:
        reason: its own.
        max_masked: a cell is out when more than this share of its pixels is marked; 0 = any.
    """

    @property
    def reason(self) -> Reason: ...

    @property
    def max_masked(self) -> float: ...

    def __call__(self, observation: Observation) -> Tensor:
        """Mark what is not to be remembered: pixels (H, W) or cells (h, w), bool. Nothing where it lacks what it needs
        to tell (a single picture has no others)."""
        ...
