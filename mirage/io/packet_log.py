# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A file of encoded video that grows chunk by chunk, and survives whatever ends the process."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

_CHUNK = struct.Struct("<4sIQI")  # mark, number of the chunk, bytes, CRC-32
_PACKET = struct.Struct("<qI?")  # frame, bytes, key frame
_MARK = b"MPL1"


class Packet(NamedTuple):
    """A compressed frame.

    Attributes:
        frame: number of the frame in the video. Packets are in decoding order, which differs from that of the frames.
        is_key: whether decoding can begin here.
        data: H.264 with start codes.
    """

    frame: int
    is_key: bool
    data: bytes


class PacketLog:
    """The packets of a video, in numbered chunks.

    Args:
        path: the file; it need not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     log = PacketLog(Path(folder) / "video.packets")
        ...     log.append(1, [Packet(0, True, b"abc")])
        ...     log.append(2, [Packet(1, False, b"de")])
        ...     with log.path.open("r+b") as file:  # the process ends in the middle of a chunk
        ...         _ = file.truncate(log.path.stat().st_size - 1)
        ...     log.count(), [packet.data for packet in log.packets()]
        (1, [b'abc'])
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, number: int, packets: list[Packet]) -> None:
        """Add a chunk, and wait until it is on the disk. If that fails, the file is as before.

        Args:
            number: of the chunk, one more than the last one.
            packets: in decoding order.

        Raises:
            OSError: the file cannot be written.
        """
        body = b"".join(_PACKET.pack(p.frame, len(p.data), p.is_key) + p.data for p in packets)
        before = self.path.stat().st_size if self.path.exists() else 0
        try:
            with self.path.open("ab") as file:
                file.write(_CHUNK.pack(_MARK, number, len(body), zlib.crc32(body)) + body)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            if self.path.exists():
                os.truncate(self.path, before)
            raise

    def count(self) -> int:
        """Return the number of chunks that are complete and undamaged, from the first one on."""
        return sum(1 for _ in self._chunks())

    def truncate(self, count: int) -> None:
        """Remove all chunks after the first ``count``, and whatever else follows them."""
        if self.path.exists():
            ends = [0, *(end for end, _ in self._chunks())]
            os.truncate(self.path, ends[min(count, len(ends) - 1)])

    def packets(self, count: int | None = None) -> Iterator[Packet]:
        """Yield the packets in decoding order.

        Args:
            count: of the first ``count`` chunks; None for all that are complete.
        """
        for number, (_, body) in enumerate(self._chunks(), 1):
            if count is not None and number > count:
                return
            at = 0
            while at < len(body):
                frame, size, is_key = _PACKET.unpack_from(body, at)
                at += _PACKET.size + size
                yield Packet(frame, is_key, body[at - size : at])

    def _chunks(self) -> Iterator[tuple[int, bytes]]:
        """The end of each complete chunk in the file, and its content."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            number = 0
            while (body := _read_chunk(file, number + 1)) is not None:
                number += 1
                yield file.tell(), body


def _read_chunk(file: BinaryIO, expected: int) -> bytes | None:
    head = file.read(_CHUNK.size)
    if len(head) < _CHUNK.size:
        return None
    mark, number, size, checksum = _CHUNK.unpack(head)
    if mark != _MARK or number != expected or size > os.fstat(file.fileno()).st_size - file.tell():
        return None
    body = file.read(size)
    return body if len(body) == size and zlib.crc32(body) == checksum else None
