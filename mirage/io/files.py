# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading images, masks and text files. Unusable files raise a :class:`mirage.errors.DataError` of one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import MAX_REASON, DataError, check_file, first_line
from .arrays import is_array_file, read_array, read_exr
from .photos import decode_bytes, decode_image, open_image

MAX_TEXT_BYTES = 64 << 20
MAX_CONTAINERS = 4 << 20  # lists and objects of a JSON file: empty ones take 30 times their text
STRIP_PIXELS = 1 << 22  # pixels of a mask that are compared at a time


def read_image(path: str | Path, *, at_least: tuple[int, int] | None = None, upright: bool = True) -> Tensor:
    """Read an image.

    Args:
        path: JPEG, PNG, WebP, AVIF, TIFF and the like, of at most 201 megapixels; with pillow-heif also HEIC.
            Transparent pixels are composed on white.
        at_least: (H, W) of which the result may be up to twice as large. A larger image is reduced while it is decoded,
            which takes little memory. None reads all pixels.
        upright: whether to undo the rotation that EXIF states. Pass False for images whose calibration is that of the
            stored pixels.

    Returns:
        (3, H, W) float32, RGB values 0 to 1.

    Raises:
        DataError: the file is missing, damaged, too large or not an image.
        ImportError: Pillow is not installed.

    Example:
        >>> import tempfile
        >>> from mirage.io.images import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(Path(folder) / "red.png", torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 4, 6))
        ...     image = read_image(Path(folder) / "red.png")
        >>> image.shape, image[:, 0, 0].tolist()
        (torch.Size([3, 4, 6]), [1.0, 0.0, 0.0])
    """
    with open_image(Path(path), "an image") as image:
        return decode_image(image, at_least, upright=upright)


def read_mask(path: str | Path, *, at_least: tuple[int, int] | None = None) -> Tensor:
    """Read a mask.

    Args:
        path: an image file, as :func:`read_image` takes it, or a ``.npy`` or ``.npz`` file of one array (H, W).
        at_least: see :func:`read_image`.

    Returns:
        (H, W) bool, True where the image is lighter than mid-gray (127 of 255), or where the array is not zero.

    Raises:
        DataError: the file is missing, damaged or not an image.
        ImportError: Pillow is not installed.
    """
    path = Path(path)
    if is_array_file(path):
        values = read_array(path, "a mask", ("mask", "masks"))
        if np.isnan(values).any():
            raise DataError(f"{path}: expected a mask, got an array with NaN")
        return torch.from_numpy(values != 0)
    with open_image(path, "a mask") as image:
        pixels = decode_bytes(image, at_least)
    mask = torch.empty(pixels.shape[1:], dtype=torch.bool, device="cpu")
    rows = max(STRIP_PIXELS // max(pixels.shape[2], 1), 1)
    for top in range(0, len(mask), rows):  # as floats, all of them would take twelve times as much
        red, green, blue = pixels[:, top : top + rows].float() / 255
        mask[top : top + rows] = 0.299 * red + 0.587 * green + 0.114 * blue > 127.5 / 255
    return mask


def read_depth(path: str | Path, *, scale: float | None = None) -> Tensor:
    """Read a depth map.

    Args:
        path: an image of 16 bits (PNG, PGM, TIFF) or of floats (TIFF, PFM); a ``.npy`` or ``.npz`` file of one array
            (H, W), or of several with one named ``depth``, ``depths`` or ``depth_map``; or an ``.exr`` file with one
            channel named Z (of any layer), else Y, else R, or a single channel.
        scale: meters per unit of the file. By default, integers are millimeters and floats are meters. Integers of 8
            bits need a scale.

    Returns:
        (H, W) float32 in meters. Invalid depths (0, negative, NaN, infinite) are returned as they are.

    Raises:
        DataError: the file is missing, damaged or of another kind, or OpenEXR is needed and not installed.
        ImportError: Pillow is needed and not installed.

    Example:
        >>> import numpy as np, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder) / "depth.npy", np.array([[0, 1500]], np.uint16))
        ...     read_depth(Path(folder) / "depth.npy")
        ...     read_depth(Path(folder) / "depth.npy", scale=0.0002)
        tensor([[0.0000, 1.5000]])
        tensor([[0.0000, 0.3000]])
    """
    path = Path(path)
    if is_array_file(path):
        values = read_array(path, "a depth map", ("depth", "depths", "depth_map"))
    elif path.suffix.lower() == ".exr":
        values = read_exr(path)
    else:
        with open_image(path, "a depth map") as image:
            if image.mode not in ("F", "I", "L") and not image.mode.startswith("I;16"):
                expected = "a depth map of 16 bits in millimeters, or of floats in meters"
                raise DataError(f"{path}: expected {expected}, got an image of mode {image.mode}")
            values = np.asarray(image)
    if values.dtype == bool or (scale is None and values.dtype.itemsize == 1):
        raise DataError(
            f"{path}: expected a depth map of 16 bits in millimeters, or of floats in meters, got {values.dtype}; "
            "--depth-scale states the meters per unit of other files"
        )
    with np.errstate(over="ignore"):  # infinity is invalid depth
        if scale is None:
            return torch.from_numpy(values.astype(np.float32)).div_(1 if values.dtype.kind == "f" else 1000)
        return torch.from_numpy((values * np.float64(scale)).astype(np.float32))


def read_text(path: Path, what: str) -> str:
    """Read a text file.

    Args:
        path: a file of at most 64 MiB.
        what: description of the content, for errors.

    Returns:
        The text.

    Raises:
        DataError: the file is missing, too large or not text.
    """
    check_file(path, what)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            limit, size = MAX_TEXT_BYTES >> 20, path.stat().st_size >> 20
            raise DataError(f"{path}: expected {what} of at most {limit} MiB, got {size} MiB")
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected {what}, got a file that is not text ({error})") from None


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file.

    Args:
        path: a file of at most 64 MiB, with at most 4 million lists and objects.
        what: description of the content, for errors.

    Returns:
        Objects of Python. Numbers may be of any size, infinite or NaN.

    Raises:
        DataError: the file is missing, too large or not JSON.
    """
    return parse_json(read_text(path, what), f"{path}: ", what)


def parse_json(text: str, where: str, what: str) -> Any:
    """Parse JSON.

    Args:
        text: the JSON.
        where: beginning of the error.
        what: description of the content, for the error.

    Raises:
        DataError: the text is not JSON, nests too deeply, or has too many lists and objects.

    Example:
        >>> parse_json("[1, 2]", "--sizes: ", "a list")
        [1, 2]
    """
    if (count := text.count("[") + text.count("{")) > MAX_CONTAINERS:
        raise DataError(f"{where}expected {what} with at most {MAX_CONTAINERS} lists and objects, got {count}")
    try:
        return json.loads(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{where}expected {what}, got damaged JSON ({first_line(error)[:MAX_REASON]})") from None


def read_matrix(path: str | Path, columns: int) -> Tensor:
    """Read a matrix from a text file.

    Args:
        path: a file with one row per line, of numbers separated by white space. Blank lines are skipped.
        columns: numbers per row.

    Returns:
        (rows, columns) float64.

    Raises:
        DataError: the file is missing or empty, or a line, which the error names, has other content.
    """
    path = Path(path)
    rows = []
    for number, line in enumerate(read_text(path, f"rows of {columns} numbers").splitlines(), 1):
        try:
            row = [float(x) for x in line.split()]
        except ValueError:
            raise DataError(f"{path}:{number}: expected {columns} numbers, got {line.strip()[:60]!r}") from None
        if row and len(row) != columns:
            raise DataError(f"{path}:{number}: expected {columns} numbers, got {len(row)}")
        rows += [row] if row else []
    if not rows:
        raise DataError(f"{path}: expected rows of {columns} numbers, got an empty file")
    return torch.tensor(rows, dtype=torch.float64, device="cpu")
