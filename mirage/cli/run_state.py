# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A run between two chunks, as tensors and JSON values: what an unfinished run is resumed and exported from."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..data.scenes import Scene
from ..memory.snapshot import MemorySnapshot, take_snapshot
from ..rollout import RolloutSession, SessionState
from .preview import Sheet
from .run import Run
from .run_metrics import RunMetrics
from .run_store import StoredRun


class Progress(NamedTuple):
    """What a run collects.

    Attributes:
        metrics: the metrics so far.
        sheet: the thumbnails so far.
        pictures: PNG files so far, by name, as uint8.
        known_at_start: (h, w) bool, cells that the memory knew when the first chunk was generated.
    """

    metrics: RunMetrics
    sheet: Sheet
    pictures: dict[str, Tensor]
    known_at_start: Tensor | None = None


def begin(run: Run) -> Progress:
    """The progress of a run before its first chunk."""
    return Progress(RunMetrics(run), Sheet(run, {}, {}), {})


def pack(run: Run, progress: Progress, session: RolloutSession) -> StoredRun:
    """Collect the state of a run after a chunk.

    Args:
        run: the run.
        progress: with at least one chunk.
        session: after the step that generated the chunk.
    """
    assert progress.known_at_start is not None
    snapshot, state = take_snapshot(run.memory), session.state()
    changing = _prefix("memory", snapshot.changing) | _prefix("session", state.tensors)
    changing["known_at_start"] = progress.known_at_start
    scene = {
        "image": run.scene.image,
        **{f"keys.{name}": tensor for name, tensor in run.scene.keys.matrices().items()},
        **{f"real.{name}": image for name, (_, image) in run.scene.real.items()},
    }
    fixed = _prefix("memory", snapshot.fixed) | _prefix("scene", scene) | _prefix("cameras", run.cameras.matrices())
    fixed |= _prefix("sheet", progress.sheet.images) | _prefix("picture", progress.pictures)
    info = {
        "options": run.options,
        "settings": run.settings,
        "fps": run.fps,
        "frames": len(run.cameras),
        "real": {name: key for name, (key, _) in run.scene.real.items()},
        "memory": snapshot.settings,
        "session": state.values,
        "metrics": progress.metrics.state(),
        "labels": progress.sheet.labels,
    }
    return StoredRun(session.chunks, changing, fixed, info)


def unpack_start(stored: StoredRun) -> tuple[Scene, Cameras]:
    """The scene, without its depth, and the cameras of a stored run."""
    scene, cameras = _unprefix("scene", stored.fixed), _unprefix("cameras", stored.fixed)
    size = (scene["image"].shape[1], scene["image"].shape[2])
    part = "keys."
    keys = {name.removeprefix(part): tensor for name, tensor in scene.items() if name.startswith(part)}
    real = {name: (key, scene[f"real.{name}"]) for name, key in stored.info["real"].items()}
    depth = torch.zeros(size, dtype=torch.float32, device="cpu")
    start = Scene(scene["image"], depth, Cameras.from_tensors({**keys, "size": size}), real)
    return start, Cameras.from_tensors({**cameras, "size": size})


def unpack_snapshot(stored: StoredRun) -> MemorySnapshot:
    """The memory of a stored run."""
    return MemorySnapshot(
        _unprefix("memory", stored.changing), _unprefix("memory", stored.fixed), stored.info["memory"]
    )


def unpack_session(stored: StoredRun) -> SessionState:
    """The state of a stored run's rollout session."""
    return SessionState(_unprefix("session", stored.changing), stored.info["session"])


def unpack_progress(run: Run, stored: StoredRun) -> Progress:
    """What a stored run has collected.

    Args:
        run: the run, as it goes on.
        stored: its state.
    """
    info: dict[str, Any] = stored.info
    return Progress(
        RunMetrics(run, info["metrics"]),
        Sheet(run, info["labels"], _unprefix("sheet", stored.fixed)),
        _unprefix("picture", stored.fixed),
        stored.changing["known_at_start"],
    )


def _prefix(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}:{name}": tensor for name, tensor in tensors.items()}


def _unprefix(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{part}:"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
