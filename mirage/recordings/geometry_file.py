# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings in a ``geometry.npz`` with images for all frames."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.geometry import check_arrays
from ..errors import DataError
from .frames import ReadOptions, Recording, SourceFrame

_SMALL = ("intrinsics", "poses_c2w", "original_size", "processed_size")
_LARGE = ("depths", "frames", "masks")
_DAMAGE = (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


class GeometryRecording(Recording):
    """A ``geometry.npz`` in the layout of :func:`mirage.data.geometry.read_geometry`.

    Depth maps, images and masks are decompressed frame by frame, so that a file larger than the computer's memory can
    be read. That is fast in the order of frames; going back starts at the beginning of an array again.
    """

    kind = "geometry.npz"

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._arrays: dict[str, _FrameReader] = {}
        arrays: dict[str, Any] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                names = {entry.removesuffix(".npy") for entry in archive.namelist()}
            with np.load(path, allow_pickle=False) as file:
                arrays |= {name: np.asarray(file[name]) for name in _SMALL if name in names}
            self._arrays = {name: _FrameReader(path, name) for name in _LARGE if name in names}
        except _DAMAGE as error:
            raise DataError(f"{path}: expected a geometry file, got a damaged file ({error})") from None
        for name in ("depths", "frames"):
            if name not in self._arrays:
                other = "; pass its images another way, or use mirage generate --geometry" * (name == "frames")
                raise DataError(f"{path}: expected arrays depths, frames, intrinsics, poses_c2w, got no {name}{other}")
        # Only shapes and dtypes are checked here: the large arrays stay in the file.
        arrays |= {name: np.broadcast_to(np.zeros((), a.dtype), a.shape) for name, a in self._arrays.items()}
        count, _, _ = check_arrays(path, arrays)
        if self._arrays["frames"].shape[0] != count:
            got = self._arrays["frames"].shape[0]
            raise DataError(f"{path}: frames: expected an image for each of the {count} depth maps, got {got}")
        self._poses = np.tile(np.eye(4), (count, 1, 1))
        self._poses[:, : arrays["poses_c2w"].shape[1]] = arrays["poses_c2w"]
        self._intrinsics = np.broadcast_to(arrays["intrinsics"].astype(np.float64), (count, 3, 3))
        super().__init__(path, [f"frame {number}" for number in range(count)], options)

    def _read(self, number: int) -> SourceFrame:
        try:
            values = {name: reader.read(number) for name, reader in self._arrays.items()}
        except _DAMAGE as error:
            raise DataError(f"frame {number}: {self.path}: expected a frame, got a damaged file ({error})") from None
        image = torch.from_numpy(values["frames"]).movedim(2, 0).float() / 255
        intrinsics = self._given_intrinsics((image.shape[1], image.shape[2]))
        if intrinsics is None:
            intrinsics = torch.from_numpy(self._intrinsics[number].copy())
            if self.has_integer_centers:
                intrinsics[:2, 2] += 0.5
        return SourceFrame(
            image,
            intrinsics,
            torch.from_numpy(self._poses[number]),
            torch.from_numpy(values["depths"].astype(np.float32)) * (self.options.depth_scale or 1.0),
            exclude=torch.from_numpy(values["masks"] == 0) if "masks" in values else None,
        )


class _FrameReader:
    """Reads one frame at a time of an array (F, ...) in an ``.npz`` file, compressed or not."""

    def __init__(self, path: Path, name: str) -> None:
        self._file = zipfile.ZipFile(path).open(f"{name}.npy")  # noqa: SIM115 (open as long as the recording is)
        version = np.lib.format.read_magic(self._file)  # type: ignore[no-untyped-call, unused-ignore]
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"{name}: expected version 1 or 2 of the format, got {version}")
        self.shape, self._is_fortran, self.dtype = read_header(self._file)  # type: ignore[no-untyped-call, unused-ignore]
        self._start = self._file.tell()
        if self.dtype.hasobject:
            raise ValueError(f"{name}: expected numbers, got pickled objects")
        self._whole: np.ndarray[Any, Any] | None = None

    def read(self, number: int) -> np.ndarray[Any, Any]:
        """Read the frame with this number."""
        if self._is_fortran:  # the numbers of a frame are scattered over the file
            if self._whole is None:
                self._file.seek(self._start)
                flat = np.frombuffer(self._file.read(), self.dtype)
                self._whole = flat.reshape(self.shape, order="F")
            return np.ascontiguousarray(self._whole[number])
        size = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        self._file.seek(self._start + number * size)
        data = self._file.read(size)
        if len(data) < size:
            raise EOFError(f"expected {size} bytes, got {len(data)}")
        frame: np.ndarray[Any, Any] = np.frombuffer(data, self.dtype).reshape(self.shape[1:]).copy()
        return frame
