# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The files that ``mirage generate`` leaves in its output folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mirage_kernels import atomic_write, atomic_writes, remove_partials

from ..cameras import write_cameras
from ..errors import DataError
from ..io.files import read_json
from ..io.images import write_image
from ..io.video import write_packets
from ..memory import LatentSpatialMemory
from .preview import comparison_size
from .run import Run
from .run_state import Progress
from .run_store import RunStore, remove_frames

RESUME = "resume"  # the folder of an unfinished run
METRICS, FRAMES = "metrics.json", "frames"
FILES = (METRICS, "cameras.json", "memory.safetensors", "contact_sheet.png", "result.mp4", "video.mp4")
_VIEWS = ("view", "known", "real")  # PNG files of a scene with real images


def read_status(folder: Path) -> dict[str, Any] | None:
    """Read ``metrics.json``; None if there is none that can be read. Without ``"finished"``, the run is finished."""
    try:
        content = read_json(folder / METRICS, "metrics")
    except DataError:
        return None
    return content if isinstance(content, dict) else None


def status(folder: Path) -> str:
    """What a new run would replace in a folder, in words; empty if there is nothing."""
    content = read_status(folder)
    if content is not None and content.get("finished", True):
        return "a finished one"
    # A run that was killed before its first chunk was finished has left nothing but this.
    ignored = METRICS if content is not None and content.get("frames_done") == 0 else ""
    return next((name for name in FILES if name != ignored and (folder / name).exists()), "")


def remove_run(folder: Path) -> None:
    """Remove the files of an earlier run, and no others.

    Raises:
        OSError: a file cannot be removed.
    """
    content = read_status(folder) or {}
    scenes = [name.removesuffix("_view_psnr") for name in content if name.endswith("_view_psnr")]
    views = [f"{scene}_{view}.png" for scene in scenes if re.fullmatch(r"\w+", scene) for view in _VIEWS]
    for name in (*FILES, *views):
        Path(os.path.realpath(folder / name)).unlink(missing_ok=True)  # a link, to another disk perhaps, stays
    remove_frames(folder / FRAMES)


def remove_leftover_partials(folder: Path) -> None:
    """Remove files that processes have begun and not finished, because they were killed."""
    names = "|".join([*map(re.escape, FILES), r"\w+\.png"])
    for home, name in ((folder, names), (folder / RESUME, r"\w+-\d+\.safetensors")):
        for path in home.glob(".*.partial"):
            if found := re.fullmatch(rf"\.({name})\.\w+\.partial", path.name):
                remove_partials(home / found[1])
    for path in (folder / RESUME).glob(".tmp??????"):  # of the library safetensors, in earlier versions
        path.unlink(missing_ok=True)


def write_metrics(folder: Path, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json``.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(folder / METRICS) as partial:
        partial.write_text(_json(metrics))


def _json(metrics: dict[str, Any]) -> str:
    return json.dumps(metrics, indent=1, allow_nan=False) + "\n"


def write_run(
    folder: Path,
    run: Run,
    memory: LatentSpatialMemory,
    progress: Progress,
    store: RunStore,
    metrics: Callable[[], dict[str, Any]],
) -> None:
    """Write all files: either all of them or none, and ``metrics.json`` last.

    Args:
        folder: the output folder.
        run: the run.
        memory: the memory after the last chunk that is finished.
        progress: what was collected up to this chunk.
        store: with the packets of the videos.
        metrics: returns the contents of ``metrics.json``; called when the others are written.

    Raises:
        OSError: a file cannot be written.
    """
    videos, pictures = list(store.logs), list(progress.pictures)
    names = ["cameras.json", "memory.safetensors", *(f"{name}.mp4" for name in videos), *pictures, "contact_sheet.png"]
    size = run.cameras.size
    sizes = {"result": (size[0] // 2 * 2, size[1] // 2 * 2), "video": comparison_size(size)}
    with atomic_writes([folder / name for name in (*names, METRICS)]) as partials:
        files = dict(zip((*names, METRICS), partials, strict=True))
        write_cameras(files["cameras.json"], run.cameras[: progress.metrics.frames_done])
        memory.save(files["memory.safetensors"])
        for name in videos:
            write_packets(files[f"{name}.mp4"], store.logs[name].packets(), run.fps, sizes[name])
        for name in pictures:
            files[name].write_bytes(progress.pictures[name].numpy().tobytes())
        write_image(files["contact_sheet.png"], progress.sheet.make())
        if run.options.get("save_frames"):
            store.export_frames(folder / FRAMES, progress.metrics.frames_done)
        files[METRICS].write_text(_json(metrics()))
