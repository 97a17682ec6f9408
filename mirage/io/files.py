# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading images, depth maps and text files. Unusable files raise a :class:`mirage.errors.DataError` of one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, missing_package

if TYPE_CHECKING:
    from PIL import Image

MAX_TEXT_BYTES = 64 << 20


def _open_image(path: Path, what: str) -> Image.Image:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise missing_package("reading images", "Pillow", "pipeline") from error
    try:
        with path.open("rb") as file:
            image = Image.open(file)
            image.load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: expected {what}, got a file that is not an image") from None
    except (OSError, SyntaxError, ValueError) as error:  # raised by Pillow on damaged files
        raise DataError(f"{path}: expected {what}, got a damaged file ({error})") from None
    return image


def read_image(path: str | Path) -> Tensor:
    """Read an image.

    Args:
        path: a file in any format that Pillow reads. Transparency is ignored.

    Returns:
        (3, H, W) float32, RGB values 0 to 1.

    Raises:
        DataError: the file is missing, damaged or not an image.
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
    image = _open_image(Path(path), "an image").convert("RGB")
    return torch.from_numpy(np.asarray(image).copy()).movedim(2, 0).float() / 255


def read_mask(path: str | Path) -> Tensor:
    """Read a mask.

    Args:
        path: an image file.

    Returns:
        (H, W) bool, True where the image is lighter than mid-gray (127 of 255).

    Raises:
        DataError: the file is missing, damaged or not an image.
        ImportError: Pillow is not installed.
    """
    image = _open_image(Path(path), "a mask").convert("L")
    return torch.from_numpy(np.asarray(image) > 127)


def read_depth(path: str | Path) -> Tensor:
    """Read a depth map.

    Args:
        path: a 16-bit PNG or PGM in millimeters, or an ``.npy`` or ``.exr`` file of floats in meters. An EXR file needs
            one channel named Z (of any layer), else Y, else R, or a single channel.

    Returns:
        (H, W) float32 in meters. Invalid depths (0, negative, NaN, infinite) are returned as they are.

    Raises:
        DataError: the file is missing, damaged or of another kind, or OpenEXR is needed and not installed.
        ImportError: Pillow is needed and not installed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder) / "depth.npy", np.array([[0.0, 1.5]]))
        ...     read_depth(Path(folder) / "depth.npy")
        tensor([[0.0000, 1.5000]])
    """
    path = Path(path)
    if path.suffix == ".npy":
        return _read_npy(path)
    if path.suffix.lower() == ".exr":
        return _read_exr(path)
    image = _open_image(path, "a depth map")
    if image.mode not in ("I;16", "I;16B", "I"):
        raise DataError(f"{path}: expected a 16-bit depth map in millimeters, got an image of mode {image.mode}")
    return torch.from_numpy(np.asarray(image).astype(np.float32)) / 1000


def _read_npy(path: Path) -> Tensor:
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: expected a depth map, got a damaged file ({error})") from None
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind != "f":
        got = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise DataError(f"{path}: expected a depth map of floats (H, W), got {got}")
    return torch.from_numpy(values.astype(np.float32))


def _read_exr(path: Path) -> Tensor:
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
    values = channels[names[0]]
    if values.ndim != 2 or values.dtype.kind != "f":
        raise DataError(f"{path}: expected a depth map of floats (H, W), got {values.dtype} {values.shape}")
    return torch.from_numpy(values.astype(np.float32))


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
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            limit, size = MAX_TEXT_BYTES >> 20, path.stat().st_size >> 20
            raise DataError(f"{path}: expected {what} of at most {limit} MiB, got {size} MiB")
        return path.read_text()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected {what}, got a file that is not text ({error})") from None


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
    return torch.tensor(rows, dtype=torch.float64)
