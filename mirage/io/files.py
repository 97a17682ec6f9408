# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures, depth maps and matrices from files. Whatever is wrong with one is a DataError of one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..errors import DataError


def _open_picture(path: Path, what: str) -> Image.Image:
    try:
        with path.open("rb") as file:
            picture = Image.open(file)
            picture.load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such {what}") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: expected a {what}, got something that is not a picture") from None
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises on damaged files
        raise DataError(f"{path}: expected a {what}, got a damaged file ({error})") from None
    return picture


def read_image(path: str | Path) -> Tensor:
    """A picture as (3, H, W) float32, 0 to 1. Alpha is dropped."""
    picture = _open_picture(Path(path), "picture").convert("RGB")
    return torch.from_numpy(np.asarray(picture).copy()).movedim(2, 0).float() / 255


def read_mask(path: str | Path) -> Tensor:
    """A mask as (H, W) bool, True where the picture is lighter than middle grey."""
    picture = _open_picture(Path(path), "mask").convert("L")
    return torch.from_numpy(np.asarray(picture) > 127)


def read_depth(path: str | Path) -> Tensor:
    """A depth map as (H, W) float32 metres: a 16-bit PNG (or PGM) in millimetres; an ``.npy`` or an ``.exr`` of floats
    in metres.

    An EXR's depth is its channel Z (also of a layer), else Y, else R, else its only one; reading it needs the package
    OpenEXR (``pip install 'mirage-kernels[exr]'``). Invalid depth (0, negative, NaN, infinite) stays as it is.
    """
    path = Path(path)
    if path.suffix == ".npy":
        return _read_npy(path)
    if path.suffix.lower() == ".exr":
        return _read_exr(path)
    picture = _open_picture(path, "depth map")
    if picture.mode not in ("I;16", "I;16B", "I"):
        raise DataError(f"{path}: expected a 16-bit depth map in millimetres, got a picture of mode {picture.mode}")
    return torch.from_numpy(np.asarray(picture).astype(np.float32)) / 1000


def _read_npy(path: Path) -> Tensor:
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such depth map") from None
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
        raise DataError(f"{path}: needs OpenEXR to be read (pip install 'mirage-kernels[exr]')") from None
    if not path.is_file():  # OpenEXR says that it cannot open it, whatever the reason
        raise DataError(f"{path}: no such depth map")
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            parts = len(file.parts)
            channels = {name: channel.pixels for name, channel in file.channels().items()} if parts else {}
    except (RuntimeError, ValueError, TypeError) as error:
        raise DataError(f"{path}: expected a depth map, got a damaged file ({error})") from None
    if parts == 0:  # OpenEXR leaves out what it could not read
        raise DataError(f"{path}: expected a depth map, got a damaged file")
    if parts > 1:
        raise DataError(f"{path}: expected an EXR of one part, got {parts}")
    layers = [[name for name in channels if name.split(".")[-1] == letter] for letter in "ZYR"]
    names = next((found for found in layers if found), list(channels))
    if len(names) != 1:
        raise DataError(f"{path}: expected one channel Z, Y or R, or only one at all, got {', '.join(channels)}")
    values = channels[names[0]]
    if values.ndim != 2 or values.dtype.kind != "f":
        raise DataError(f"{path}: expected a depth map of floats (H, W), got {values.dtype} {values.shape}")
    return torch.from_numpy(values.astype(np.float32))


def read_text(path: Path, what: str) -> str:
    """The whole of a text file of at most 64 MiB."""
    try:
        if path.stat().st_size > 64 << 20:
            raise DataError(f"{path}: expected {what}, got a file of {path.stat().st_size >> 20} MiB")
        return path.read_text()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of {what}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected {what}, got a file that is not text ({error})") from None


def read_matrix(path: str | Path, columns: int) -> Tensor:
    """Rows of ``columns`` numbers, separated by white space, as float64."""
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
