# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading and writing of the safetensors format, through one open file.

The library ``safetensors`` opens a file once for its header and again for its tensors, so that a file that is replaced
meanwhile is mixed up; it maps the file, so that truncating it ends the process; and it writes to a temporary file of a
name of its own, which stays behind if the process is killed. The format itself is small: the length of the header as
8 bytes, the header as JSON, and the bytes of the tensors. A test compares both implementations.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _memory

MAX_HEADER = 16 << 20  # bytes; that of a model with 30 blocks has some 100 KB
_LENGTH = 8  # bytes of the length of the header
_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "C64": torch.complex64,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Return a view of the bytes of a contiguous CPU tensor, which must outlive the view."""
    size = tensor.numel() * tensor.element_size()
    return memoryview((ctypes.c_char * size).from_address(tensor.data_ptr() if size else id(tensor))).cast("B")


class _Entry(NamedTuple):
    """A tensor in the header: dtype, shape, and the position of its bytes after the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file. Equal content gives equal bytes.

    Args:
        path: the file, which is overwritten in place.
        tensors: contiguous tensors on the CPU, by name.
        metadata: texts by name.

    Raises:
        OSError: the file cannot be written.
        TypeError: the format has no such dtype.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    at, ordered = 0, sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))  # so all are aligned
    for name, tensor in ordered:
        if tensor.dtype not in _NAMES:
            raise TypeError(f"{name}: expected a dtype of safetensors, got {tensor.dtype}")
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(_LENGTH, "little") + text)
        for _, tensor in ordered:
            file.write(tensor_bytes(tensor))


class SafetensorsReader:
    """An open safetensors file, as a context manager.

    Args:
        path: the file.

    Attributes:
        metadata: texts by name.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no regular file, or its header is damaged.
    """

    metadata: dict[str, str]

    def __init__(self, path: Path) -> None:
        if not path.is_file():  # opening a FIFO waits for its other end
            raise ValueError("it is a folder or a device")
        self._file: BufferedReader = path.open("rb")
        try:
            self.metadata, self._entries, self._start = _read_header(self._file)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> SafetensorsReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self) -> dict[str, Tensor]:
        """Read all tensors, on the CPU and each with memory of its own.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file ends early, or a boolean is neither 0 nor 1.
        """
        tensors = {}
        for name, entry in self._entries.items():
            tensor = torch.empty(entry.shape, dtype=entry.dtype, device="cpu")
            self._file.seek(self._start + entry.begin)
            if self._file.readinto(tensor_bytes(tensor)) != entry.end - entry.begin:
                raise ValueError(f"{name}: the file ends early")
            if entry.dtype == torch.bool and bool((tensor.view(torch.uint8) > 1).any()):
                raise ValueError(f"{name}: expected booleans, got other bytes")
            tensors[name] = tensor
        return tensors


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of any safetensors file.

    The file is opened once, so that a file that is replaced meanwhile is read as it was or as it is. Nothing is
    allocated that the file has no bytes for.

    Args:
        path: the file.

    Returns:
        The tensors by name, on the CPU, and the metadata.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: the file cannot be read.
        torch.OutOfMemoryError: there is no memory for its tensors.
        ValueError: the file is damaged. The message names the file.

    Example:
        >>> import tempfile, torch
        >>> from mirage_kernels import read_safetensors, save_tensors
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tensors(f"{folder}/a", {"ones": torch.ones(2)}, kind="example", version=1, settings={})
        ...     tensors, metadata = read_safetensors(f"{folder}/a")
        >>> tensors, list(metadata)
        ({'ones': tensor([1., 1.])}, ['mirage'])
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with SafetensorsReader(path) as reader:
            return reader.read(), reader.metadata
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    except (ValueError, RuntimeError, MemoryError) as error:
        _memory.raise_if_exhausted(error, "read_safetensors", file=path)
        raise ValueError(f"{path}: expected a safetensors file, got a damaged file ({error})") from None


def _read_header(file: BufferedReader) -> tuple[dict[str, str], dict[str, _Entry], int]:
    """Metadata, tensors, and where their bytes begin."""
    size = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(_LENGTH), "little")
    start = _LENGTH + length
    if length and file.read(1) not in (b"{", b""):
        raise ValueError("it begins like no safetensors file")
    if size < _LENGTH or start > size:
        raise ValueError("the file ends early")
    file.seek(_LENGTH)
    if length > MAX_HEADER:
        raise ValueError(f"expected a header of at most {MAX_HEADER >> 20} MiB, got {length >> 20} MiB")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("the metadata are not texts")
    entries = {name: _entry(name, value) for name, value in header.items()}
    at = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != at:
            raise ValueError(f"{name}: expected its bytes to begin at {at}, got {entry.begin}")
        at = entry.end
    if start + at != size:
        raise ValueError(f"expected {start + at} bytes, got {size}")
    return metadata, entries, start


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name appears twice")
    return found


def _entry(name: str, value: Any) -> _Entry:
    """Check an entry of the header."""
    try:
        dtype, shape, (begin, end) = _DTYPES[value["dtype"]], tuple(value["shape"]), value["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise ValueError(f"{name}: expected dtype, shape and data_offsets") from None
    if any(type(number) is not int or not 0 <= number < 1 << 63 for number in (*shape, begin, end)):
        raise ValueError(f"{name}: expected shape and data_offsets of integers")
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise ValueError(f"{name}: expected the bytes of {dtype} {shape}, got {end - begin}")
    return _Entry(dtype, shape, begin, end)
