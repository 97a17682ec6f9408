# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The data set of the WorldScore benchmark (Duan et al. 2025), and the folders that its scorer reads.

The data set has two JSON lists, ``static/static.json`` and ``dynamic/dynamic.json``, with an object for each sample;
its ``image`` is relative to the folder of the data set. A result of a still scene is the folder
``worldscore_output/static/<style>/<scene type>/<category>/<name>`` with ``frames/000.png`` and so on,
``camera_data.json``, ``image_data.json`` and ``input_image.png``. A result with moving objects is
``worldscore_output/dynamic/<style>/<motion type>/<name>`` with the same but the cameras, which stand still; the objects
are white in the sample's ``masks``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mirage_kernels import Cameras, atomic_write

from ..cameras import WORLDSCORE_MOVES, write_worldscore
from ..errors import DataError
from ..io.files import read_json
from ..io.images import to_pil, write_image
from ..io.photos import open_image
from .sample_results import differing_names

OUTPUT = "worldscore_output"
MAX_TEXT = 60  # characters of a value that an error repeats
SETTINGS = "mirage.json"  # of the results; the scorer does not look at it
_SPLITS = ("static", "dynamic")
_SINGLE = ("1", "L", "P", "I", "F", "I;16")  # modes of images with one value a pixel
_NAME = re.compile(r"\w[\w.&' -]{0,99}")


class WorldScoreSample(NamedTuple):
    """A sample of the data set.

    Attributes:
        image: path of the image, relative to the folder of the data set.
        moves: names among :data:`mirage.cameras.WORLDSCORE_MOVES`.
        prompts: with the style, one per move.
        folder: of the result, relative to ``worldscore_output``.
        entry: the object of the data set.
        masks: of moving objects, relative to the folder of the data set; none for a still scene.
    """

    image: Path
    moves: list[str]
    prompts: list[str]
    folder: Path
    entry: dict[str, Any]
    masks: list[Path]

    def total_frames(self, frames: int) -> int:
        """Number of frames of the result.

        Args:
            frames: per move, including its first and last.
        """
        return len(self.moves) * (frames - 1) + 1


def read_worldscore_dataset(path: str | Path) -> list[WorldScoreSample]:
    """Read the samples of a file, or of all files of the data set.

    Args:
        path: a file such as ``static/static.json``, or the folder of the data set.

    Raises:
        DataError: the file is missing or damaged, or an entry has not the form of a sample; the error names it.
    """
    path = Path(path)
    files = [path]
    if path.is_dir():
        files = [file for file in (path / f"{split}/{split}.json" for split in _SPLITS) if file.is_file()]
        if not files:
            expected = " or ".join(f"{split}/{split}.json" for split in _SPLITS)
            raise DataError(f"{path}: expected {expected} in the folder of a data set of WorldScore, got neither")
    samples = [sample for file in files for sample in _read_samples(file)]
    folders = Counter(sample.folder for sample in samples)
    twice = next((folder for folder, count in folders.items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{path}: expected samples of different names, got {twice} twice")
    return samples


def _read_samples(path: Path) -> Iterator[WorldScoreSample]:
    entries = read_json(path, "a data set of WorldScore")
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list of samples, got {type(entries).__name__}")
    for number, entry in enumerate(entries):
        where = f"{path}: entry {number}"
        if not isinstance(entry, dict):
            raise DataError(f"{where}: expected an object, got {type(entry).__name__}")
        yield _Entry(entry, where).parse()


class _Entry(NamedTuple):
    """An object of the data set, and where it stands, for errors."""

    values: dict[str, Any]
    where: str

    def parse(self) -> WorldScoreSample:
        split = self._text("visual_movement")
        if split not in _SPLITS:
            raise DataError(f"{self.where}: visual_movement: expected {' or '.join(_SPLITS)}, got {split[:MAX_TEXT]}")
        image = self._path("image", self._text("image"))
        if len(image.parts) < 2:
            raise DataError(f"{self.where}: image: expected a path in the data set, got {str(image)[:MAX_TEXT]}")
        moves = self._texts("camera_path")
        for move in moves:
            if move not in WORLDSCORE_MOVES:
                raise DataError(
                    f"{self.where}: camera_path: expected moves among {', '.join(WORLDSCORE_MOVES)}, "
                    f"got {move[:MAX_TEXT]!r}"
                )
        name = image.name.split(".")[0]
        if split == "static":
            prompts, masks = self._texts("prompt_list"), list[Path]()
            folder = self._folder(split, "scene_type", image.parts[-2], name)
            # The first prompt describes the image; the others what each move shows.
            prompts = [prompts[min(number + 1, len(prompts) - 1)] for number in range(len(moves))]
        else:
            prompts = [self._text("prompt")] * len(moves)
            masks = [self._path("masks", mask) for mask in self._texts("masks")]
            folder = self._folder(split, "motion_type", name)
        style = self._text("style")
        with_style = [f"{prompt}{'' if prompt.endswith('.') else '.'} {style}" for prompt in prompts]
        return WorldScoreSample(image, moves, with_style, folder, self.values, masks)

    def _text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str):
            raise DataError(f"{self.where}: {name}: expected a text, got {str(value)[:MAX_TEXT]}")
        return value

    def _texts(self, name: str) -> list[str]:
        value = self.values.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise DataError(f"{self.where}: {name}: expected a list of texts, got {str(value)[:MAX_TEXT]}")
        return value

    def _path(self, name: str, text: str) -> Path:
        path = Path(text)
        if not path.name or path.is_absolute() or ".." in path.parts:
            raise DataError(f"{self.where}: {name}: expected a path in the data set, got {text[:MAX_TEXT]}")
        return path

    def _folder(self, split: str, kind: str, *names: str) -> Path:
        parts = [split, self._text("visual_style"), self._text(kind), *names]
        for part in parts:
            if not _NAME.fullmatch(part):
                raise DataError(f"{self.where}: expected names of folders, got {part[:MAX_TEXT]!r}")
        return Path(*parts)


def read_object_mask(path: Path) -> Tensor:
    """Read a mask of objects as the scorer does: an object is where a value is not 0; transparency does not count.

    Args:
        path: an image; of one with a palette, the numbers of the colors count.

    Returns:
        (H, W) bool.

    Raises:
        DataError: the file is missing, damaged or not an image.
    """
    with open_image(path, "a mask") as image:
        values = np.asarray(image if image.mode in _SINGLE else image.convert("L" if image.mode == "LA" else "RGB"))
    objects = torch.from_numpy(values != 0)
    return objects.any(-1) if objects.ndim == 3 else objects


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Check that the results of a folder have these settings, if there are results.

    Args:
        path: JSON file.
        settings: JSON values.

    Raises:
        DataError: results of other settings are there.
    """
    if not path.exists():
        return
    found = read_json(path, "the settings of the results")
    stored = found if isinstance(found, dict) else {}
    if names := differing_names(stored, settings):
        raise DataError(f"{path}: expected results of these settings, got some of other {', '.join(names)}; use "
                        "another --out")  # fmt: skip


def keep_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write the settings of the results of a folder, or check that they are these.

    Args:
        path: JSON file.
        settings: JSON values.

    Raises:
        DataError: results of other settings are there.
    """
    check_settings(path, settings)
    if path.exists():
        return
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")


def is_finished(folder: Path, total_frames: int) -> bool:
    """Whether the folder of a result is there.

    Args:
        folder: the result of a sample.
        total_frames: the number of frames that it should have.

    Raises:
        DataError: it has another number of frames, or is damaged.
    """
    if not folder.exists():
        return False
    try:
        data = read_json(folder / "image_data.json", "a result of WorldScore")
    except DataError as error:
        raise DataError(f"{error}; remove {folder} to generate it again") from None
    expected = data.get("total_frames") if isinstance(data, dict) else None
    if expected != total_frames:
        raise DataError(
            f"{folder}: expected a result of {total_frames} frames, got one of {expected}; use another --out"
        )
    count = sum(path.suffix == ".png" for path in (folder / "frames").glob("*"))
    if count != total_frames:
        raise DataError(f"{folder}: expected {total_frames} images in frames, got {count}; remove {folder} to generate "
                        "it again")  # fmt: skip
    return True


class ResultWriter:
    """Writes the files of a result.

    Args:
        folder: an empty folder.
        sample: the sample.
        frames: per move.
    """

    def __init__(self, folder: Path, sample: WorldScoreSample, frames: int) -> None:
        self._folder, self._sample, self._frames = folder, sample, frames
        self._total, self._count = sample.total_frames(frames), 0
        (folder / "frames").mkdir()

    def start(self, image: Tensor, cameras: Cameras, speed: float) -> None:
        """Write all but the frames.

        Args:
            image: (3, H, W), values 0 to 1, at the size of the frames.
            cameras: of all frames.
            speed: see :func:`mirage.cameras.worldscore_path`.
        """
        moves = len(self._sample.moves)
        numbers: dict[str, int | list[int]] = {"num_scenes": moves, "total_frames": self._total}
        if not self._sample.masks:
            numbers["anchor_frame_idx"] = [number * (self._frames - 1) for number in range(moves + 1)]
            write_worldscore(self._folder / "camera_data.json", cameras, self._frames, speed=speed)
        write_image(self._folder / "input_image.png", image)
        text = json.dumps(self._sample.entry | numbers, indent=4)
        (self._folder / "image_data.json").write_text(text + "\n")

    def add(self, frames: Tensor) -> None:
        """Write the next frames (3, F, H, W), values 0 to 1."""
        digits = max(3, len(str(self._total - 1)))  # the scorer sorts by name
        for frame in frames.unbind(1):
            picture: Image.Image = to_pil(frame.detach().float())
            picture.save(self._folder / "frames" / f"{self._count:0{digits}}.png")
            self._count += 1


@contextmanager
def write_result(folder: Path, sample: WorldScoreSample, frames: int) -> Iterator[ResultWriter]:
    """Write a result to a hidden folder, which gets its name when the block ends: it appears as a whole or not at all.

    Args:
        folder: of the result, which must not exist. What a killed process has left of it is removed.
        sample: the sample.
        frames: per move.

    Raises:
        OSError: a file cannot be written.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield ResultWriter(partial, sample, frames)
        if hasattr(os, "sync"):  # once, instead of for each of the files
            os.sync()
        partial.rename(folder)
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(partial)
