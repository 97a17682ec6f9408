# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading arrays: NumPy's ``.npy`` and ``.npz``, and one channel of an EXR file. Pickled arrays are rejected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, reading
from .npy import Archive, Header, read_header, read_values
from .photos import MAX_PIXELS

_SUFFIXES = (".npy", ".npz")
_MAX_CHANNELS = 4  # of an EXR file at the limit of pixels: OpenEXR reads all of them


def is_array_file(path: Path) -> bool:
    """Return whether a file is ``.npy`` or ``.npz``, by its suffix in either case or by its first bytes."""
    if path.suffix.lower() in _SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(6)
    return head == b"\x93NUMPY" or head[:4] == b"PK\x03\x04"


def load_array(path: Path, what: str, names: Sequence[str]) -> np.ndarray[Any, Any]:
    """Load an array from a ``.npy`` or ``.npz`` file.

    Args:
        path: the file.
        what: description of the content, for errors.
        names: names by which the array is looked for in a ``.npz`` with several, in this order.

    Returns:
        The array, of any shape, of booleans, integers or floats.

    Raises:
        DataError: the file is missing or damaged, has more values than an image may have pixels, or has several arrays
            of other names.
    """
    with reading(path, what):
        with path.open("rb") as file:
            if file.read(2) != b"PK":
                file.seek(0)
                header = read_header(file)
                _check_count(path, what, header)
                return read_values(file, header)
        with Archive(path) as archive:
            found = [name for name in names if name in archive.names] or list(archive.names)
            if not found or (len(found) > 1 and found[0] not in names):
                got = ", ".join(sorted(found)[:8]) or "none"
                raise DataError(f"{path}: expected {what} as the only array, or named {' or '.join(names)}, got {got}")
            _check_count(path, what, archive.headers(found[:1])[found[0]])
            return archive.read(found[0])


def _check_count(path: Path, what: str, header: Header) -> None:
    if header.length > MAX_PIXELS:
        got = f"{header.length / 1e6:.0f} million, {header.dtype} {header.shape}"
        raise DataError(f"{path}: expected {what} of at most {MAX_PIXELS / 1e6:.0f} million values, got {got}")


def read_array(path: Path, what: str, names: Sequence[str]) -> np.ndarray[Any, Any]:
    """Read a map (H, W) from a ``.npy`` or ``.npz`` file; (1, H, W), (H, W, 1) and the like are taken as (H, W).

    Args:
        path: the file.
        what: description of the content, for errors.
        names: see :func:`load_array`.

    Raises:
        DataError: see :func:`load_array`; or the array has another shape.
    """
    values = load_array(path, what, names)
    shape = values.shape
    if len(shape) > 2:  # sides of 1 are dropped, the leading ones first
        while len(shape) > 2 and shape[0] == 1:
            shape = shape[1:]
        while len(shape) > 2 and shape[-1] == 1:
            shape = shape[:-1]
    if len(shape) != 2 or 0 in shape:
        hint = "; --geometry takes files of several frames" if len(shape) == 3 else ""
        raise DataError(f"{path}: expected {what} (H, W), got {values.dtype} {values.shape}{hint}")
    result: np.ndarray[Any, Any] = values.reshape(shape)
    return result


def read_exr(path: Path) -> np.ndarray[Any, Any]:
    """Read one channel of an EXR file: that named Z (of any layer), else Y, else R, or the only one.

    Args:
        path: the file.

    Returns:
        (H, W) floats.

    Raises:
        DataError: the file is missing, damaged or of another kind, or OpenEXR is not installed.
    """
    try:
        import OpenEXR  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise DataError(f"{path}: reading EXR needs OpenEXR: pip install 'mirage-kernels[exr]'") from None
    with reading(path, "a depth map"):
        with OpenEXR.File(str(path), header_only=True) as file:
            _check_exr(path, [part.header for part in file.parts])
        with OpenEXR.File(str(path), separate_channels=True) as file:
            parts = len(file.parts)
            channels = {name: channel.pixels for name, channel in file.channels().items()} if parts else {}
    if parts == 0:  # OpenEXR omits parts that it cannot read
        raise DataError(f"{path}: expected a depth map, got a damaged file")
    if parts > 1:
        raise DataError(f"{path}: expected an EXR file with one part, got {parts}")
    candidates = [[name for name in channels if name.split(".")[-1] == letter] for letter in "ZYR"]
    names = next((found for found in candidates if found), list(channels))
    if len(names) != 1:
        raise DataError(f"{path}: expected one channel named Z, Y or R, or a single channel, got {', '.join(channels)}")
    values = np.asarray(channels[names[0]])
    if values.ndim != 2 or values.dtype.kind != "f":
        raise DataError(f"{path}: expected a depth map of floats (H, W), got {values.dtype} {values.shape}")
    return values


def _check_exr(path: Path, headers: Sequence[dict[str, Any]]) -> None:
    """Check the sizes that an EXR file states, which OpenEXR allocates."""
    values = 0
    for header in headers:
        first, last = header["dataWindow"]
        width, height = (int(last[axis]) - int(first[axis]) + 1 for axis in (0, 1))
        if width * height > MAX_PIXELS:
            limit = f"at most {MAX_PIXELS / 1e6:.0f} megapixels"
            raise DataError(f"{path}: expected a depth map of {limit}, got {width} x {height} pixels")
        values += width * height * max(len(header["channels"]), 1)
    if values > _MAX_CHANNELS * MAX_PIXELS:
        limit = f"at most {_MAX_CHANNELS * MAX_PIXELS / 1e6:.0f} million values in all channels"
        raise DataError(f"{path}: expected a depth map of {limit}, got {values / 1e6:.0f} million")
