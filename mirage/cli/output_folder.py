# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The output folder of ``mirage generate``: video, contact sheet, cameras, memory and metrics."""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, first_line
from ..io.images import to_pil
from ..io.video import FrameEncoder
from ..memory import MemoryView
from ..memory.snapshot import restore_snapshot, take_snapshot
from ..rollout import Chunk, RolloutSession
from . import run_state
from .messages import assign, note
from .output_files import RESUME, read_status, remove_leftover_partials, remove_run, status, write_metrics, write_run
from .output_lock import LOCK, OutputLock
from .preview import Preview, compare_with_real
from .run import Run
from .run_checks import check_stored, unpacking
from .run_store import VIDEOS, RunStore, StoredRun, total_bytes
from .signals import describe, raise_again

ROOM = 1 << 16  # bytes that are kept free on the disk besides the files that are known


class OutputFolder:
    """Writes a video and its metrics to a folder, chunk by chunk, as a context manager.

    Until the run is finished, its state is in the folder ``resume`` within ``folder``, from which :meth:`finish` makes
    the files. If the ``with`` block ends before that, they are made from the chunks that were finished, and the state
    is kept, so that the run can go on. Nothing is changed before the first chunk is finished.

    Videos are encoded in a thread, while the next chunk is generated.

    Args:
        folder: the output folder; it need not exist.
        overwrite: replace a run that the folder holds.
        resume: go on with an unfinished run that the folder holds.

    Attributes:
        stored: the state of the unfinished run; None for a new one.

    Raises:
        DataError: the folder holds a run and ``overwrite`` is False, holds none and ``resume`` is True, or another
            process writes to it, or it cannot be written.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        self.folder, self.store, self.stored = folder, RunStore(folder / RESUME), None
        self._made = [path for path in (folder, *folder.parents) if not path.exists() and not path.is_symlink()]
        self._run: Run | None = None
        self._is_finished, self._is_begun, self._replaces = False, False, False
        self._on_frame: Callable[[], None] = lambda: None
        self._future: Future[None] | None = None
        self._worker = ThreadPoolExecutor(1, "video")
        self._lock: OutputLock | None = None
        try:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._lock = OutputLock(folder)
                _try_to_write(folder)
            except OSError as error:
                raise DataError(
                    f"--out: expected a folder that can be written, got {folder} ({error.strerror})"
                ) from None
            self.stored = self._check(overwrite, resume)
        except BaseException:
            self._close()
            raise

    def _check(self, overwrite: bool, resume: bool) -> StoredRun | None:
        if self.store.holds_other_files():
            raise DataError(f"--out: expected no files of others in {self.store.folder}, where the run has its own")
        self.store.return_to_old()
        remove_leftover_partials(self.folder)
        is_finished = (read_status(self.folder) or {"finished": False}).get("finished", True)
        stored = None if overwrite or is_finished else self.store.load()
        if stored is not None:
            with unpacking(self.store.folder):
                check_stored(stored)
        if resume:
            if stored is None:
                raise DataError(f"--resume: expected a folder with an unfinished run, got {self.folder} without one")
            return stored
        if stored is not None:
            done, frames = stored.info["metrics"]["frames_done"], stored.info["frames"]
            raise DataError(
                f"--out: expected a folder without a run, got {self.folder} with an unfinished one ({done} of {frames} "
                "frames); go on with --resume FOLDER, or replace it with --overwrite"
            )
        if not overwrite and (found := status(self.folder)):
            raise DataError(
                f"--out: expected a folder without a run, got {self.folder} with {found}; replace it with --overwrite"
            )
        return None

    def start(self, run: Run, on_frame: Callable[[], None] = lambda: None) -> None:
        """Begin to write, or go on.

        Args:
            run: the run.
            on_frame: called from another thread whenever a frame was encoded.
        """
        self._on_frame = on_frame
        self._progress = run_state.begin(run) if self.stored is None else run_state.unpack_progress(run, self.stored)
        self._run, self._is_begun = run, self.stored is not None
        self.stored = None  # the run has what it needs of it

    def spend(self, name: str, seconds: float) -> None:
        """Count the duration of a part of the run that is not one of a chunk."""
        self._progress.metrics.spend(name, seconds)

    @property
    def known_share(self) -> list[float]:
        """Fraction of latent cells that the memory rendered, for each latent so far."""
        return self._progress.metrics.known_share

    def add(self, chunk: Chunk, session: RolloutSession) -> None:
        """Write the next chunk.

        Args:
            chunk: the chunks must come in order.
            session: after the step that generated the chunk.

        Raises:
            OSError: the disk is full, for example.
        """
        assert self._run is not None
        with self._timed("preview"):
            chunk = chunk._replace(frames=chunk.frames.cpu(), view=MemoryView(*(part.cpu() for part in chunk.view)))
            view = functools.partial(self._decode_view, chunk.view.latents)
            preview = Preview.of(chunk, view, self._run.codec.temporal_stride)
            self._collect(chunk, view)
        with self._timed("wait"):
            self._wait()
        with self._timed("save"):
            self._check_lock()
            if not self._is_begun:
                self._begin()
            self.store.prune(session.chunks - 1)
            state = run_state.pack(self._run, self._progress, session)
            videos = sum(log.path.stat().st_size for log in self.store.logs.values() if log.path.exists())
            self.store.reserve(2 * videos + total_bytes([*state.changing.values(), *state.fixed.values()]) + ROOM)
            self.store.save(session.chunks, state.changing, state.fixed, state.info)
        self._future = self._worker.submit(self._encode, session.chunks, preview)

    def _decode_view(self, latents: Tensor, number: int) -> Tensor:
        """Decode one of the latents (C, T, h, w) as an image (3, H, W) of its own; all at once take much memory."""
        assert self._run is not None
        latent = latents[None, :, number : number + 1].to(self._run.memory.device)
        return self._run.codec.decode(latent)[0, :, 0].cpu()

    def _collect(self, chunk: Chunk, view: Callable[[int], Tensor]) -> None:
        assert self._run is not None
        if self._progress.known_at_start is None:
            self._progress = self._progress._replace(known_at_start=chunk.view.mask[0])
        assert self._progress.known_at_start is not None
        metrics = self._progress.metrics
        metrics.add(chunk, self._progress.known_at_start)
        self._progress.sheet.add(chunk, view)
        for name, image in compare_with_real(self._run, chunk, view, metrics.comparisons).items():
            buffer = BytesIO()
            to_pil(image).save(buffer, format="PNG")
            self._progress.pictures[name] = torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())

    def _begin(self) -> None:
        """Make room for the run. An earlier one stays until the first chunk is finished."""
        self._replaces = bool(status(self.folder))
        self.store.begin()
        self._is_begun = True
        if not self._replaces:
            self._write_running(0)

    def _replace(self) -> None:
        """Remove the earlier run, if this process has not done so."""
        if self._replaces:
            remove_run(self.folder)
            self._replaces = False
        self.store.forget()

    def _write_running(self, frames: int) -> None:
        """What ``metrics.json`` says during the run, and after SIGKILL or a power cut."""
        summary = {"finished": False, "reason": "still running, or killed", "frames_done": frames}
        write_metrics(self.folder, summary)

    def _encode(self, chunks: int, preview: Preview) -> None:
        """Encode the videos of a chunk. It is finished when both are on the disk."""
        assert self._run is not None
        since, encoders = time.perf_counter(), [FrameEncoder(self._run.fps, preview.start) for _ in VIDEOS]
        for images in preview.images():
            for encoder, image in zip(encoders, images, strict=True):
                encoder.add(image)
            self._on_frame()
        self._check_lock()
        if self._run.options.get("save_frames"):
            self.store.save_frames(preview.start, preview.frames)
        for name, encoder in zip(VIDEOS, encoders, strict=True):
            self.store.logs[name].append(chunks, encoder.finish())
        self._progress.metrics.spend("video", time.perf_counter() - since, background=True)
        self._replace()
        self._write_running(preview.start + len(preview.frames))

    def _check_lock(self) -> None:
        assert self._lock is not None
        self._lock.check()

    def _wait(self) -> None:
        """Wait until the videos of the last chunk are encoded, and raise what went wrong."""
        if self._future is not None:
            self._future.result()
            self._future = None

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        since = time.perf_counter()
        yield
        self._progress.metrics.spend(name, time.perf_counter() - since)

    def finish(self) -> dict[str, Any]:
        """Write the files of the finished run.

        Returns:
            The contents of ``metrics.json``.

        Raises:
            OSError: the disk is full, for example.
        """
        assert self._run is not None
        with self._timed("wait"):
            self._wait()
        since, metrics, memory = time.perf_counter(), self._progress.metrics, self._run.memory
        self._check_lock()
        self.store.release()

        def report() -> dict[str, Any]:
            values = metrics.report(take_snapshot(memory))
            if "loop_psnr" in values:
                values["second_trip_known_share"] = metrics.second_trip(memory)
            metrics.spend("finish", time.perf_counter() - since)
            raise_again()  # now, while nothing is replaced
            return {"finished": True, "frames_done": metrics.frames_done} | values | {"seconds": metrics.seconds}

        write_run(self.folder, self._run, memory, self._progress, self.store, report)
        self._is_finished = True
        return read_status(self.folder) or {}

    def _save_unfinished(self, error: BaseException) -> None:
        """Make the files from the chunks that were finished."""
        assert self._run is not None
        with suppress(Exception):  # it is what ends the run, or comes after what does
            self._wait()
        if self._lock is None or not self._lock.is_in_place():
            return  # what is there now belongs to another process
        command = f"mirage generate {assign('--resume', self.folder)}"
        try:
            stored = self.store.load() if self._is_begun else None
        except Exception as second:
            note(f"{self.store.folder}: what is finished is kept, but it could not be read ({first_line(second)}); go "
                 f"on with: {command}")  # fmt: skip
            return
        if stored is None:
            if self._is_begun:
                self.store.remove()
                self.store.return_to_old()
                if not self._replaces:
                    remove_run(self.folder)
            earlier = f"; {self.folder} is as it was" if self._replaces else ""
            note(f"no chunk was finished, so nothing is kept{earlier}")
            return
        self.store.release()
        progress, snapshot = run_state.unpack_progress(self._run, stored), run_state.unpack_snapshot(stored)
        done, frames = progress.metrics.frames_done, len(self._run.cameras)
        summary = {"finished": False, "reason": describe(error), "frames_done": done}
        try:
            metrics = summary | progress.metrics.report(snapshot)
            write_metrics(self.folder, metrics)
            write_run(self.folder, self._run, restore_snapshot(snapshot), progress, self.store, lambda: metrics)
        except Exception as second:
            note(f"{self.store.folder}: {done} of {frames} frames are finished and kept, but no files could be made"
                 f" from them ({first_line(second)}); go on with: {command}")  # fmt: skip
            return
        note(f"{self.folder}: {done} of {frames} frames are finished and kept; go on with: "
             f"{command}")  # fmt: skip

    def __enter__(self) -> OutputFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None and self._run is not None and not self._is_finished:
                self._save_unfinished(error)
        finally:
            self._close()

    def _close(self) -> None:
        if self._is_finished and self._lock is not None and self._lock.is_in_place():
            self.store.remove()
        self._worker.shutdown()
        if self._lock is not None:
            self._lock.release()
        self._remove_made()

    def _remove_made(self) -> None:
        """Remove folders that were made for the run and are empty."""
        for path in self._made:
            with suppress(OSError):
                path.rmdir()


def remove_leftovers(folder: Path) -> None:
    """Remove what a process leaves that was killed after its run was finished.

    Raises:
        DataError: the process still runs.
        OSError: the folder is not writable.
    """
    if any((folder / name).exists() for name in (RESUME, LOCK)):
        lock, store = OutputLock(folder), RunStore(folder / RESUME)
        if not store.holds_other_files():
            store.remove()
        lock.release()


def _try_to_write(folder: Path) -> None:
    """Raise an OSError now rather than after the first chunk, if the folder is read-only or the disk is full."""
    with tempfile.TemporaryFile(dir=folder) as file:  # without a name, so that nothing is left of it
        file.write(bytes(ROOM))
        file.flush()
        os.fsync(file.fileno())
