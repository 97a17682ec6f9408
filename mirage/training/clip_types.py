# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A clip of posed RGB-D frames, and where clips come from."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from mirage_kernels import Cameras

__all__ = ["ClipSource", "TrainingClip"]


class TrainingClip(NamedTuple):
    """F frames of a clip.

    Attributes:
        frames: (F, 3, H, W) uint8.
        depth: (F, H, W) float32 z-depth in world units; 0 where unknown.
        cameras: F cameras over (H, W).
        exclude: (F, H, W) bool, True where nothing must be remembered: moving objects and sky. None for nowhere.
        caption: describes the clip.
        targets: (F, 3, H, W) uint8, what is to be generated where that differs from what is remembered, such as the
            same frames in another look. None for ``frames``.
        numbers: F ascending numbers of the frames in what the clip is a part of; empty if they are 0 to F - 1.
    """

    frames: Tensor
    depth: Tensor
    cameras: Cameras
    exclude: Tensor | None
    caption: str
    targets: Tensor | None = None
    numbers: tuple[int, ...] = ()


class ClipSource(Protocol):
    """A list of clips that are read one at a time.

    A source may also have an attribute ``described``: JSON values that determine the clips, so that a build that goes
    on notices other ones.

    Attributes:
        names: of the clips, each once.
        origin: where they come from, for the record.
    """

    names: list[str]
    origin: str

    def read(self, name: str) -> TrainingClip:
        """Read a clip.

        Raises:
            DataError: it is damaged.
        """
        ...
