# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""NumPy's ``.npy`` format, alone and in ``.npz`` archives, with limits that are checked before memory is allocated.

A header of a few bytes may state any shape, and a deflated archive holds a thousand times its size: ``numpy.load``
allocates what they state.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

_MAX_HEADER = 10_000  # bytes, as numpy.load allows
_MAX_ITEM = 8  # bytes of a number
_PIECE = 1 << 20  # bytes that are decompressed at a time
_KINDS = "biuf"  # booleans, integers, floats


class Header(NamedTuple):
    """What a ``.npy`` file says about its array.

    Attributes:
        shape: of the array.
        is_fortran: whether the first index varies fastest.
        dtype: of booleans, integers or floats.
        size: bytes of the header itself.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]
    size: int

    @property
    def length(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.length * self.dtype.itemsize


def read_header(file: IO[bytes]) -> Header:
    """Read the header of an array. The file is at its first value then.

    Args:
        file: at the beginning of a ``.npy``.

    Raises:
        ValueError: it is no array, or not one of booleans, integers or floats.
    """
    start = file.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\1", b"\2", b"\3"):
        raise ValueError("no array of NumPy")
    width = 2 if start[6] == 1 else 4
    length = file.read(width)
    size = int.from_bytes(length, "little")
    if len(length) < width or size > _MAX_HEADER:
        raise ValueError(f"expected a header of at most {_MAX_HEADER} bytes, got {size}")
    text = io.BytesIO(length + file.read(size))
    read = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(text)  # type: ignore[no-untyped-call, unused-ignore]
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise ValueError(f"expected a shape, got {shape}")
    if dtype.kind not in _KINDS or dtype.itemsize > _MAX_ITEM or dtype.shape:
        raise ValueError(f"expected booleans, integers or floats, got {'objects' if dtype.hasobject else dtype}")
    return Header(tuple(int(side) for side in shape), bool(is_fortran), dtype, 8 + width + size)


def read_values(file: IO[bytes], header: Header) -> np.ndarray[Any, Any]:
    """Read the values of an array.

    Args:
        file: at the first value.
        header: of the array; its size has been checked.

    Raises:
        ValueError: the file ends early.
    """
    values = np.empty(header.length, header.dtype)
    target, at = values.view(np.uint8), 0
    while at < len(target):
        piece = file.read(min(_PIECE, len(target) - at))
        if not piece:
            raise ValueError(f"expected {len(target)} bytes, got {at}")
        target[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        at += len(piece)
    return values.reshape(header.shape, order="F" if header.is_fortran else "C")


class Archive:
    """A ``.npz`` file, as a context manager. Of its entries nothing but headers is read before it is asked for.

    Args:
        path: the file.

    Attributes:
        names: of its arrays.

    Raises:
        Exception: nearly anything, for a damaged file; see :func:`mirage.errors.reading`.
    """

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in self._zip.infolist():
            if entry.filename.endswith(".npy"):
                self._entries[entry.filename.removesuffix(".npy")] = entry
        self.names = tuple(self._entries)

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def open(self, name: str) -> tuple[IO[bytes], Header]:
        """Open an array.

        Args:
            name: of the array.

        Returns:
            A file at its first value, and its header, whose size is that of the archive's directory.

        Raises:
            ValueError: it is no array, of another size than it says, or compressed with another method than NumPy's.
        """
        entry = self._entries[name]
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{name}: expected a stored or deflated array, got compression {entry.compress_type}")
        file = self._zip.open(entry)
        try:
            header = read_header(file)
        except Exception as error:
            file.close()
            raise ValueError(f"{name}: {error}") from None
        if header.size + header.nbytes != entry.file_size:
            file.close()
            raise ValueError(f"{name}: expected {header.size + header.nbytes} bytes, got {entry.file_size}")
        return file, header

    def headers(self, names: Iterable[str]) -> dict[str, Header]:
        """The headers of those of these arrays that the archive has.

        Args:
            names: of arrays.
        """
        found = {}
        for name in names:
            if name in self._entries:
                file, found[name] = self.open(name)
                file.close()
        return found

    def read(self, name: str) -> np.ndarray[Any, Any]:
        """Read an array, whose size has been checked.

        Args:
            name: of the array.
        """
        file, header = self.open(name)
        with file:
            values = read_values(file, header)
            file.read(1)  # compares the checksum
            return values
