# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Videos that ViPE (arXiv 2508.10934) has annotated with depth, poses, intrinsics and masks."""

from __future__ import annotations

import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..cameras.intrinsics import UNIT, pinhole_intrinsics
from ..errors import DataError, reading
from ..io.arrays import read_exr
from ..io.npy import Archive
from ..io.photos import open_image
from ..io.video_reader import VideoReader
from .frames import ReadOptions, Recording, SourceFrame

MAX_MEMBER = 1 << 28  # bytes of a file in a zip file
MAX_FRAMES = 1 << 20


def vipe_names(folder: Path) -> list[str]:
    """The names of the clips in a folder of ViPE's results; none in another folder."""
    names = sorted(path.stem for path in (folder / "rgb").glob("*.mp4"))
    return [name for name in names if (folder / "pose" / f"{name}.npz").is_file()]


class VipeRecording(Recording):
    """``rgb/NAME.mp4``, ``depth/NAME.zip`` (an EXR file per frame), ``pose/NAME.npz`` (camera-to-world),
    ``intrinsics/NAME.npz`` (fx, fy, cx, cy) and, where it is, ``mask/NAME.zip`` (a PNG of instances per frame, 0 for
    what is static).

    Frames without pose, intrinsics or depth are left out.

    Args:
        folder: of the results.
        name: of the clip.
        options: what the caller knows in addition.
    """

    kind = "ViPE"

    def __init__(self, folder: Path, name: str, options: ReadOptions) -> None:
        self._video = VideoReader(folder / "rgb" / f"{name}.mp4")
        self._depth, self._mask = folder / "depth" / f"{name}.zip", folder / "mask" / f"{name}.zip"
        self._poses = _read_rows(folder / "pose" / f"{name}.npz", (4, 4))
        self._intrinsics = _read_rows(folder / "intrinsics" / f"{name}.npz", (4,))
        depths = _members(self._depth, ".exr")
        masks = _members(self._mask, ".png") if self._mask.is_file() else {}
        self._numbers = sorted(set(self._poses) & set(self._intrinsics) & set(depths))
        self._depths, self._masks = depths, masks
        names = [f"{name}, frame {number}" for number in self._numbers]
        super().__init__(folder / "rgb" / f"{name}.mp4", names, options)

    def _read(self, number: int) -> SourceFrame:
        at = self._numbers[number]
        image = self._video.frame(at).image
        size = (image.shape[1], image.shape[2])
        intrinsics = self._given_intrinsics(size)
        if intrinsics is None:
            fx, fy, cx, cy = self._intrinsics[at].tolist()
            shift = 0.5 if self.has_integer_centers else 0.0
            intrinsics = pinhole_intrinsics(fx, fy, cx + shift, cy + shift)
        with tempfile.TemporaryDirectory() as folder:
            file = _extract(self._depth, self._depths[at], folder)
            try:
                depth = torch.from_numpy(read_exr(file).astype(np.float32))
            except DataError as error:
                reason = str(error).removeprefix(f"{file}: ")
                raise DataError(f"{self._depth}: {self._depths[at]}: {reason}") from None
            exclude: Tensor | None = None
            if at in self._masks:
                exclude = _read_instances(_extract(self._mask, self._masks[at], folder), self._masks[at])
        depth = depth * (self.options.depth_scale or 1.0)
        return SourceFrame(image, intrinsics, Cameras(UNIT, self._poses[at], (1, 1)), depth, exclude=exclude)


def _read_rows(path: Path, shape: tuple[int, ...]) -> dict[int, np.ndarray[Any, Any]]:
    """The rows ``data`` of an archive by the numbers ``inds`` of their frames."""
    with reading(path, "ViPE's arrays inds and data"), Archive(path) as archive:
        headers = archive.headers(("inds", "data"))
        missing = next((name for name in ("inds", "data") if name not in headers), None)
        if missing is not None:
            raise DataError(f"{path}: expected arrays inds and data, got no {missing}")
        count = headers["inds"].length
        if headers["data"].shape != (count, *shape) or headers["inds"].shape != (count,) or count > MAX_FRAMES:
            got = f"{headers['inds'].shape} and {headers['data'].shape}"
            raise DataError(f"{path}: expected inds (F,) and data {('F', *shape)}, got {got}")
        numbers, rows = archive.read("inds"), archive.read("data").astype(np.float64)
        if numbers.dtype.kind not in "iu" or len(np.unique(numbers)) < count:
            raise DataError(f"{path}: expected inds that are integers and differ, got {numbers.dtype} {numbers[:4]}")
        return {int(number): row for number, row in zip(numbers, rows, strict=True)}


def _members(path: Path, suffix: str) -> dict[int, str]:
    """The names of the files ``00000.exr`` and so on in a zip file, by number."""
    with reading(path, f"a zip file of {suffix} files"), zipfile.ZipFile(path) as archive:
        pattern = re.compile(rf"[0-9]{{1,9}}{re.escape(suffix)}", re.IGNORECASE)
        names = [info for info in archive.infolist() if pattern.fullmatch(Path(info.filename).name)]
        large = next((info for info in names if info.file_size > MAX_MEMBER), None)
        if large is not None:
            got = f"{large.filename[:80]} of {large.file_size}"
            raise DataError(f"{path}: expected files of at most {MAX_MEMBER} bytes, got {got}")
        return {int(Path(info.filename).stem): info.filename for info in names}


def _read_instances(path: Path, name: str) -> Tensor:
    """Where an image of instances, of any depth or with a palette, is not 0, (H, W) bool."""
    with open_image(path, f"a mask ({name})") as image:
        if image.mode in ("RGBA", "LA", "PA", "RGB", "CMYK"):
            image = image.convert("RGB")
        values = np.asarray(image)
    return torch.from_numpy((values if values.ndim == 2 else values.max(-1)) > 0)


def _extract(path: Path, member: str, folder: str) -> Path:
    """Write a member of a zip file to a folder."""
    target = Path(folder) / f"file{Path(member).suffix.lower()}"
    with reading(path, "a zip file"), zipfile.ZipFile(path) as archive:
        target.write_bytes(archive.read(member))
    return target
