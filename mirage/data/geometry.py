# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Files ``geometry.npz``: depth maps, cameras and frames in one file, in the layout of the released Mirage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mirage_kernels import Cameras, atomic_write

from ..errors import DataError, check_file, reading
from ..io.npy import Archive, Header
from ..io.photos import MAX_PIXELS

_MAX_BYTES = 16 << 30
# A file may state any size, and what is constant is deflated to a thousandth of it. Depth maps and images are not.
_FREE_BYTES, _MAX_RATIO = 1 << 30, 100
_REQUIRED = ("depths", "intrinsics", "poses_c2w")
_OPTIONAL = ("frames", "masks", "original_size", "processed_size")


class Geometry(NamedTuple):
    """Depth maps of F frames with cameras.

    Attributes:
        depths: (F, H, W) float32 z-depth in world units; not finite or not positive where invalid.
        cameras: F cameras over (H, W).
        frames: (F, 3, H, W) uint8, or (1, 3, H, W) of the first frame only; None if there are none.
        masks: (F, H, W) bool, False where objects move; None if everything is static.
        original_size: size (H, W) of the recording before it was resized; None if unknown.
    """

    depths: Tensor
    cameras: Cameras
    frames: Tensor | None = None
    masks: Tensor | None = None
    original_size: tuple[int, int] | None = None


def is_npz(path: str | Path) -> bool:
    """Return whether a file begins with the signature of zip archives.

    Raises:
        DataError: there is no such file, or it is a folder or a device.
    """
    check_file(path, "a file")
    with Path(path).open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def check_sizes(path: Path, headers: Mapping[str, Header], *, whole: bool = True) -> None:
    """Check what the arrays of a geometry file take, before any of them is read.

    Args:
        path: the file.
        headers: of its arrays.
        whole: whether they are read as a whole, rather than frame by frame.

    Raises:
        DataError: a frame has more pixels than an image may have, or all arrays take too much memory for their file.
    """
    for name, header in headers.items():
        pixels = math.prod(header.shape[1:3])
        if pixels > MAX_PIXELS:
            limit = f"at most {MAX_PIXELS / 1e6:.0f} megapixels"
            raise DataError(f"{path}: {name}: expected frames of {limit}, got {header.dtype} {header.shape}")
    size = sum(header.nbytes for header in headers.values())
    largest = min(max(_FREE_BYTES, _MAX_RATIO * path.stat().st_size), _MAX_BYTES)
    if whole and size > largest:
        raise DataError(
            f"{path}: expected a geometry file of at most {largest / 2**30:.3g} GiB, got {size / 2**30:.3g} GiB"
        )


def _load(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with reading(path, "a geometry file"), Archive(path) as archive:
        headers = archive.headers((*_REQUIRED, *_OPTIONAL))
        check_sizes(path, headers)
        return {name: archive.read(name) for name in headers}


def check_arrays(path: Path, arrays: dict[str, np.ndarray[Any, Any]]) -> tuple[int, int, int]:
    """Check shapes and dtypes of the arrays of a geometry file.

    Args:
        path: the file, for errors.
        arrays: by name. Of all but ``processed_size``, only shape and dtype are looked at.

    Returns:
        The number F of frames, and their height H and width W.

    Raises:
        DataError: an array is missing or of another kind.
    """
    for name in _REQUIRED:
        if name not in arrays:
            raise DataError(f"{path}: expected arrays {', '.join(_REQUIRED)}, got none named {name}")
    depths = arrays["depths"]
    if depths.ndim != 3 or depths.dtype.kind != "f" or 0 in depths.shape:
        raise DataError(f"{path}: depths: expected floats (F, H, W), got {depths.dtype} {depths.shape}")
    f, h, w = (int(side) for side in depths.shape)
    images = f"(F={f}, H={h}, W={w}, 3) or (1, H={h}, W={w}, 3)"
    rules: dict[str, tuple[str, tuple[str, ...], tuple[tuple[int, ...], ...], str]] = {
        "intrinsics": ("floats", ("f",), ((3, 3), (f, 3, 3)), f"(F={f}, 3, 3)"),
        "poses_c2w": ("floats", ("f",), ((f, 4, 4), (f, 3, 4)), f"(F={f}, 4, 4)"),
        "frames": ("uint8", ("u1",), ((f, h, w, 3), (1, h, w, 3)), images),
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
        got = tuple(processed.tolist())
        raise DataError(f"{path}: processed_size: expected the size of depths {(h, w)}, got {got}")
    return f, h, w


def read_geometry(path: str | Path, *, integer_centers: bool = False) -> Geometry:
    """Read a ``geometry.npz`` file. Pickled arrays are rejected.

    Required arrays are ``depths`` (F, H, W) of floats; ``intrinsics`` (F, 3, 3) or (3, 3), in pixels of (H, W); and
    ``poses_c2w`` (F, 4, 4) or (F, 3, 4), camera-to-world with OpenCV axes. Optional arrays are ``frames`` (F, H, W, 3)
    or (1, H, W, 3) uint8; ``masks`` (F, H, W), nonzero for static pixels; and ``original_size`` and ``processed_size``,
    each (H, W), or (-1, -1) if unknown. Other arrays are ignored.

    Args:
        path: the file.
        integer_centers: whether pixel centers have integer coordinates in the file, as in the released code. Half a
            pixel is then added to cx and cy.

    Returns:
        The depth maps and cameras.

    Raises:
        DataError: the file is missing or damaged, or an array, which the error names, is missing or of another kind.

    Example:
        See :func:`write_geometry`.
    """
    path = Path(path)
    arrays = _load(path)
    f, h, w = check_arrays(path, arrays)
    intrinsics = torch.from_numpy(arrays["intrinsics"].astype(np.float64)).expand(f, 3, 3).clone()
    if integer_centers:
        intrinsics[:, :2, 2] += 0.5
    poses = torch.eye(4, dtype=torch.float64, device="cpu").repeat(f, 1, 1)
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


def write_geometry(path: str | Path, geometry: Geometry, *, integer_centers: bool = False) -> None:
    """Write a ``geometry.npz`` file that :func:`read_geometry` and the released Mirage read.

    The file is replaced atomically.

    Args:
        path: the file; no suffix is added.
        geometry: the depth maps and cameras.
        integer_centers: whether pixel centers have integer coordinates in the file, as in the released code. Half a
            pixel is then subtracted from cx and cy.

    Raises:
        DataError: shapes or dtypes of the arrays do not match.
        ValueError: the size of the depth maps and the cameras differs.

    Example:
        >>> import tempfile
        >>> cameras = Cameras(torch.tensor([[8.0, 0, 4], [0, 8, 3], [0, 0, 1]]), torch.eye(4), (6, 8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_geometry(Path(folder) / "geometry.npz", Geometry(torch.ones(1, 6, 8), cameras))
        ...     geometry = read_geometry(Path(folder) / "geometry.npz")
        >>> geometry.depths.shape, geometry.frames, torch.equal(geometry.cameras.intrinsics, cameras.intrinsics)
        (torch.Size([1, 6, 8]), None, True)
    """
    path, size = Path(path), geometry.cameras.size
    if tuple(geometry.depths.shape[1:]) != size:
        raise ValueError(f"depths: expected the cameras' size {size}, got {tuple(geometry.depths.shape[1:])}")
    intrinsics = geometry.cameras.intrinsics.cpu().clone()
    if integer_centers:
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
    check_arrays(path, arrays)
    with atomic_write(path) as partial, partial.open("wb") as file:
        try:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        except ValueError as error:  # an interrupt makes zipfile raise that a part of the file is still open
            hidden = error.__context__
            if hidden is None or isinstance(hidden, Exception):
                raise
            raise hidden from None
