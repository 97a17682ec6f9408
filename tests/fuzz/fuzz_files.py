# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The readers of files: each file is read, or refused by an error of one line that names it."""

from __future__ import annotations

import atexit
import functools
import random
import shutil
import tempfile
from pathlib import Path

import fuzz_mutations
import OpenEXR
from fuzz_calls import FaultError
from reader_files import KINDS, Kind, mutate, pixels, read_first_frame, read_tum

from mirage.errors import DataError


@functools.cache
def folder_of(name: str) -> Path:
    """Return a folder with a valid file of a kind and what belongs to it, which is removed at the end."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="mirage-fuzz-", dir=shared if shared.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    KINDS[name].make(folder / KINDS[name].file)
    return folder


def read(name: str, data: bytes) -> None:
    """Read a file of a kind. Raises FaultError, or what the reader raised, unless that is an error of its own."""
    kind = KINDS[name]
    path = folder_of(name) / kind.file
    path.write_bytes(data)
    try:
        kind.read(path)
    except (DataError, *kind.errors) as error:
        check_error(kind, path, error)


def check_error(kind: Kind, path: Path, error: Exception) -> None:
    """Raise FaultError unless an error has one line, which names the file; errors of frames name the frame."""
    text = str(error)
    if "\n" in text or len(text) > 1000:
        raise FaultError(f"an error of several lines, or of many words: {text[:300]!r}")
    if kind.read not in (read_first_frame, read_tum) and str(path.parent) not in text:
        raise FaultError(f"an error without the file: {text[:300]!r}")


def seeds(name: str) -> list[bytes]:
    """Return valid files of a kind."""
    path = folder_of(name) / KINDS[name].file
    KINDS[name].make(path)
    return [path.read_bytes(), *(more_exr() if name == "exr" else [])]


def more_exr() -> list[bytes]:
    """Return EXR files without compression, whose pixels no checksum protects."""
    header = {"compression": OpenEXR.NO_COMPRESSION, "type": OpenEXR.scanlineimage}
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a.exr"
        with OpenEXR.File([OpenEXR.Part(header, {"Z": pixels(6, 8, dtype="float32")}, "part")]) as file:
            file.write(path)
        return [Path(path).read_bytes()]


def mutated(name: str, data: bytes, pick: random.Random) -> bytes:
    """Change a file: its bytes, its numbers, or the content that a checksum or compression protects."""
    change = fuzz_mutations.for_file(KINDS[name].file)
    if change is not None and pick.random() < 0.6:
        try:
            return change(data, pick)
        except Exception:  # it is so damaged that there is no content
            return mutate(data, pick) if data else b"\0"
    return mutate(data, pick) if data else b"\0"
