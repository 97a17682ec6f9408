# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Small files that state large sizes, and what is no file: refused before memory is allocated or a read waits."""

from __future__ import annotations

import io
import os
import re
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reader_files import KINDS

from mirage.data.geometry import read_geometry
from mirage.errors import DataError
from mirage.io.files import read_depth, read_image, read_json, read_mask, read_text
from mirage.recordings import read_recording

MEGAPIXELS = "of at most 201 megapixels, got 400"


def png(width: int, height: int) -> bytes:
    """A PNG without pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head) - 4) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def npy(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    """A header without values."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def npz(path: Path, arrays: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in arrays.items():
            archive.writestr(f"{name}.npy", data)


def exr(path: Path) -> None:
    """An EXR whose window is larger than its pixels."""
    KINDS["exr"].make(path)
    data = path.read_bytes()
    window = struct.pack("<4i", 0, 0, 7, 5)
    assert data.count(window) == 2
    path.write_bytes(data.replace(window, struct.pack("<4i", 0, 0, 19_999, 19_999)))


LARGE: list[tuple[str, Callable[[Path], Any], Callable[[Path], Any], str]] = [
    ("a.png", lambda p: p.write_bytes(png(20_000, 20_000)), read_image, MEGAPIXELS),
    ("a.png", lambda p: p.write_bytes(png(20_000, 20_000)), read_mask, MEGAPIXELS),
    ("a.pfm", lambda p: p.write_bytes(b"Pf\n20000 20000\n-1.0\n"), read_depth, MEGAPIXELS),
    ("a.pgm", lambda p: p.write_bytes(b"P5\n20000 20000\n65535\n"), read_depth, MEGAPIXELS),
    ("a.exr", exr, read_depth, "of at most 201 megapixels, got 20000 x 20000"),
    ("a.npy", lambda p: p.write_bytes(npy((20_000, 20_000))), read_depth, "of at most 201 million values, got 400"),
    ("a.npy", lambda p: p.write_bytes(npy((1 << 40, 1 << 40))), read_depth, "of at most 201 million values"),
    ("a.npy", lambda p: p.write_bytes(npy((9000, 9000))), read_depth, "expected 324000000 bytes, got 0"),
    ("a.npy", lambda p: p.write_bytes(b"\x93NUMPY\2\0\xff\xff\xff\x7f {"), read_depth, "a header of at most 10000"),
    ("a.npy", lambda p: p.write_bytes(npy((2,), "<f4").replace(b"(2,)", b"((((")), read_depth, "damaged file"),
    ("a.npz", lambda p: npz(p, {"depth": npy((1 << 40, 2))}), read_depth, "expected 8796093022"),
    ("a.npz", lambda p: npz(p, {"depth": npy((2, 2))}, zipfile.ZIP_LZMA), read_depth, "got compression 14"),
    ("a.npz", lambda p: npz(p, {"depth": b"\x93NUMPY\2\0\xff\xff\xff\x7f" + bytes(1 << 24)}), read_depth, "a header"),
    ("a.npz", lambda p: npz(p, {"depths": npy((1 << 20, 30, 40))}), read_geometry, "depths: expected 5033164"),
    ("a.json", lambda p: p.write_text("[]," * (5 << 20)), lambda p: read_json(p, "x"), "4194304 lists and objects"),
    ("a.txt", lambda p: (p.touch(), os.truncate(p, 1 + (64 << 20))), lambda p: read_text(p, "x"), "at most 64 MiB"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "make", "read", "message"), LARGE, ids=[f"{n} {row[0]}" for n, row in enumerate(LARGE)]
)
def test_what_a_file_states_is_checked_first(tmp_path: Path, name: str, make: Any, read: Any, message: str) -> None:
    path = tmp_path / name
    make(path)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=re.escape(message)) as error:
            read(path)
        # numpy's arrays are counted; those that a file has no values for are not touched
        assert tracemalloc.get_traced_memory()[1] < 400 << 20
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(str(path))


@pytest.mark.long  # writing it takes a second
def test_a_bomb_of_zeros_is_refused(tmp_path: Path) -> None:
    """1.75 GiB of depth maps and images in a file of 2 MB."""
    path = tmp_path / "geometry.npz"
    arrays = {"frames": (npy((2, 8192, 16384, 3), "|u1"), 48), "depths": (npy((2, 8192, 16384)), 64)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (head, pieces) in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                file.write(head)
                for _ in range(pieces):
                    file.write(bytes(1 << 24))
    assert path.stat().st_size < 3 << 20
    with pytest.raises(DataError, match=r"expected a geometry file of at most 1 GiB, got 1\.75 GiB"):
        read_geometry(path)


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"packets"}))
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    """Opening a FIFO would wait for its other end, and /dev/zero has none."""
    kind = KINDS[name]
    path = tmp_path / kind.file
    kind.make(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises((DataError, *kind.errors)) as error:
        kind.read(path)
    assert "\n" not in str(error.value)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises((DataError, *kind.errors)):
        kind.read(path)


def test_a_recording_that_is_a_device() -> None:
    with pytest.raises(DataError, match="/dev/zero: expected a recording, got a FIFO or a device"):
        read_recording("/dev/zero")
