# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading a recording of any supported layout, which is recognized by its content."""

from __future__ import annotations

import math
from pathlib import Path

from ..cameras.colmap_files import find_model
from ..data.geometry import is_npz
from ..errors import DataError, check_file
from ..io.listings import IMAGE_SUFFIXES, list_files
from .colmap import ColmapRecording
from .frames import ReadOptions, Recording
from .geometry_file import GeometryRecording
from .nerfstudio import NerfstudioRecording
from .posed_folder import DEPTH_FOLDERS, IMAGE_FOLDERS, POSE_FILES, PosedFolder, find
from .tum import TumRecording
from .vipe import VipeRecording, vipe_names

LAYOUTS = (
    "images/, depth/, poses.txt and K.txt; rgb.txt, depth.txt and groundtruth.txt (TUM); transforms.json (nerfstudio); "
    "sparse/0/ (COLMAP); rgb/, depth/, pose/ and intrinsics/ (ViPE); or geometry.npz"
)
SHOWN = 6  # entries of an unknown folder that an error lists


def read_recording(
    path: str | Path,
    *,
    intrinsics: str | Path | None = None,
    integer_centers: bool | None = None,
    depth_scale: float | None = None,
) -> Recording:
    """Open a recording: a sequence of posed RGB-D frames.

    The layout is recognized by its content. Supported are

    * folders with images, depth maps and poses (:class:`.posed_folder.PosedFolder`);
    * the TUM RGB-D benchmark (:class:`.tum.TumRecording`);
    * nerfstudio's ``transforms.json`` with depth (:class:`.nerfstudio.NerfstudioRecording`);
    * COLMAP's sparse models (:class:`.colmap.ColmapRecording`);
    * ``geometry.npz`` with images (:class:`.geometry_file.GeometryRecording`);
    * results of ViPE (:class:`.vipe.VipeRecording`): their folder, or ``rgb/NAME.mp4`` in it if they are of several
      videos.

    Frames are read when they are requested, one at a time, so that a long recording needs no more memory than a short
    one.

    Args:
        path: folder or file of the recording.
        intrinsics: file with the intrinsics of all frames (see :func:`mirage.cameras.read_intrinsics`), used instead of
            the recording's.
        integer_centers: whether pixel centers have integer coordinates in the calibration. By default, what is usual in
            the layout: they have in folders and TUM recordings, and not in the others.
        depth_scale: meters per unit of the values in the depth maps. By default, what the layout states: 0.001 for
            integers, 1 for floats, 0.0002 for TUM, and what ``transforms.json`` says.

    Returns:
        The recording. ``recording[n]`` reads one frame, ``recording.read(n, size)`` scales it, ``recording.notes`` says
        how the recording is read.

    Raises:
        DataError: the path is missing or no recording (the message says what was looked for and found), or the
            recording is incomplete.

    Example:
        Write a recording of two frames, and read it:

        >>> import tempfile, numpy as np, torch
        >>> from mirage.io.images import write_image
        >>> with tempfile.TemporaryDirectory() as name:
        ...     folder = Path(name)
        ...     for part in ("images", "depth"):
        ...         (folder / part).mkdir()
        ...     for number in range(2):
        ...         write_image(folder / "images" / f"{number}.png", torch.rand(3, 48, 64))
        ...         np.save(folder / "depth" / f"{number}.npy", np.full((48, 64), 2.0))
        ...     _ = (folder / "poses.txt").write_text("0 0 0 0 0 0 1\\n0.1 0 0 0 0 0 1\\n")
        ...     _ = (folder / "K.txt").write_text("60 60 31.5 23.5")
        ...     recording = read_recording(folder)
        ...     frame = recording[1]
        >>> len(recording), recording.kind, frame.name, frame.image.shape
        (2, 'images, depth and poses', '1.png', torch.Size([3, 48, 64]))
        >>> frame.depth.max().item(), frame.camera.centers[0, 0].item(), frame.camera.intrinsics[0, 0, 2].item()
        (2.0, 0.10000000149011612, 32.0)
    """
    path = Path(path)
    if depth_scale is not None and not 0 < depth_scale < math.inf:
        raise DataError(f"--depth-scale: expected a number above 0, got {depth_scale:g}")
    options = ReadOptions(None if intrinsics is None else Path(intrinsics), integer_centers, depth_scale)
    if not path.exists():
        raise DataError(f"{path}: no such recording")
    return _open_folder(path, options) if path.is_dir() else _open_file(path, options)


def _open_file(path: Path, options: ReadOptions) -> Recording:
    check_file(path, "a recording")
    if is_npz(path):
        return GeometryRecording(path, options)
    if path.suffix.lower() == ".json":
        return NerfstudioRecording(path, options)
    if path.stem in vipe_names(path.parent.parent):
        return VipeRecording(path.parent.parent, path.stem, options)
    raise DataError(f"{path}: expected a recording (a folder, transforms.json or geometry.npz), got another file")


def _open_folder(folder: Path, options: ReadOptions) -> Recording:
    if (folder / "transforms.json").is_file():
        return NerfstudioRecording(folder / "transforms.json", options)
    if (folder / "rgb.txt").is_file():
        return TumRecording(folder, options)
    if names := vipe_names(folder):
        if len(names) > 1:
            raise DataError(f"{folder}: expected one clip, got {len(names)}; name it: {folder / 'rgb' / names[0]}.mp4")
        return VipeRecording(folder, names[0], options)
    if find(folder, POSE_FILES) and find(folder, IMAGE_FOLDERS):
        return PosedFolder(folder, options)
    if (folder / "geometry.npz").is_file():
        return GeometryRecording(folder / "geometry.npz", options)
    if find_model(folder):
        return ColmapRecording(folder, options)
    raise DataError(f"{folder}: expected a recording ({LAYOUTS}), got {_describe(folder)}")


def _describe(folder: Path) -> str:
    """What is in a folder that is no recording."""
    images = find(folder, IMAGE_FOLDERS) or folder
    count = len(list_files(images, IMAGE_SUFFIXES))
    if count:
        where = "" if images == folder else f" in {images.name}/"
        missing = "camera poses" if find(folder, DEPTH_FOLDERS) else "depth maps and camera poses"
        return f"{count} images{where} without {missing}; COLMAP can compute poses"
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return shown or "an empty folder"
