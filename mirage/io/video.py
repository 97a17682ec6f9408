# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Writing videos."""

from __future__ import annotations

import errno
import struct
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from fractions import Fraction
from io import FileIO
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np
from torch import Tensor

from mirage_kernels import atomic_write

from ..errors import missing_package
from .images import to_bytes
from .packet_log import Packet

# x264's macroblock tree reads uninitialized memory, which makes the bytes depend on what the process did before. The
# output has not been tested to be reproducible with more than one thread.
_OPTIONS = {"crf": "18", "threads": "1", "mbtree": "0"}
# Three times as fast as x264's default, for files that are half as large again.
_FAST = _OPTIONS | {"preset": "superfast"}
_MAX_DELAY = 2  # frames by which x264's order of decoding can differ from that of the frames


def _import_av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise missing_package("writing videos", "av", "pipeline") from error
    return av


class FrameEncoder:
    """Encodes frames as H.264, independently of all others.

    The same frames always give the same packets.

    Args:
        fps: frames per second.
        first: number of the first frame.

    Raises:
        ImportError: PyAV is not installed.
    """

    def __init__(self, fps: int, first: int) -> None:
        self._av, self._fps, self._first, self._count = _import_av(), fps, first, 0
        self._codec: Any = None
        self._packets: list[Packet] = []

    def add(self, planes: np.ndarray) -> None:
        """Encode the next frame.

        Args:
            planes: (3, H, W) uint8, RGB, the same size for all frames. A last odd row or column is cut off, because
                video needs even sizes.
        """
        height, width = (side // 2 * 2 for side in planes.shape[1:])
        if self._codec is None:
            self._codec = _make_codec(width, height, self._fps)
        frame = self._av.VideoFrame(width, height, "gbrp")
        for plane, color in zip(frame.planes, (1, 2, 0), strict=True):
            rows = np.zeros((height, plane.line_size), np.uint8)
            rows[:, :width] = planes[color, :height, :width]
            plane.update(rows)
        yuv = frame.reformat(format="yuv420p")
        yuv.pts, yuv.time_base = self._count, self._codec.time_base
        self._count += 1
        self._keep(self._codec.encode(yuv))

    def finish(self) -> list[Packet]:
        """Return the packets of all frames, for :class:`mirage.io.packet_log.PacketLog` and :func:`write_packets`."""
        if self._codec is not None:
            self._keep(self._codec.encode(None))
        return self._packets

    def _keep(self, packets: list[Any]) -> None:
        self._packets += [Packet(self._first + p.pts, p.is_keyframe, bytes(p)) for p in packets]


def _make_codec(width: int, height: int, fps: int) -> Any:
    codec = _import_av().CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate, codec.time_base, codec.options = Fraction(fps), Fraction(1, fps), _FAST
    return codec


def write_packets(path: str | Path, packets: Iterable[Packet], fps: int, size: tuple[int, int]) -> None:
    """Write packets to an MP4 file, without encoding them again. The file is replaced atomically.

    Args:
        path: the file.
        packets: of one or several :class:`FrameEncoder`, in decoding order.
        fps: frames per second.
        size: (H, W) of the frames, even.

    Raises:
        ImportError: PyAV is not installed.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> packets = []
        >>> for first, count in ((0, 5), (5, 3)):
        ...     encoder = FrameEncoder(16, first)
        ...     for number in range(first, first + count):
        ...         encoder.add(np.full((3, 64, 96), 20 * number, np.uint8))
        ...     packets += encoder.finish()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_packets(Path(folder) / "video.mp4", packets, 16, (64, 96))
        ...     with _import_av().open(str(Path(folder) / "video.mp4")) as video:
        ...         len(list(video.decode(video=0)))
        8
    """
    av = _import_av()
    with atomic_write(path) as partial:
        with _open_unbuffered(partial) as file, av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=fps, options=_FAST)
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            container.start_encoding()
            for number, packet in enumerate(packets):
                part = av.Packet(packet.data)
                part.stream, part.time_base, part.is_keyframe = stream, Fraction(1, fps), packet.is_key
                part.pts, part.dts, part.duration = packet.frame, number - _MAX_DELAY, 1
                container.mux(part)
        _check_boxes(partial)


def _open_unbuffered(path: Path) -> FileIO:
    """Open a file for PyAV.

    A file of Python, so that a full disk raises. Without a buffer, because Python's handlers of signals run when a
    buffer is flushed: PyAV would drop the KeyboardInterrupt, and end the file as if it was complete.
    """
    return path.open("wb", buffering=0)


def _check_boxes(path: Path) -> None:
    """Check that an MP4 file is complete: PyAV drops the error of its last write.

    Raises:
        OSError: a box is missing or goes beyond the end of the file; the disk is full, for example.
    """
    size, at, kinds = path.stat().st_size, 0, set()
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            length, kind, long = struct.unpack(">I4sQ", file.read(16).ljust(16, b"\0"))
            kinds.add(kind)
            at += {0: size - at, 1: max(long, 8)}.get(length, max(length, 8))
    if at != size or not {b"mdat", b"moov"} <= kinds:
        raise OSError(errno.ENOSPC, "the video could not be written completely", str(path))


class VideoWriter:
    """Writes frames to an MP4 file (H.264), as a context manager.

    The same frames always give the same bytes. The file is replaced atomically when the block ends; if the block
    raises, it is unchanged.

    Args:
        path: the file.
        fps: frames per second.

    Raises:
        ImportError: PyAV is not installed.

    Example:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with VideoWriter(Path(folder) / "video.mp4", fps=16) as video:
        ...         for value in torch.linspace(0, 1, 8):
        ...             video.write(value.expand(3, 64, 64))
        ...     (Path(folder) / "video.mp4").stat().st_size > 0
        True
    """

    def __init__(self, path: str | Path, fps: int) -> None:
        av = _import_av()
        self._new_frame = av.VideoFrame.from_ndarray
        with ExitStack() as stack:
            self._partial = stack.enter_context(atomic_write(path))
            file = stack.enter_context(_open_unbuffered(self._partial))
            self._container = av.open(file, "w", format="mp4")
            self._stream = self._container.add_stream("libx264", rate=fps, options=_OPTIONS)
            self._stream.pix_fmt = "yuv420p"
            self._size: tuple[int, int] | None = None
            self._files = stack.pop_all()  # last: an interrupt before it removes the temporary file

    def write(self, image: Tensor) -> None:
        """Write the next frame.

        Args:
            image: (3, H, W), values 0 to 1, the same size for all frames. A last odd row or column is cut off, because
                the format needs even sizes.
        """
        height, width = (side // 2 * 2 for side in image.shape[-2:])
        if self._size is None:
            self._size = self._stream.height, self._stream.width = height, width
        frame = self._new_frame(to_bytes(image[:, :height, :width]), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None and self._size is not None:
                self._container.mux(self._stream.encode())
            self._container.close()
            if error is None and self._size is not None:
                _check_boxes(self._partial)
        except BaseException:
            self._files.__exit__(*sys.exc_info())
            raise
        self._files.__exit__(kind, error, trace)
