# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The files that ``mirage generate`` leaves in its output folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mirage_kernels import atomic_write

from ..cameras import write_cameras
from ..io.images import write_image
from ..io.video import write_packets
from ..memory import LatentSpatialMemory
from .preview import comparison_size
from .run import Run
from .run_state import Progress
from .run_store import RunStore

RESUME = "resume"  # the folder of an unfinished run
METRICS = "metrics.json"
FILES = (METRICS, "cameras.json", "memory.safetensors", "contact_sheet.png", "result.mp4", "video.mp4")
_VIEWS = ("view", "known", "real")  # PNG files of a scene with real images


def read_status(folder: Path) -> dict[str, Any] | None:
    """Read ``metrics.json``; None if there is none that can be read. Without ``"finished"``, the run is finished."""
    try:
        content = json.loads((folder / METRICS).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def status(folder: Path) -> str:
    """What a new run would replace in a folder, in words; empty if there is nothing."""
    found = next((name for name in FILES if (folder / name).exists()), "")
    content = read_status(folder)
    if content is not None and content.get("finished", True):
        return "a finished one"
    return found


def remove_run(folder: Path) -> None:
    """Remove the files of an earlier run, and no others.

    Raises:
        OSError: a file cannot be removed.
    """
    content = read_status(folder) or {}
    scenes = [name.removesuffix("_view_psnr") for name in content if name.endswith("_view_psnr")]
    for name in (*FILES, *(f"{scene}_{view}.png" for scene in scenes for view in _VIEWS)):
        (folder / name).unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove files that a process has begun and not finished, because it was killed."""
    names = "|".join([*map(re.escape, FILES), r"\w+\.png"])
    for path in folder.glob(".*.partial"):
        if re.fullmatch(rf"(\.({names}))?\.\d+\.partial", path.name):
            path.unlink(missing_ok=True)
    for path in (folder / RESUME).glob(".*.partial"):
        path.unlink(missing_ok=True)


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json``.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(folder / METRICS) as partial:
        partial.write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n")


def write_run(folder: Path, run: Run, memory: LatentSpatialMemory, progress: Progress, store: RunStore) -> None:
    """Write all files but ``metrics.json``, each so that it is complete or unchanged.

    Args:
        folder: the output folder.
        run: the run.
        memory: the memory after the last chunk that is finished.
        progress: what was collected up to this chunk.
        store: with the packets of the videos.

    Raises:
        OSError: a file cannot be written.
    """
    with atomic_write(folder / "cameras.json") as partial:
        write_cameras(partial, run.cameras[: progress.metrics.frames_done])
    memory.save(folder / "memory.safetensors")
    size = run.cameras.size
    sizes = {"result": (size[0] // 2 * 2, size[1] // 2 * 2), "video": comparison_size(size)}
    for name, log in store.logs.items():
        with atomic_write(folder / f"{name}.mp4") as partial:
            write_packets(partial, log.packets(), run.fps, sizes[name])
    for name, data in progress.pictures.items():
        with atomic_write(folder / name) as partial:
            partial.write_bytes(data.numpy().tobytes())
    with atomic_write(folder / "contact_sheet.png") as partial:
        write_image(partial, progress.sheet.make())
