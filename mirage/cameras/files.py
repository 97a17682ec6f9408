# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading cameras from a file of any supported format, which is detected from the content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from torch import Tensor

from mirage_kernels import Cameras, check

from ..data.geometry import is_npz, read_geometry
from ..errors import DataError
from ..io.files import parse_json, read_text
from .colmap import read_colmap
from .colmap_files import IMAGE_FILES, find_model
from .formats import read_cameras_json, read_posed_cameras
from .intrinsics import with_intrinsics
from .nerfstudio import read_nerfstudio
from .realestate10k import is_realestate10k, read_realestate10k
from .tum import is_tum, read_tum
from .worldscore import read_worldscore

Format = Literal[
    "COLMAP", "nerfstudio", "geometry.npz", "cameras.json", "WorldScore", "RealEstate10K", "TUM", "text of poses"
]
# The formats with intrinsics. A reader takes the path, the size of the images, and whether pixel centers are integers.
_READERS: dict[str, Callable[[Path, tuple[int, int], bool], Cameras]] = {
    "COLMAP": lambda path, size, integers: read_colmap(path, size, integer_centers=integers),
    "nerfstudio": lambda path, size, integers: read_nerfstudio(path, size, integer_centers=integers),
    "geometry.npz": lambda path, size, integers: read_geometry(path, integer_centers=integers).cameras.rescale(size),
    "cameras.json": lambda path, size, integers: read_cameras_json(path, size, integer_centers=integers),
    "WorldScore": lambda path, size, _: read_worldscore(path, size, rebased=False),
    "RealEstate10K": lambda path, size, _: read_realestate10k(path, size, rebased=False),
}
# Keys of JSON files by which they are told apart.
_KEYS: dict[str, Format] = {"cam2world": "cameras.json", "cameras_interp": "WorldScore", "frames": "nerfstudio"}


def read_cameras(
    path: str | Path,
    size: tuple[int, int],
    *,
    intrinsics: Tensor | None = None,
    world2cam: bool = True,
    integer_centers: bool = False,
) -> Cameras:
    """Read cameras from a file or a folder.

    The format is detected from the content. Supported are

    * COLMAP's sparse models, text and binary (:func:`.read_colmap`): a folder, or its ``images.bin`` or ``images.txt``;
    * ``transforms.json`` of nerfstudio and instant-ngp (:func:`.read_nerfstudio`), or a folder with it;
    * RealEstate10K camera files (:func:`.read_realestate10k`);
    * ``geometry.npz`` (:func:`mirage.data.geometry.read_geometry`);
    * WorldScore's ``camera_data.json`` (:func:`.read_worldscore`);
    * ``cameras.json`` of an earlier rollout (:func:`.write_cameras`);
    * TUM trajectories (:func:`.read_tum`);
    * text files with one pose per line (:func:`.read_poses`).

    Args:
        path: the file or folder.
        size: size (H, W) of the images; intrinsics of another size are rescaled. Lens distortion is left out: the
            cameras are those of undistorted images.
        intrinsics: (3, 3) or (F, 3, 3) in pixels of ``size``, used instead of the file's; required for TUM trajectories
            and text files of poses.
        world2cam: whether a text file of poses contains world-to-camera poses, rather than camera-to-world poses. Other
            formats define this.
        integer_centers: whether pixel centers have integer coordinates in the file; then 0.5 is added to cx and cy, in
            pixels of the file. It does not apply to ``intrinsics``, to the fractions of RealEstate10K, nor to
            WorldScore, whose principal point is the middle of the image.

    Returns:
        Cameras over (H, W), with the poses of the file: both ``cam2world`` and ``world2cam`` are its own where it
        defines them.

    Raises:
        DataError: the file is missing, damaged or of an unknown format, or intrinsics are required.

    Example:
        See :func:`.write_cameras`.
    """
    path, size = Path(path), check.size("size", size)
    found = _find_format(path)
    if found in _READERS:
        cameras = _READERS[found](path, size, integer_centers)
    else:
        cameras = read_tum(path) if found == "TUM" else read_posed_cameras(path, world2cam=world2cam)
        if intrinsics is None:
            raise DataError(
                f"{path}: expected intrinsics in addition, because the file contains poses only (--intrinsics or --fov)"
            )
    return cameras if intrinsics is None else with_intrinsics(cameras, intrinsics, size)


def has_poses_alone(path: Path) -> bool:
    """Return whether a camera file is a text of poses, which does not say by itself what its poses are."""
    return os.path.isfile(path) and _find_format(path) == "text of poses"


def _find_format(path: Path) -> Format:
    """Find out the format of a file or folder.

    Raises:
        DataError: there is no such file, or its format is unknown.
    """
    if os.path.isdir(path):  # False for a name that is too long
        if (path / "transforms.json").is_file():
            return "nerfstudio"
        if find_model(path) is None:
            raise DataError(f"{path}: expected a file of cameras, or a folder with a COLMAP model or transforms.json")
        return "COLMAP"
    if path.name in IMAGE_FILES:
        return "COLMAP"
    if is_npz(path):
        return "geometry.npz"
    text = read_text(path, "cameras")
    if text.lstrip().startswith("{"):
        keys = set(parse_json(text, f"{path}: ", "cameras"))
        if found := next((kind for key, kind in _KEYS.items() if key in keys), None):
            return found
        names = ", ".join(sorted(keys)[:8])[:200]
        raise DataError(f"{path}: expected JSON with {check.one_of(list(_KEYS))}, got {names!r}")
    if is_realestate10k(text):
        return "RealEstate10K"
    return "TUM" if is_tum(text) else "text of poses"
