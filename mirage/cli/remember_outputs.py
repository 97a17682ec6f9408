# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The files that ``mirage remember`` writes."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError
from ..recordings.posed_folder import DEPTH_FOLDERS, IMAGE_FOLDERS
from .output_lock import OutputLock


class Outputs(NamedTuple):
    """The files that the command writes."""

    memory: Path
    sheet: Path
    report: Path
    cameras: Path

    @classmethod
    def beside(cls, path: Path) -> Outputs:
        """The files that belong to the memory ``path``."""
        names = ("contact_sheet.png", "report.json", "cameras.json")
        return cls(path, *(path.with_name(f"{path.stem}_{name}") for name in names))


@contextmanager
def lock_outputs(path: Path, recording: Path, *, overwrite: bool) -> Iterator[Outputs]:
    """Check that the files can be written without loss, make their folder, and keep other processes from them.

    Args:
        path: the memory.
        recording: folder or file that is read.
        overwrite: whether an earlier memory may be replaced.

    Yields:
        The files.

    Raises:
        DataError: a file would be replaced, lies among the images of the recording, or cannot be written, or another
            process writes it.
    """
    if path.is_dir():
        raise DataError(f"--out: expected a file, such as {path / 'memory.safetensors'}, got the folder {path}")
    outputs = Outputs.beside(path)
    _check_existing(outputs, overwrite)
    folder, root = path.absolute().parent.resolve(), recording.absolute().resolve()
    if root in folder.parents and folder.relative_to(root).parts[0] in (*IMAGE_FOLDERS, *DEPTH_FOLDERS):
        # The contact sheet would be taken for an image of the recording.
        raise DataError(f"--out: expected a folder without files of the recording, got {path.parent}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for home in {Path(os.path.realpath(output)).parent for output in outputs}:
            with tempfile.TemporaryFile(dir=home) as file:  # fails now, not at the end; without a name
                file.write(b" ")
        lock = OutputLock(path)
    except OSError as error:
        raise DataError(f"--out: expected a folder that can be written, got {path.parent} ({error.strerror})") from None
    try:
        _check_existing(outputs, overwrite)  # another process may have written them before it released the lock
        yield outputs
    finally:
        lock.release()


def _check_existing(outputs: Outputs, overwrite: bool) -> None:
    existing = [output for output in outputs if output.exists()]
    if existing and not overwrite and not _were_moved_in_part(outputs):
        raise DataError(f"--out: expected a new file, got {existing[0]}, which exists; --overwrite replaces it")
    if outputs.memory.exists() and not _is_safetensors(outputs.memory):
        raise DataError(f"--out: expected a new file or an earlier memory, got {outputs.memory}, which is another file")


def _were_moved_in_part(outputs: Outputs) -> bool:
    """Whether an earlier process was killed before the report, which is the last file, was in its place."""
    report = Path(os.path.realpath(outputs.report))
    return not report.exists() and any(report.parent.glob(f".{glob.escape(report.name)}.*.partial"))


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(9)
    return not header or header[8:] == b"{"
