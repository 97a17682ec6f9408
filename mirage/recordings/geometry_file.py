# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings in a ``geometry.npz`` with images for all frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mirage_kernels import Cameras

from ..cameras.intrinsics import UNIT
from ..data.geometry import check_arrays, check_sizes
from ..errors import DataError, reading
from ..io.npy import Archive, read_values
from .frames import ReadOptions, Recording, SourceFrame

_SMALL = ("intrinsics", "poses_c2w", "original_size", "processed_size")
_LARGE = ("depths", "frames", "masks")
_MAX_FRAMES = 1 << 20


class GeometryRecording(Recording):
    """A ``geometry.npz`` in the layout of :func:`mirage.data.geometry.read_geometry`.

    Depth maps, images and masks are decompressed frame by frame, so that a file larger than the computer's memory can
    be read. That is fast in the order of frames; going back starts at the beginning of an array again.
    """

    kind = "geometry.npz"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        with reading(path, "a geometry file"):
            self._arrays, arrays, count = _open(path)
        self._poses = np.tile(np.eye(4), (count, 1, 1))
        self._poses[:, : arrays["poses_c2w"].shape[1]] = arrays["poses_c2w"]
        self._intrinsics = np.broadcast_to(arrays["intrinsics"].astype(np.float64), (count, 3, 3))
        super().__init__(path, [f"frame {number}" for number in range(count)], options)

    def _read(self, number: int) -> SourceFrame:
        try:
            with reading(self.path, "a frame"):
                values = {name: reader.read(number) for name, reader in self._arrays.items()}
        except DataError as error:
            raise DataError(f"frame {number}: {error}") from None
        image = torch.from_numpy(values["frames"]).movedim(2, 0).float() / 255
        intrinsics = self._given_intrinsics((image.shape[1], image.shape[2]))
        if intrinsics is None:
            intrinsics = torch.from_numpy(self._intrinsics[number].copy())
            if self.has_integer_centers:
                intrinsics[:2, 2] += 0.5
        return SourceFrame(
            image,
            intrinsics,
            Cameras(UNIT, self._poses[number], (1, 1)),
            torch.from_numpy(values["depths"].astype(np.float32)) * (self.options.depth_scale or 1.0),
            exclude=torch.from_numpy(values["masks"] == 0) if "masks" in values else None,
        )


def _open(path: Path) -> tuple[dict[str, _FrameReader], dict[str, Any], int]:
    """The large arrays, which stay in the file; the small ones; and the number of frames."""
    arrays: dict[str, Any] = {}
    with Archive(path) as archive:
        headers = archive.headers((*_SMALL, *_LARGE))
        check_sizes(path, headers, whole=any(header.is_fortran for header in headers.values()))
        for name in _SMALL:
            if name in headers:
                if headers[name].length > 16 * _MAX_FRAMES:
                    got = f"{headers[name].dtype} {headers[name].shape}"
                    raise DataError(f"{path}: {name}: expected at most {_MAX_FRAMES} frames, got {got}")
                arrays[name] = archive.read(name)
    for name in ("depths", "frames"):
        if name not in headers:
            other = "; pass its images another way, or use mirage generate --geometry" * (name == "frames")
            raise DataError(f"{path}: expected arrays depths, frames, intrinsics, poses_c2w, got no {name}{other}")
    readers = {name: _FrameReader(path, name) for name in _LARGE if name in headers}
    # Only shapes and dtypes are checked here.
    arrays |= {name: np.broadcast_to(np.zeros((), a.dtype), a.shape) for name, a in readers.items()}
    count, _, _ = check_arrays(path, arrays)
    if readers["frames"].shape[0] != count:
        raise DataError(
            f"{path}: frames: expected an image for each of the {count} depth maps, got {readers['frames'].shape[0]}"
        )
    return readers, arrays, count


class _FrameReader:
    """Reads one frame at a time of an array (F, ...) in an ``.npz`` file, compressed or not."""

    def __init__(self, path: Path, name: str) -> None:
        self._file, self._header = Archive(path).open(name)  # open as long as the recording is
        self.shape, self.dtype = self._header.shape, self._header.dtype
        self._start = self._header.size
        self._whole: np.ndarray[Any, Any] | None = None

    def read(self, number: int) -> np.ndarray[Any, Any]:
        """Read the frame with this number."""
        if self._header.is_fortran:  # the numbers of a frame are scattered over the file
            if self._whole is None:
                self._file.seek(self._start)
                self._whole = read_values(self._file, self._header)
            return np.ascontiguousarray(self._whole[number])
        size = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        self._file.seek(self._start + number * size)
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError(f"expected {size} bytes, got {len(data)}")
        frame: np.ndarray[Any, Any] = np.frombuffer(data, self.dtype).reshape(self.shape[1:]).copy()
        return frame
