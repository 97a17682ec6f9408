# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of posed RGB-D frames, from which training samples are made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from ..data.procedural import ProceduralScene
from ..errors import DataError
from ..recordings import RecordedFrame, Recording, read_recording

__all__ = ["ClipSource", "ProceduralClips", "RecordingClips", "TrainingClip", "open_source"]

PROCEDURAL = "procedural:"
MAX_SEEDS = 1 << 24


class TrainingClip(NamedTuple):
    """F frames of a clip.

    Attributes:
        frames: (F, 3, H, W) uint8.
        depth: (F, H, W) float32 z-depth in world units; 0 where unknown.
        cameras: F cameras over (H, W).
        exclude: (F, H, W) bool, True where nothing must be remembered: moving objects and sky. None for nowhere.
        caption: describes the clip.
    """

    frames: Tensor
    depth: Tensor
    cameras: Cameras
    exclude: Tensor | None
    caption: str


class ClipSource(Protocol):
    """A list of clips that are read one at a time.

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


class ProceduralClips:
    """Clips of procedural scenes, one for each seed; see :mod:`mirage.data.procedural`.

    Args:
        seeds: of the scenes.
        frames: of each clip.
        size: (H, W) of the frames.
    """

    def __init__(self, seeds: Sequence[int], frames: int, size: tuple[int, int]) -> None:
        self._seeds = {f"procedural-{seed:08d}": seed for seed in seeds}
        self.names, self.origin = list(self._seeds), "procedural scenes"
        self._frames, self._size = frames, size

    def read(self, name: str) -> TrainingClip:
        """Draw a clip."""
        scene = ProceduralScene(self._seeds[name], frames=self._frames)
        clip = scene.clip(size=self._size)
        return TrainingClip(clip.frames, clip.depth, clip.cameras, clip.moving | clip.sky, scene.caption)


class RecordingClips:
    """Clips of consecutive frames of a recording.

    Args:
        recording: the recording.
        frames: of each clip; the last one may be shorter.
        size: (H, W) that frames are scaled to.
        caption: of all clips.
    """

    def __init__(self, recording: Recording, frames: int, size: tuple[int, int], caption: str = "") -> None:
        self.origin = f"{recording.kind}: {recording.path.name}"
        self._recording, self._frames, self._size, self._caption = recording, frames, size, caption
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", recording.path.stem if recording.path.is_file() else recording.path.name)
        self._starts = {f"{stem}-{start:06d}": start for start in range(0, len(recording), frames)}
        self.names = list(self._starts)

    def read(self, name: str) -> TrainingClip:
        """Read a clip.

        Raises:
            DataError: a frame is missing or damaged.
        """
        start = self._starts[name]
        numbers = range(start, min(start + self._frames, len(self._recording)))
        return stack_frames([self._recording.read(number, self._size) for number in numbers], self._caption)


def stack_frames(frames: Sequence[RecordedFrame], caption: str) -> TrainingClip:
    """Make a clip of frames of one size.

    Args:
        frames: the frames.
        caption: describes them.
    """
    exclude = None
    if any(frame.exclude is not None for frame in frames):
        nowhere = torch.zeros(frames[0].depth.shape, dtype=torch.bool, device="cpu")
        exclude = torch.stack([nowhere if frame.exclude is None else frame.exclude for frame in frames])
    return TrainingClip(
        torch.stack([(frame.image * 255).round().to(torch.uint8) for frame in frames]),
        torch.stack([frame.depth for frame in frames]),
        Cameras.cat([frame.camera for frame in frames]),
        exclude,
        caption,
    )


def open_source(text: str, frames: int, size: tuple[int, int], caption: str = "") -> ClipSource:
    """Open a source of clips.

    Args:
        text: ``procedural:FIRST-LAST`` for the scenes of these seeds, or the folder or file of a recording, as
            :func:`mirage.recordings.read_recording` takes it.
        frames: of each clip.
        size: (H, W) of the frames.
        caption: of the clips of a recording.

    Raises:
        DataError: there is no such source.
    """
    frames, size = check.integer("frames", frames, 1), check.size("size", size)
    if text.startswith(PROCEDURAL):
        return ProceduralClips(parse_seeds(text), frames, size)
    return RecordingClips(read_recording(Path(text)), frames, size, caption)


def parse_seeds(text: str) -> range:
    """Parse the seeds of ``procedural:SEED`` or ``procedural:FIRST-LAST``.

    Raises:
        DataError: the text is neither, or names too many.

    Example:
        >>> parse_seeds("procedural:0-49")
        range(0, 50)
    """
    match = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", text.removeprefix(PROCEDURAL))
    first, last = (0, -1) if match is None else (int(match[1]), int(match[2] or match[1]))
    if not first <= last < first + MAX_SEEDS:
        raise DataError(f"SOURCE: expected procedural:FIRST-LAST with at most {MAX_SEEDS} seeds, got {text[:60]!r}")
    return range(first, last + 1)
