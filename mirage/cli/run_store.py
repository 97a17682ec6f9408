# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What ``mirage generate --resume`` needs, in the folder ``resume`` of the output folder of an unfinished run."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from mirage_kernels import load_tensors, save_tensors

from ..errors import DataError
from ..io.files import parse_json
from ..io.packet_log import PacketLog

VIDEOS = ("result", "video")
KIND, FIXED, VERSION = "unfinished run", "part of an unfinished run", 1  # of the files


class StoredRun(NamedTuple):
    """The state of a run after some chunks.

    Attributes:
        chunks: number of chunks that are finished.
        changing: tensors that each chunk changes.
        fixed: tensors that never change.
        info: everything else, as JSON can hold it.
    """

    chunks: int
    changing: dict[str, Tensor]
    fixed: dict[str, Tensor]
    info: dict[str, Any]


# The names of a run's files, and of those that are being written; the last is of the library safetensors, in earlier
# versions.
_OWN = re.compile(
    r"\.?((state|fixed)-\d+\.safetensors|frame-\d+\.png|\w+\.packets|reserve)(\.\w+\.partial)?|\.tmp\w{6}"
)


class RunStore:
    """The states of a run on disk.

    After each chunk, :meth:`save` writes the tensors that change, and those of the others that are new. The chunk is
    finished when its packets are in both video logs as well. The state before it is kept until then.

    Args:
        folder: the folder ``resume``; it need not exist.

    Attributes:
        logs: the packets of each video.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._old = folder, folder.with_name(f".{folder.name}.old")
        self.logs = {name: PacketLog(folder / f"{name}.packets") for name in VIDEOS}
        self._parts: dict[str, list[str]] = {}  # file of fixed tensors -> their names
        self._bytes: dict[str, int] = {}  # size of each fixed tensor

    def save(self, chunks: int, changing: dict[str, Tensor], fixed: dict[str, Tensor], info: dict[str, Any]) -> None:
        """Write the state after a chunk.

        Args:
            chunks: number of chunks that are done.
            changing: tensors that each chunk changes.
            fixed: all tensors that never change and are still needed. A name always stands for the same values.
            info: everything else, as JSON can hold it.

        Raises:
            OSError: a file cannot be written.
        """
        written = {name for names in self._parts.values() for name in names}
        self._bytes |= {name: tensor.nbytes for name, tensor in fixed.items()}
        unused = sum(self._bytes[name] for name in written - fixed.keys())
        if unused > sum(tensor.nbytes for tensor in fixed.values()):
            written, self._parts = set(), {}  # write all that is needed again, so that the old files can go
        new = {name: tensor for name, tensor in fixed.items() if name not in written}
        if new:
            part = f"fixed-{chunks:06}.safetensors"
            save_tensors(self.folder / part, new, kind=FIXED, version=VERSION, settings={})
            self._parts[part] = list(new)
        self._parts = {part: names for part, names in self._parts.items() if fixed.keys() & set(names)}
        # As one text, because the order of names is kept only there.
        settings = {"info": json.dumps(info), "parts": self._parts, "fixed": sorted(fixed)}
        save_tensors(self._state(chunks), changing, kind=KIND, version=VERSION, settings=settings)

    def _state(self, chunks: int) -> Path:
        return self.folder / f"state-{chunks:06}.safetensors"

    def prune(self, chunks: int) -> None:
        """Remove what only the states before ``chunks`` need."""
        for path in self.folder.glob("state-*.safetensors"):
            if path < self._state(chunks):
                path.unlink()
        for path in self.folder.glob("fixed-*.safetensors"):
            if path.name not in self._parts:
                path.unlink()

    def load(self) -> StoredRun | None:
        """Read the state after the last finished chunk, and remove what was written after it.

        Returns:
            The state; None if no chunk was finished.

        Raises:
            OSError: a file cannot be read.
        """
        complete = min(log.count() for log in self.logs.values())
        for path in sorted(self.folder.glob("state-*.safetensors"), reverse=True):
            number = path.stem.removeprefix("state-")
            if not (number.isdecimal() and len(number) < 10):
                continue
            chunks = int(number)
            if chunks <= complete and (stored := self._read(path, chunks)) is not None:
                for log in self.logs.values():
                    log.truncate(chunks)
                for later in self.folder.glob("state-*.safetensors"):
                    if later > path:
                        later.unlink()
                return stored
        return None

    def _read(self, path: Path, chunks: int) -> StoredRun | None:
        """One state; None if a file of it is damaged."""
        try:
            changing, settings = load_tensors(path, kind=KIND, version=VERSION)
            parts, names, info = _check_settings(path, settings)
            fixed: dict[str, Tensor] = {}
            for part in parts:
                fixed |= load_tensors(self.folder / part, kind=FIXED, version=VERSION)[0]
        except DataError:
            raise
        except (ValueError, FileNotFoundError):
            return None
        self._parts, self._bytes = parts, {name: tensor.nbytes for name, tensor in fixed.items()}
        if missing := [name for name in names if name not in fixed]:
            raise DataError(f"{path}: {missing[0][:60]}: expected a tensor, got none")
        return StoredRun(chunks, changing, {name: fixed[name] for name in names}, info)

    def reserve(self, size: int) -> None:
        """Keep room on the disk, for what is written if the disk is full.

        Args:
            size: bytes.

        Raises:
            OSError: there is not as much room.
        """
        path = self.folder / "reserve"
        if not hasattr(os, "posix_fallocate") or (path.exists() and path.stat().st_size >= size):
            return
        with path.open("ab") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size * 5 // 4)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):  # not possible on this disk
                    raise

    def release(self) -> None:
        """Give the reserved room back."""
        with suppress(OSError):
            (self.folder / "reserve").unlink(missing_ok=True)

    def save_frames(self, start: int, frames: list[np.ndarray]) -> None:
        """Write the frames of a chunk as images, for :meth:`export_frames`, and wait until they are on the disk.

        The chunk is not finished before its packets are in the logs, so these files need not appear at once.

        Args:
            start: number of the first one.
            frames: (3, H, W) uint8 each.

        Raises:
            OSError: a file cannot be written.
        """
        for number, frame in enumerate(frames, start):
            Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0))).save(self._frame(number), format="PNG")
        if hasattr(os, "sync"):  # once, instead of for each of the files
            os.sync()

    def _frame(self, number: int) -> Path:
        return self.folder / f"frame-{number:06}.png"

    def export_frames(self, folder: Path, count: int) -> None:
        """Make a folder of the first frames, ``000000.png`` and so on; each appears there as a whole.

        Args:
            folder: it need not exist. Later frames of an earlier run are removed from it.
            count: number of frames.

        Raises:
            OSError: a file cannot be written.
        """
        folder.mkdir(exist_ok=True)
        for number in range(count):
            link = folder / f".{number:06}.png.partial"
            link.unlink(missing_ok=True)
            try:
                os.link(self._frame(number), link)
            except OSError:  # a file system without hard links
                shutil.copyfile(self._frame(number), link)
            link.replace(folder / f"{number:06}.png")
        remove_frames(folder, count)

    def holds_other_files(self) -> bool:
        """Return whether something else than a run is where the folder has to be."""
        if not self.folder.exists() and not self.folder.is_symlink():
            return False
        if self.folder.is_symlink() or not self.folder.is_dir():
            return True
        return not all(_OWN.fullmatch(path.name) for path in self.folder.iterdir())

    def begin(self) -> None:
        """Make a new, empty folder. That of an earlier run is set aside until :meth:`forget` or :meth:`return_to_old`.

        Raises:
            OSError: the folder cannot be made.
        """
        self.return_to_old()
        if self.folder.exists():
            self.folder.rename(self._old)
        self.folder.mkdir()

    def forget(self) -> None:
        """Delete the folder that was set aside."""
        shutil.rmtree(self._old, ignore_errors=True)

    def return_to_old(self) -> None:
        """Put a folder that was set aside back in its place, as after a run that was killed during its first chunk.

        Raises:
            OSError: the folder cannot be moved.
        """
        if self._old.exists():
            self.remove()
            self._old.rename(self.folder)

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _check_settings(path: Path, settings: Any) -> tuple[dict[str, list[str]], list[str], dict[str, Any]]:
    """The parts of a state, the names of its fixed tensors, and everything else.

    Raises:
        DataError: the settings are others than :meth:`RunStore.save` writes.
    """

    def are_texts(value: Any) -> bool:
        return isinstance(value, list) and all(isinstance(text, str) for text in value)

    if not isinstance(settings, dict):
        raise DataError(f"{path}: settings: expected an object, got {type(settings).__name__}")
    parts, names, text = (settings.get(name) for name in ("parts", "fixed", "info"))
    if not isinstance(parts, dict) or not all(
        re.fullmatch(r"fixed-\d+\.safetensors", name) and are_texts(value) for name, value in parts.items()
    ):  # names of files in this folder, and in no other
        raise DataError(f"{path}: parts: expected files fixed-NUMBER.safetensors with names, got {str(parts)[:60]}")
    if not are_texts(names):
        raise DataError(f"{path}: fixed: expected names of tensors, got {str(names)[:60]}")
    info = parse_json(text, f"{path}: info: ", "an object") if isinstance(text, str) else text
    if not isinstance(info, dict):
        raise DataError(f"{path}: info: expected an object, got {type(info).__name__}")
    return parts, names or [], info


def remove_frames(folder: Path, start: int = 0) -> None:
    """Remove the frames from a number on that :meth:`RunStore.export_frames` has made, and the folder if it is empty.

    Raises:
        OSError: a file cannot be removed.
    """
    for path in folder.glob("*.png*"):
        found = re.fullmatch(r"(\d{6,})\.png|\.\d{6,}\.png\.partial", path.name)
        if found and (found[1] is None or int(found[1]) >= start):
            path.unlink()
    with suppress(OSError):
        folder.rmdir()


def total_bytes(tensors: Iterable[Tensor]) -> int:
    """Sum of the bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
