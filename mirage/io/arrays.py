# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading arrays: NumPy's ``.npy`` and ``.npz``, and one channel of an EXR file. Pickled arrays are rejected."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

MAX_BYTES = 4 << 30
_SUFFIXES = (".npy", ".npz")


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
        DataError: the file is missing, damaged or larger than 4 GiB, or has several arrays of other names.
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
        if is_archive:
            values = _load_from_archive(path, what, names)
        else:
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
            _check_bytes(path, what, mapped.nbytes)
            values = np.array(mapped)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except DataError:
        raise
    except (OSError, ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: expected {what}, got a damaged file ({error})") from None
    if values.dtype.kind not in "biuf":
        raise DataError(f"{path}: expected {what}, got an array of {values.dtype}")
    return values


def _check_bytes(path: Path, what: str, size: int) -> None:
    if size > MAX_BYTES:
        raise DataError(f"{path}: expected {what} of at most {MAX_BYTES >> 30} GiB, got {size / 2**30:.1f} GiB")


def _load_from_archive(path: Path, what: str, names: Sequence[str]) -> np.ndarray[Any, Any]:
    with zipfile.ZipFile(path) as archive:  # check the unpacked size before unpacking
        sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.infolist()}
    found = [name for name in names if name in sizes] or list(sizes)
    if not sizes or (len(found) > 1 and found[0] not in names):
        got = ", ".join(sorted(sizes)[:8]) or "none"
        raise DataError(f"{path}: expected {what} as the only array, or named {' or '.join(names)}, got {got}")
    _check_bytes(path, what, sizes[found[0]])
    with np.load(path, allow_pickle=False) as file:
        return np.asarray(file[found[0]])


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
    if not path.is_file():  # OpenEXR does not distinguish missing from damaged files
        raise DataError(f"{path}: no such file")
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            parts = len(file.parts)
            channels = {name: channel.pixels for name, channel in file.channels().items()} if parts else {}
    except (RuntimeError, ValueError, TypeError) as error:
        raise DataError(f"{path}: expected a depth map, got a damaged file ({error})") from None
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
