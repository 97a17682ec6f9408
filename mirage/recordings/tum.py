# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings in the layout of the TUM RGB-D benchmark (Sturm et al. 2012)."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

from torch import Tensor

from ..cameras.tum import cameras_of, read_trajectory
from ..errors import DataError
from ..io.files import read_depth
from ..io.listings import read_numbers, read_rows
from .frames import ReadOptions, Recording, SourceFrame, image_size, read_pixels
from .posed_folder import fixed_intrinsics

MAX_SECONDS = 0.02  # largest difference of times that belong together, as in the benchmark's associate.py
DEPTH_UNIT = 5000.0  # of the 16-bit PNG: 5000 is one meter
# The benchmark recommends the default calibration of ROS for all of its cameras, because depth is registered with it.
SIZE, INTRINSICS = (480, 640), (525.0, 525.0, 319.5, 239.5)


class TumRecording(Recording):
    """``rgb.txt`` and ``depth.txt`` (time and file name per line) and ``groundtruth.txt`` (time, tx ty tz qx qy qz qw).

    Every image takes the depth map and the pose that are nearest in time, at most 0.02 s away. Depth is in units of
    0.2 mm. Without a calibration from the caller, the one that the benchmark recommends for 640x480 is used.
    """

    kind = "TUM RGB-D"
    integer_centers = True

    def __init__(self, folder: Path, options: ReadOptions) -> None:
        for name in ("depth.txt", "groundtruth.txt"):
            if not (folder / name).is_file():
                raise DataError(f"{folder}: expected rgb.txt, depth.txt and groundtruth.txt, got no {name}")
        self._images, self._depths = _read_list(folder / "rgb.txt"), _read_list(folder / "depth.txt")
        self._poses = sorted(read_trajectory(folder / "groundtruth.txt"))
        self._depth_times = [time for time, _ in self._depths]
        self._pose_times = [values[0] for values in self._poses]
        super().__init__(folder, [name for _, name in self._images], options)
        if options.intrinsics is None:
            numbers = " ".join(f"{value:g}" for value in INTRINSICS)
            self.notes.append(f"{folder}: using the intrinsics that the benchmark recommends, {numbers}; for others "
                              "pass --intrinsics")  # fmt: skip

    def _read(self, number: int) -> SourceFrame:
        time, name = self._images[number]
        _, depth_name = self._depths[_nearest(self._depth_times, time, "depth map")]
        pose = cameras_of([self._poses[_nearest(self._pose_times, time, "pose")][1:]])
        image = read_pixels(self.path / name)
        scale = self.options.depth_scale
        depth = read_depth(self.path / depth_name, scale=1 / DEPTH_UNIT if scale is None else scale)
        return SourceFrame(image, self._find_intrinsics(image_size(image)), pose, depth)

    def _find_intrinsics(self, size: tuple[int, int]) -> Tensor:
        given = self._given_intrinsics(size)
        return fixed_intrinsics(INTRINSICS, SIZE, size, self.has_integer_centers) if given is None else given


def _read_list(path: Path) -> list[tuple[float, str]]:
    """Time and file name per line, in order of time."""
    rows = read_rows(path, "a time and a file name per line")
    for number, words in rows:
        if len(words) != 2:
            raise DataError(f"{path}:{number}: expected a time and a file name, got {' '.join(words)[:60]!r}")
    return sorted((read_numbers(path, number, words[:1])[0], words[1]) for number, words in rows)


def _nearest(times: list[float], time: float, what: str) -> int:
    """Index of the nearest of sorted times.

    Raises:
        DataError: it is too far away.
    """
    at = bisect_left(times, time)
    best = min(range(max(at - 1, 0), min(at + 1, len(times))), key=lambda n: abs(times[n] - time))
    seconds = abs(times[best] - time)
    if seconds > MAX_SECONDS:
        raise DataError(f"{what}: expected one within {MAX_SECONDS} s of the image, got {seconds:.3g} s")
    return best
