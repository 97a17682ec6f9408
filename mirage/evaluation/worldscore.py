# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The data set of the WorldScore benchmark (Duan et al. 2025), and the folders that its scorer reads.

The data set is a JSON list with an object for each sample; its ``image`` is relative to the folder of the data set. A
result is the folder ``worldscore_output/static/<style>/<scene type>/<category>/<name>`` with ``frames/000.png`` and so
on, ``camera_data.json``, ``image_data.json`` and ``input_image.png``. Samples of moving objects (``dynamic``) have no
cameras; they are left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from torch import Tensor

from mirage_kernels import Cameras

from ..cameras import WORLDSCORE_MOVES, write_worldscore
from ..errors import DataError
from ..io.files import read_json
from ..io.images import to_pil, write_image

OUTPUT = "worldscore_output"
MAX_TEXT = 60  # characters of a value that an error repeats
_NAME = re.compile(r"\w[\w.&' -]{0,99}")


class WorldScoreSample(NamedTuple):
    """A sample of the data set.

    Attributes:
        image: path of the image, relative to the folder of the data set.
        moves: names among :data:`mirage.cameras.WORLDSCORE_MOVES`.
        prompts: with the style, one per move.
        folder: of the result, relative to ``worldscore_output``.
        entry: the object of the data set.
    """

    image: Path
    moves: list[str]
    prompts: list[str]
    folder: Path
    entry: dict[str, Any]

    def total_frames(self, frames: int) -> int:
        """Number of frames of the result.

        Args:
            frames: per move, including its first and last.
        """
        return len(self.moves) * (frames - 1) + 1


def read_worldscore_dataset(path: str | Path) -> tuple[list[WorldScoreSample], int]:
    """Read the samples of still scenes.

    Args:
        path: the file, such as ``static/static.json`` of the data set.

    Returns:
        The samples, and the number of samples with moving objects, which are left out.

    Raises:
        DataError: the file is missing or damaged, or an entry has not the form of a sample; the error names it.
    """
    path = Path(path)
    entries = read_json(path, "a data set of WorldScore")
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list of samples, got {type(entries).__name__}")
    samples, dynamic = [], 0
    for number, entry in enumerate(entries):
        where = f"{path}: entry {number}"
        if not isinstance(entry, dict):
            raise DataError(f"{where}: expected an object, got {type(entry).__name__}")
        if entry.get("visual_movement") == "dynamic":
            dynamic += 1
        else:
            samples.append(_parse_sample(entry, where))
    folders = [sample.folder for sample in samples]
    if len(set(folders)) < len(folders):
        twice = next(folder for folder in folders if folders.count(folder) > 1)
        raise DataError(f"{path}: expected samples of different names, got {twice} twice")
    return samples, dynamic


def _parse_sample(entry: dict[str, Any], where: str) -> WorldScoreSample:
    def text(name: str) -> str:
        value = entry.get(name)
        if not isinstance(value, str):
            raise DataError(f"{where}: {name}: expected a text, got {str(value)[:MAX_TEXT]}")
        return value

    def texts(name: str) -> list[str]:
        value = entry.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise DataError(f"{where}: {name}: expected a list of texts, got {str(value)[:MAX_TEXT]}")
        return value

    if text("visual_movement") != "static":
        raise DataError(
            f"{where}: visual_movement: expected static or dynamic, got {text('visual_movement')[:MAX_TEXT]}"
        )
    image = Path(text("image"))
    if len(image.parts) < 2 or image.is_absolute() or ".." in image.parts:
        raise DataError(f"{where}: image: expected a path in the data set, got {str(image)[:MAX_TEXT]}")
    parts = ["static", text("visual_style"), text("scene_type"), image.parts[-2], image.name.split(".")[0]]
    for part in parts:
        if not _NAME.fullmatch(part):
            raise DataError(f"{where}: expected names of folders, got {part[:MAX_TEXT]!r}")
    moves = texts("camera_path")
    for move in moves:
        if move not in WORLDSCORE_MOVES:
            raise DataError(
                f"{where}: camera_path: expected moves among {', '.join(WORLDSCORE_MOVES)}, got {move[:MAX_TEXT]!r}"
            )
    style, prompts = text("style"), texts("prompt_list")
    # The first prompt describes the image; the others what each move shows.
    chosen = [prompts[min(number + 1, len(prompts) - 1)] for number in range(len(moves))]
    with_style = [f"{prompt}{'' if prompt.endswith('.') else '.'} {style}" for prompt in chosen]
    return WorldScoreSample(image, moves, with_style, Path(*parts), entry)


def is_finished(folder: Path, total_frames: int) -> bool:
    """Whether the folder of a result is there.

    Args:
        folder: the result of a sample.
        total_frames: the number of frames that it should have.

    Raises:
        DataError: it has another number of frames.
    """
    if not folder.exists():
        return False
    found = read_json(folder / "image_data.json", "a result of WorldScore").get("total_frames")
    if found != total_frames:
        raise DataError(f"{folder}: expected a result of {total_frames} frames, got one of {found}; use another --out")
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
        numbers = {
            "num_scenes": moves,
            "total_frames": self._total,
            "anchor_frame_idx": [number * (self._frames - 1) for number in range(moves + 1)],
        }
        write_image(self._folder / "input_image.png", image)
        write_worldscore(self._folder / "camera_data.json", cameras, self._frames, speed=speed)
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
