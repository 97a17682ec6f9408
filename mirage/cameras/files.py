# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras from a file of any kind that is known, told apart by what is in it."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from mirage_kernels import Cameras

from ..data.geometry import is_npz, read_geometry
from ..errors import DataError
from ..io.files import read_text
from .formats import read_cameras_json, read_poses
from .realestate10k import is_realestate10k, read_realestate10k
from .worldscore import read_worldscore


def read_cameras(
    path: str | Path,
    size: tuple[int, int],
    *,
    intrinsics: Tensor | None = None,
    world2cam: bool = True,
    integer_centres: bool = False,
) -> Cameras:
    """Cameras over pictures of ``size`` (H, W) from any of these, with the poses that the file has:

    * a RealEstate10K camera file (:func:`.read_realestate10k`);
    * a ``geometry.npz`` (:func:`mirage.data.geometry.read_geometry`);
    * WorldScore's ``camera_data.json`` (:func:`.read_worldscore`);
    * a ``cameras.json`` of an earlier walk (:func:`.write_cameras`);
    * a text of poses, one a line (:func:`.read_poses`).

    Args:
        path: the file.
        size: of the pictures; intrinsics of pictures of another size are rescaled.
        intrinsics: (3, 3) or (F, 3, 3), in pixels of ``size``: taken instead of the file's, needed where it has none.
        world2cam: what a text of poses holds; other files say it themselves.
        integer_centres: a ``geometry.npz`` puts pixel centres on integers; the others have no such habit.

    Raises:
        DataError: naming the file.
    """
    cameras = _read(Path(path), size, world2cam, integer_centres)
    if isinstance(cameras, Tensor):
        if intrinsics is None:
            raise DataError(f"{path}: expected intrinsics beside it, because it holds poses only")
        return Cameras(intrinsics, cameras, size)
    return cameras if intrinsics is None else Cameras(intrinsics, cameras.cam2world.cpu(), size)


def _read(path: Path, size: tuple[int, int], world2cam: bool, integer_centres: bool) -> Cameras | Tensor:
    """Cameras, or poses (F, 4, 4) where the file has no intrinsics."""
    if path.is_file() and is_npz(path):
        return read_geometry(path, integer_centres=integer_centres).cameras.rescale(size)
    text = read_text(path, "cameras")
    if text.lstrip().startswith("{"):
        try:
            keys = set(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: expected cameras, got JSON that is damaged ({error})") from None
        if "cam2world" in keys:
            return read_cameras_json(path, size)
        if "cameras_interp" in keys:
            return read_worldscore(path, size, rebased=False)
        raise DataError(f"{path}: expected JSON with cam2world or cameras_interp, got {', '.join(sorted(keys)[:8])!r}")
    if is_realestate10k(text):
        return read_realestate10k(path, size, rebased=False)
    return read_poses(path, world2cam=world2cam)
