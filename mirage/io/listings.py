# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files of a folder in natural order, and rows of text files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError
from .files import read_text

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".ppm", ".bmp", ".tif", ".tiff", ".webp")
DEPTH_SUFFIXES = (".png", ".pgm", ".npy", ".exr", ".tif", ".tiff", ".npz")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key by which ``2.png`` comes before ``10.png``.

    Example:
        >>> sorted(["10.png", "2.png"], key=natural_key)
        ['2.png', '10.png']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    digits = (
        part.lstrip("0") for part in parts
    )  # compared by length first, because a name may have any number of them
    return [(0, len(n), n) if part.isdecimal() else (1, 0, part) for part, n in zip(parts, digits, strict=True)]


def list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files of a folder with these suffixes, in natural order; none if there is no such folder."""
    if not folder.is_dir():
        return []
    paths = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    return sorted(paths, key=lambda path: natural_key(path.name))


def read_rows(path: Path, what: str) -> list[tuple[int, list[str]]]:
    """Read the words of each line of a text file. Blank lines and comments (``#``) are skipped.

    Args:
        path: the file.
        what: what a line holds, for errors.

    Returns:
        Number and words of each line.

    Raises:
        DataError: the file is missing, not text, or has no lines.
    """
    lines = enumerate(read_text(path, what).splitlines(), 1)
    rows = [(n, line.replace(",", " ").split()) for n, line in lines if line.strip() and line.strip()[0] != "#"]
    if not rows:
        raise DataError(f"{path}: expected {what}, got an empty file")
    return rows


def read_numbers(path: Path, number: int, words: Sequence[str]) -> list[float]:
    """The numbers of one line.

    Raises:
        DataError: a word, of the line that the error names, is not a number.
    """
    try:
        return [float(word) for word in words]
    except ValueError:
        raise DataError(f"{path}:{number}: expected numbers, got {' '.join(words)[:60]!r}") from None
