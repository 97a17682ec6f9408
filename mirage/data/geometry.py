# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``geometry.npz``: frames with depth and cameras in one file, as the released Mirage keeps them."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..errors import DataError

_MOST_BYTES = 16 << 30
_REQUIRED = ("depths", "intrinsics", "poses_c2w")
_OPTIONAL = ("frames", "masks", "original_size", "processed_size")


class Geometry(NamedTuple):
    """F posed depth maps.

    Attributes:
        depths: (F, H, W) float32 in the poses' unit; invalid where not finite or not positive.
        cameras: F cameras over (H, W).
        frames: (F, 3, H, W) or, of the first frame only, (1, 3, H, W), uint8; None where there are none.
        masks: (F, H, W) bool, True = keep (False: things that move); None where all is kept.
        original_size: (H, W) that the recording had before it was resized, None where that is not known.
    """

    depths: Tensor
    cameras: Cameras
    frames: Tensor | None = None
    masks: Tensor | None = None
    original_size: tuple[int, int] | None = None


def is_npz(path: str | Path) -> bool:
    """Whether a file begins as zip archives do."""
    with Path(path).open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _load(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    try:
        with zipfile.ZipFile(path) as archive:  # what it would unpack to, before anything is unpacked
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST_BYTES:
            raise DataError(f"{path}: expected a geometry file, got one of {size >> 30} GiB")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in (*_REQUIRED, *_OPTIONAL) if name in file.files}
    except FileNotFoundError:
        raise DataError(f"{path}: no such geometry file") from None
    except DataError:
        raise
    except (OSError, ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: expected a geometry file, got a damaged file ({error})") from None
    for name in _REQUIRED:
        if name not in arrays:
            raise DataError(f"{path}: expected {', '.join(_REQUIRED)}, got no {name}")
    return arrays


def _check(path: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> tuple[int, int, int]:
    """The F, H and W that every array agrees on."""
    depths = arrays["depths"]
    if depths.ndim != 3 or depths.dtype.kind != "f" or 0 in depths.shape:
        raise DataError(f"{path}: depths: expected floats (F, H, W), got {depths.dtype} {depths.shape}")
    f, h, w = (int(side) for side in depths.shape)
    pictures = f"(F={f}, H={h}, W={w}, 3) or (1, H={h}, W={w}, 3)"
    rules: dict[str, tuple[str, tuple[str, ...], tuple[tuple[int, ...], ...], str]] = {
        "intrinsics": ("floats", ("f",), ((3, 3), (f, 3, 3)), f"(F={f}, 3, 3)"),
        "poses_c2w": ("floats", ("f",), ((f, 4, 4), (f, 3, 4)), f"(F={f}, 4, 4)"),
        "frames": ("uint8", ("u1",), ((f, h, w, 3), (1, h, w, 3)), pictures),
        "masks": ("booleans", ("b", "u", "i"), ((f, h, w),), f"(F={f}, H={h}, W={w})"),
        "original_size": ("numbers", ("i", "u", "f"), ((2,),), "(2,)"),
        "processed_size": ("numbers", ("i", "u", "f"), ((2,),), "(2,)"),
    }
    for name, (what, kinds, shapes, expected) in rules.items():
        array = arrays.get(name)
        if array is not None and (array.shape not in shapes or not array.dtype.str[1:].startswith(kinds)):
            raise DataError(f"{path}: {name}: expected {what} {expected}, got {array.dtype} {array.shape}")
    processed = arrays.get("processed_size")
    if processed is not None and sorted(processed.tolist()) not in ([-1, -1], sorted((h, w))):
        raise DataError(f"{path}: processed_size: expected that of depths, {(h, w)}, got {tuple(processed.tolist())}")
    return f, h, w


def read_geometry(path: str | Path, *, integer_centres: bool = False) -> Geometry:
    """Read a ``geometry.npz``, without pickle.

    Its arrays: ``depths`` (F, H, W) floats; ``intrinsics`` (F, 3, 3), or one (3, 3), in pixels of (H, W), which is
    ``processed_size``; ``poses_c2w`` (F, 4, 4) or (F, 3, 4), camera-to-world with OpenCV's axes. Optional are
    ``frames`` uint8 (F, H, W, 3) or (1, H, W, 3), ``masks`` (F, H, W) (True = keep), ``original_size`` and
    ``processed_size`` (H, W), where (-1, -1) stands for none. Other arrays are left alone.

    Args:
        integer_centres: the file puts pixel centres on integers, as the released code does; half a pixel is added to cx
            and cy.

    Raises:
        DataError: naming the file, and the array that is missing or of another kind.
    """
    path = Path(path)
    arrays = _load(path)
    f, h, w = _check(path, arrays)
    intrinsics = torch.from_numpy(arrays["intrinsics"].astype(np.float64)).expand(f, 3, 3).clone()
    if integer_centres:
        intrinsics[:, :2, 2] += 0.5
    poses = torch.eye(4, dtype=torch.float64).repeat(f, 1, 1)
    poses[:, : arrays["poses_c2w"].shape[1]] = torch.from_numpy(arrays["poses_c2w"].astype(np.float64))
    try:
        cameras = Cameras(intrinsics, poses, (h, w))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    frames, masks, original = arrays.get("frames"), arrays.get("masks"), arrays.get("original_size")
    sides = (-1, -1) if original is None else (int(original[0]), int(original[1]))
    return Geometry(
        torch.from_numpy(arrays["depths"].astype(np.float32)),
        cameras,
        None if frames is None else torch.from_numpy(frames).movedim(3, 1),
        None if masks is None else torch.from_numpy(masks != 0),
        sides if min(sides) > 0 else None,
    )


def write_geometry(path: str | Path, geometry: Geometry, *, integer_centres: bool = False) -> None:
    """Write a ``geometry.npz`` that :func:`read_geometry` gives back, and the released Mirage reads.

    The file takes the place of an older one only when it is whole.

    Args:
        path: of the file, under exactly this name.
        geometry: F, H and W must agree throughout.
        integer_centres: put pixel centres on integers, as the released code does: half a pixel is taken off cx and cy.
    """
    path, size = Path(path), geometry.cameras.size
    if tuple(geometry.depths.shape[1:]) != size:
        raise ValueError(f"depths: expected the cameras' size {size}, got {tuple(geometry.depths.shape[1:])}")
    intrinsics = geometry.cameras.intrinsics.cpu().clone()
    if integer_centres:
        intrinsics[:, :2, 2] -= 0.5
    arrays: dict[str, Any] = {
        "depths": geometry.depths.cpu().numpy(),
        "intrinsics": intrinsics.numpy(),
        "poses_c2w": geometry.cameras.cam2world.cpu().numpy(),
        "original_size": np.array(geometry.original_size or (-1, -1), dtype=np.int64),
        "processed_size": np.array(size, dtype=np.int64),
    }
    if geometry.frames is not None:
        arrays["frames"] = geometry.frames.movedim(1, -1).contiguous().cpu().numpy()
    if geometry.masks is not None:
        arrays["masks"] = geometry.masks.cpu().numpy()
    _check(path, arrays)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
