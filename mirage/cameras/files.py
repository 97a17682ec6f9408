# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading cameras from a file of any supported format, which is detected from the content."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from mirage_kernels import Cameras, check

from ..data.geometry import is_npz, read_geometry
from ..errors import DataError
from ..io.files import parse_json, read_text
from .formats import read_cameras_json, read_poses
from .realestate10k import is_realestate10k, read_realestate10k
from .worldscore import read_worldscore


def read_cameras(
    path: str | Path,
    size: tuple[int, int],
    *,
    intrinsics: Tensor | None = None,
    world2cam: bool = True,
    integer_centers: bool = False,
) -> Cameras:
    """Read cameras from a file.

    The format is detected from the content. Supported are

    * RealEstate10K camera files (:func:`.read_realestate10k`);
    * ``geometry.npz`` (:func:`mirage.data.geometry.read_geometry`);
    * WorldScore's ``camera_data.json`` (:func:`.read_worldscore`);
    * ``cameras.json`` of an earlier rollout (:func:`.write_cameras`);
    * text files with one pose per line (:func:`.read_poses`).

    Args:
        path: the file.
        size: size (H, W) of the images; intrinsics of another size are rescaled.
        intrinsics: (3, 3) or (F, 3, 3) in pixels of ``size``, used instead of the file's; required for text files of
            poses.
        world2cam: whether a text file contains world-to-camera poses, rather than camera-to-world poses. Other formats
            define this.
        integer_centers: whether pixel centers have integer coordinates in a ``geometry.npz``.

    Returns:
        Cameras over (H, W), with the poses of the file.

    Raises:
        DataError: the file is missing, damaged or of an unknown format, or intrinsics are required.

    Example:
        See :func:`.write_cameras`.
    """
    size = check.size("size", size)
    cameras = _read(Path(path), size, world2cam, integer_centers)
    if isinstance(cameras, Tensor):
        if intrinsics is None:
            raise DataError(
                f"{path}: expected intrinsics in addition, because the file contains poses only (--intrinsics or --fov)"
            )
        return Cameras(intrinsics, cameras, size)
    return cameras if intrinsics is None else Cameras(intrinsics, cameras.cam2world.cpu(), size)


def has_poses_alone(path: Path) -> bool:
    """Return whether a camera file is a text of poses, which does not say by itself what its poses are."""
    if not path.is_file() or is_npz(path):
        return False
    text = read_text(path, "cameras")
    return not text.lstrip().startswith("{") and not is_realestate10k(text)


def _read(path: Path, size: tuple[int, int], world2cam: bool, integer_centers: bool) -> Cameras | Tensor:
    """Read cameras, or poses (F, 4, 4) from a file without intrinsics."""
    if path.is_file() and is_npz(path):
        return read_geometry(path, integer_centers=integer_centers).cameras.rescale(size)
    text = read_text(path, "cameras")
    if text.lstrip().startswith("{"):
        keys = set(parse_json(text, f"{path}: ", "cameras"))
        if "cam2world" in keys:
            return read_cameras_json(path, size)
        if "cameras_interp" in keys:
            return read_worldscore(path, size, rebased=False)
        raise DataError(
            f"{path}: expected JSON with cam2world or cameras_interp, got {', '.join(sorted(keys)[:8])[:200]!r}"
        )
    if is_realestate10k(text):
        return read_realestate10k(path, size, rebased=False)
    return read_poses(path, world2cam=world2cam)
