# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of posed RGB-D frames, from which training samples are made."""

from __future__ import annotations

import glob
import random
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from ..cameras.intrinsics import with_intrinsics
from ..cameras.realestate10k import read_realestate10k, read_realestate10k_times
from ..data.procedural import Look, ProceduralScene
from ..depth import DepthEstimator, fit_pose_scale
from ..errors import DataError
from ..geometry.grids import resize_depth, usable_depth
from ..io.files import read_depth, read_image, read_text
from ..io.video_reader import VideoReader
from ..recordings import RecordedFrame, Recording, read_recording
from ..recordings.frames import SourceFrame, fit_frame, image_size
from ..recordings.vipe import vipe_names
from .clip_types import ClipSource, TrainingClip
from .photo_clips import PhotoClips

__all__ = ["ClipSource", "PhotoClips", "ProceduralClips", "RealEstateClips", "RecordingClips", "SourceOptions",
           "TrainingClip", "open_sources"]  # fmt: skip

PROCEDURAL, PHOTOS, REALESTATE10K, NIGHT = "procedural:", "photos:", "realestate10k:", ":night"
VIDEOS = (".mp4", ".webm", ".mkv", ".mov", ".avi")
MAX_SEEDS = 1 << 24
MAX_SECONDS = 1_000_000


class ProceduralClips:
    """Clips of procedural scenes, one for each seed; see :mod:`mirage.data.procedural`.

    Args:
        seeds: of the scenes.
        frames: of each clip.
        size: (H, W) of the frames.
        caption: of all clips; by default each scene's own.
        look: of the frames that are to be generated. With ``"night"``, what is remembered is by day in half of the
            clips, and the captions end with "at night".
    """

    def __init__(
        self, seeds: Sequence[int], frames: int, size: tuple[int, int], caption: str = "", look: Look = "day"
    ) -> None:
        self._seeds = {f"procedural-{seed:08d}": seed for seed in seeds}
        self.names, self.origin = list(self._seeds), "procedural scenes"
        self._frames, self._size, self._caption, self._look = frames, size, caption, look
        self.described = [self.origin, frames, list(size), caption, *([] if look == "day" else [look])]

    def read(self, name: str) -> TrainingClip:
        """Draw a clip."""
        seed = self._seeds[name]
        scene = ProceduralScene(seed, frames=self._frames)
        caption = self._caption or scene.caption
        clip = scene.clip(size=self._size)
        if self._look == "day":
            return TrainingClip(clip.frames, clip.depth, clip.cameras, clip.moving | clip.sky, caption)
        targets = ProceduralScene(seed, frames=self._frames, look=self._look).clip(size=self._size).frames
        remembered = clip.frames if random.Random(f"{seed}/{self._look}").random() < 0.5 else targets
        caption = self._caption or f"{caption} at {self._look}"
        return TrainingClip(remembered, clip.depth, clip.cameras, clip.moving | clip.sky, caption, targets)


class RecordingClips:
    """Clips of consecutive frames of a recording.

    Args:
        recording: the recording.
        frames: of each clip; the last one may be shorter.
        size: (H, W) that frames are scaled to.
        caption: of all clips.
        every: take one frame of this many.
        part: first and last frame to use; None uses all.
    """

    def __init__(
        self,
        recording: Recording,
        frames: int,
        size: tuple[int, int],
        caption: str = "",
        every: int = 1,
        part: tuple[int, int] | None = None,
    ) -> None:
        self.origin = f"{recording.kind}: {recording.path.name}" + (f", one frame of {every}" if every > 1 else "")
        first, last = (0, len(recording) - 1) if part is None else part
        if not 0 <= first <= last < len(recording):
            raise DataError(f"SOURCE: expected frames of 0 to {len(recording) - 1}, got {first}-{last}")
        self.origin += "" if part is None else f", frames {first} to {last}"
        self._end = last + 1
        self._recording, self._frames, self._size, self._caption = recording, frames, size, caption
        self._every = check.integer("every", every, 1)
        self.described = [self.origin, str(recording.path.resolve()), frames, list(size), caption]
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", recording.path.stem if recording.path.is_file() else recording.path.name)
        self._starts = {f"{stem}-{start:06d}": start for start in range(first, self._end, frames * every)}
        self.names = list(self._starts)

    def read(self, name: str) -> TrainingClip:
        """Read a clip.

        Raises:
            DataError: a frame is missing or damaged.
        """
        start = self._starts[name]
        numbers = range(start, min(start + self._frames * self._every, self._end), self._every)
        clip = stack_frames([self._recording.read(number, self._size) for number in numbers], self._caption)
        found = frame_numbers(self._recording.names)
        return clip._replace(numbers=tuple(found[number] for number in numbers))


class RealEstateClips:
    """Clips of RealEstate10K: a camera file each, the frames of a local video, and estimated depth.

    The video of ``NAME.txt`` is ``NAME`` or the video's name in its first line, with a suffix of a video; or a folder
    ``NAME`` with images that are named after their times in microseconds. A video that is shorter than the times of the
    file is taken to begin with the first of them. Depth is brought to the scale of the poses
    (:func:`mirage.depth.fit_pose_scale`). Depth maps ``TIME.npy`` (H, W) beside such images, in the unit of the poses,
    are taken as they are.

    Args:
        cameras: folder of the camera files, or one of them.
        videos: folder of the videos.
        estimator: estimates depth; None if all frames have depth maps.
        frames: of each clip; the last one of a file may be shorter.
        size: (H, W) that frames are scaled to.
        caption: of all clips.

    Raises:
        DataError: there are no camera files.
    """

    origin = "RealEstate10K"

    def __init__(
        self,
        cameras: Path,
        videos: Path,
        estimator: DepthEstimator | None,
        frames: int,
        size: tuple[int, int],
        caption: str = "",
    ) -> None:
        files = sorted(cameras.glob("*.txt")) if cameras.is_dir() else [cameras]
        if not files:
            raise DataError(f"{cameras}: expected camera files of RealEstate10K, got none")
        self._videos, self._estimator, self._frames, self._size = videos, estimator, frames, size
        self._caption = caption
        network = None if estimator is None else estimator.name
        self.described = [self.origin, str(cameras.resolve()), str(videos.resolve()), network, frames, caption]
        self._parts: dict[str, tuple[Path, int]] = {}
        for file in files:
            try:
                count = len(read_realestate10k_times(file))
            except DataError:  # it is refused when it is read
                count = 1
            self._parts |= {f"{file.stem}-{start:06d}": (file, start) for start in range(0, count, frames)}
        self.names = list(self._parts)

    def read(self, name: str) -> TrainingClip:
        """Read a clip and estimate its depth.

        Raises:
            DataError: the video is missing or damaged, or the scale of its poses cannot be found.
        """
        file, start = self._parts[name]
        part = slice(start, start + self._frames)
        read = self._read_images(file, part)
        other = next((image for image in read if image.shape != read[0].shape), None)
        if other is not None:
            raise DataError(f"{name}: expected images of one size, got {tuple(read[0].shape)} and {tuple(other.shape)}")
        size = image_size(read[0])
        full = read_realestate10k(file, size, rebased=False)[part]
        depths = self._read_depth(file, part, size)
        fitted = [
            fit_frame(SourceFrame(image, full.intrinsics[t].double(), full[t], depths[t]), self._size, crop=False)
            for t, image in enumerate(read)
        ]
        cut = torch.stack([source.image for source in fitted])
        cameras = with_intrinsics(full, torch.stack([source.intrinsics for source in fitted]), self._size)
        if fitted[0].depth is not None:
            depth = torch.stack([source.depth for source in fitted if source.depth is not None])
        else:
            assert self._estimator is not None
            estimate = self._estimator(cut.movedim(1, 0), cameras)
            depth = torch.where(estimate.valid, estimate.depth, 0)
            depth = depth * fit_pose_scale(cut, depth, cameras)
        return TrainingClip((cut * 255).round().to(torch.uint8), depth, cameras, None, self._caption)

    def files(self, name: str) -> list[Path]:
        """What a clip is read from: its camera file, and its video or folder of images, where there is one."""
        file, _ = self._parts[name]
        folder = self._videos / file.stem
        if folder.is_dir():
            return [file, folder]
        with suppress(DataError):
            return [file, self._find_video(file)]
        return [file]

    def _read_images(self, file: Path, part: slice) -> list[Tensor]:
        times = read_realestate10k_times(file)
        wrong = [time for time in times if not 0 <= time < MAX_SECONDS]
        if wrong:
            raise DataError(f"{file}: expected times from 0 to {MAX_SECONDS} s, got {wrong[0]:g} s")
        if (folder := self._videos / file.stem).is_dir():
            return [read_image(_image_at(folder, time)) for time in times[part]]
        video = VideoReader(self._find_video(file))
        try:
            video.frame_at(times[-1])
            first = 0.0
        except DataError:
            first = times[0]
        return [video.frame_at(time - first).image for time in times[part]]

    def _read_depth(self, file: Path, part: slice, size: tuple[int, int]) -> list[Tensor | None]:
        """The depth maps beside the frames, at the size of those; None for all, if there are none."""
        paths = [self._videos / file.stem / f"{round(t * 1e6)}.npy" for t in read_realestate10k_times(file)[part]]
        missing = [path for path in paths if not path.exists()]
        if len(missing) < len(paths):
            if missing:
                raise DataError(f"{missing[0]}: expected a depth map, as other frames have, got none")
            return [resize_depth(usable_depth(read_depth(path, scale=1.0))[None], size)[0] for path in paths]
        if self._estimator is None:
            raise DataError(f"{file.stem}: expected --depth-model, or depth maps such as {paths[0]}, got neither")
        return [None] * len(paths)

    def _find_video(self, file: Path) -> Path:
        url = read_text(file, "RealEstate10K cameras").partition("\n")[0].strip()
        stems = [file.stem, re.split(r"[=/]", url)[-1]]
        for stem in filter(None, stems):
            found = [path for path in sorted(self._videos.glob(f"{glob.escape(stem)}.*")) if path.suffix in VIDEOS]
            if found:
                return found[0]
        raise DataError(f"{self._videos}: expected a video named {' or '.join(filter(None, stems))}, got none")


def _image_at(folder: Path, seconds: float) -> Path:
    """The image of a time, in microseconds."""
    found = sorted(path for path in folder.glob(f"{round(seconds * 1e6)}.*") if path.suffix != ".npy")
    if not found:
        raise DataError(f"{folder}: expected an image named {round(seconds * 1e6)}, got none")
    return found[0]


def frame_numbers(names: Sequence[str]) -> list[int]:
    """The numbers at the ends of the names of frames, if all have one and they ascend; else 0 and so on.

    Example:
        >>> frame_numbers(["frame_003.png", "frame_007.png"]), frame_numbers(["b", "a"])
        ([3, 7], [0, 1])
    """
    found = [re.search(r"([0-9]{1,9})(?:\.[A-Za-z]+)?$", name) for name in names]
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) == len(names) and all(a < b for a, b in pairwise(numbers)):
        return numbers
    return list(range(len(names)))


def stack_frames(frames: Sequence[RecordedFrame], caption: str) -> TrainingClip:
    """Make a clip of frames of one size.

    Args:
        frames: the frames.
        caption: describes them.
    """
    exclude = None
    if any(frame.exclude is not None for frame in frames):
        nowhere = torch.zeros(frames[0].depth.shape, dtype=torch.bool, device="cpu")
        exclude = torch.stack([nowhere if frame.exclude is None else frame.exclude for frame in frames])
    return TrainingClip(
        torch.stack([(frame.image * 255).round().to(torch.uint8) for frame in frames]),
        torch.stack([frame.depth for frame in frames]),
        Cameras.cat([frame.camera for frame in frames]),
        exclude,
        caption,
    )


class SourceOptions(NamedTuple):
    """How clips are read.

    Attributes:
        frames: of each clip.
        size: (H, W) of the frames.
        caption: of all clips; empty for that of the source, if it has one.
        videos: folder of the videos of RealEstate10K.
        estimator: estimates depth where a source has none.
        every: take one frame of this many of a recording.
    """

    frames: int
    size: tuple[int, int]
    caption: str = ""
    videos: Path | None = None
    estimator: DepthEstimator | None = None
    every: int = 1


def open_sources(text: str, options: SourceOptions) -> list[ClipSource]:
    """Open sources of clips.

    Args:
        text: ``procedural:FIRST-LAST`` for the scenes of these seeds, ``procedural:FIRST-LAST:night`` to train a look
            by night; ``photos:FIRST-LAST`` for a camera that moves in front of photographs; ``realestate10k:PATH`` for
            camera files; or the folder or file of a recording, as :func:`mirage.recordings.read_recording` takes it,
            with ``@FIRST-LAST`` for some of its frames, or of the results of ViPE for several videos.
        options: how they are read.

    Raises:
        DataError: there is no such source, or it needs videos or a depth network.
    """
    frames, size = check.integer("frames", options.frames, 1), check.size("size", options.size)
    if text.startswith(PROCEDURAL):
        look: Look = "night" if text.endswith(NIGHT) else "day"
        return [ProceduralClips(parse_seeds(text.removesuffix(NIGHT)), frames, size, options.caption, look)]
    if text.startswith(PHOTOS):
        return [PhotoClips(parse_seeds(text.removeprefix(PHOTOS)), frames, size, options.caption)]
    if text.startswith(REALESTATE10K):
        if options.videos is None or (options.estimator is None and not any(options.videos.glob("*/*.npy"))):
            raise DataError(f"{text}: expected --videos FOLDER and --depth-model FOLDER for RealEstate10K, got none")
        path = Path(text.removeprefix(REALESTATE10K))
        return [RealEstateClips(path, options.videos, options.estimator, frames, size, options.caption)]
    path, part = parse_part_of_recording(text)
    names = vipe_names(path) if path.is_dir() else []
    paths = [path / "rgb" / f"{name}.mp4" for name in names] or [path]
    return [RecordingClips(read_recording(path), frames, size, options.caption, options.every, part) for path in paths]


def parse_part_of_recording(text: str) -> tuple[Path, tuple[int, int] | None]:
    """Parse the path of a recording, which may name frames.

    Returns:
        The path, and first and last frame; None for all frames.

    Example:
        >>> parse_part_of_recording("kitchen@0-36"), parse_part_of_recording("kitchen")
        ((PosixPath('kitchen'), (0, 36)), (PosixPath('kitchen'), None))
    """
    match = re.fullmatch(r"(.+)@([0-9]{1,9})-([0-9]{1,9})", text)
    if match is None or Path(text).exists():
        return Path(text), None
    return Path(match[1]), (int(match[2]), int(match[3]))


def parse_seeds(text: str) -> range:
    """Parse the seeds of ``procedural:SEED`` or ``procedural:FIRST-LAST``.

    Raises:
        DataError: the text is neither, or names too many.

    Example:
        >>> parse_seeds("procedural:0-49")
        range(0, 50)
    """
    match = re.fullmatch(r"([0-9]{1,18})(?:-([0-9]{1,18}))?", text.removeprefix(PROCEDURAL))
    first, last = (0, -1) if match is None else (int(match[1]), int(match[2] or match[1]))
    if not first <= last < first + MAX_SEEDS:
        raise DataError(
            f"SOURCE: expected procedural:FIRST-LAST with at most {MAX_SEEDS} seeds (and :night), got {text[:60]!r}"
        )
    return range(first, last + 1)
