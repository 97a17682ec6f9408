# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading the frames of a video, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import DataError, missing_package, reading
from .photos import MAX_PIXELS

__all__ = ["VideoFrame", "VideoReader"]


class VideoFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        number: of the frame, from 0.
        seconds: when it is shown, from the beginning of the video.
        image: (3, H, W) float32, values 0 to 1.
    """

    number: int
    seconds: float
    image: Tensor


class VideoReader:
    """Reads frames of a video by number or time. Going forward decodes on; going back starts at the beginning again.

    Args:
        path: a video in a format that FFmpeg knows.

    Raises:
        DataError: the file is missing, damaged, or no video.
        ImportError: PyAV is not installed.

    Example:
        >>> import tempfile
        >>> from mirage.io.video import VideoWriter
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "video.mp4"
        ...     with VideoWriter(path, fps=8) as video:
        ...         for value in (0.0, 0.5, 1.0):
        ...             video.write(torch.full((3, 32, 48), value))
        ...     reader = VideoReader(path)
        ...     reader.frame(2).seconds, reader.frame_at(0.13).number, round(reader.frame(1).image.mean().item(), 1)
        (0.25, 1, 0.5)
    """

    def __init__(self, path: str | Path) -> None:
        try:
            import av
        except ImportError as error:
            raise missing_package("reading videos", "av", "pipeline") from error
        self.path, self._av = Path(path), av
        with reading(self.path, "a video"), av.open(str(self.path)) as container:
            if not container.streams.video:
                raise DataError(f"{path}: expected a video, got a file without one")
            stream = container.streams.video[0]
            size = (stream.codec_context.height, stream.codec_context.width)
        if not 0 < size[0] * size[1] <= MAX_PIXELS:
            raise DataError(f"{path}: expected frames of at most {MAX_PIXELS / 1e6:.0f} megapixels, got {size}")
        self._frames: Iterator[VideoFrame] | None = None
        self._last: VideoFrame | None = None
        self._next: VideoFrame | None = None

    def frame(self, number: int) -> VideoFrame:
        """Read the frame with a number.

        Raises:
            DataError: the video has no such frame, or is damaged before it.
        """
        if number < 0:
            raise DataError(f"{self.path}: expected a frame from 0, got {number}")
        self._start_before(lambda last: last.number > number)
        while self._last is None or self._last.number < number:
            if not self._advance():
                count = 0 if self._last is None else self._last.number + 1
                raise DataError(f"{self.path}: expected frame {number}, got a video of {count} frames")
        return self._last

    def frame_at(self, seconds: float) -> VideoFrame:
        """Read the frame that is nearest in time.

        Raises:
            DataError: the video is damaged, or ends more than a tenth of a second before.
        """
        if not seconds >= 0:
            raise DataError(f"{self.path}: expected a time from 0 s, got {seconds}")
        self._start_before(lambda last: last.seconds > seconds)
        while self._last is None or (self._next is not None and self._next.seconds <= seconds):
            if not self._advance():
                raise DataError(f"{self.path}: expected frames, got none")
        after = self._next
        if after is None and seconds > self._last.seconds + 0.1:
            raise DataError(
                f"{self.path}: expected a frame at {seconds:.2f} s, got a video of {self._last.seconds:.2f} s"
            )
        is_later = after is not None and after.seconds - seconds < seconds - self._last.seconds
        return after if is_later and after is not None else self._last

    def _start_before(self, is_past: Any) -> None:
        if self._frames is None or (self._last is not None and is_past(self._last)):
            self._frames, self._last = self._decode(), None
            self._next = self._read_next()

    def _advance(self) -> bool:
        if self._next is None:
            return False
        self._last, self._next = self._next, self._read_next()
        return True

    def _read_next(self) -> VideoFrame | None:
        assert self._frames is not None
        with reading(self.path, "a video"):
            return next(self._frames, None)

    def _decode(self) -> Iterator[VideoFrame]:
        with self._av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = stream.average_rate or Fraction(1)
            first: Fraction | None = None
            for number, frame in enumerate(container.decode(stream)):
                time = number / rate if frame.pts is None else frame.pts * frame.time_base
                first = time if first is None else first
                image = torch.from_numpy(frame.to_ndarray(format="rgb24")).movedim(2, 0).float() / 255
                yield VideoFrame(number, float(time - first), image)
