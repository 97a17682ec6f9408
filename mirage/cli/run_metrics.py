# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The metrics of ``mirage generate``, collected chunk by chunk."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..evaluation import psnr
from ..io.images import enlarge
from ..memory import LatentSpatialMemory
from ..memory.snapshot import MemorySnapshot
from ..rollout import Chunk
from .messages import warn
from .run import Run, same_camera
from .run_store import total_bytes

BARELY_KNOWN = 0.01  # of the cells of a frame


class RunMetrics:
    """Collects the metrics of a run.

    Args:
        run: the run.
        state: of a run that is resumed, see :meth:`state`.

    Attributes:
        frames_done: number of frames so far.
        known_share: fraction of latent cells that the memory rendered, for each latent so far.
        seconds: duration of each part so far; together the whole time of the process.
        background_seconds: duration of what ran at the same time as those parts.
    """

    def __init__(self, run: Run, state: dict[str, Any] | None = None) -> None:
        self._run = run
        self.frames_done = 0
        self.known_share: list[float] = []
        self.seconds: dict[str, float] = {}
        self.background_seconds: dict[str, float] = {}
        self.comparisons: dict[str, Any] = {}
        self._points_written: list[int] = []
        self._carved: list[int] = []
        self._cell_fractions: list[dict[str, float]] = []
        self._alignments: list[dict[str, Any]] = []
        self._psnr: dict[str, float] = {}
        for name, value in (state or {}).items():
            setattr(self, name, value)
        self._is_warned = self._barely_known() > run.latents / 2

    def state(self) -> dict[str, Any]:
        """What was collected so far, as JSON can hold it."""
        return {name: value for name, value in vars(self).items() if name not in ("_run", "_is_warned")}

    def spend(self, name: str, seconds: float, *, background: bool = False) -> None:
        """Count the duration of a part."""
        spent = self.background_seconds if background else self.seconds
        spent[name] = spent.get(name, 0.0) + seconds

    def add(self, chunk: Chunk, known_at_start: Tensor) -> None:
        """Add the metrics of a chunk.

        Args:
            chunk: the chunks must come in order.
            known_at_start: (h, w) bool, cells that the memory knew when the first chunk was generated.
        """
        shared = 1 if chunk.start else 0  # the first latent of the view belongs to the chunk before
        self.known_share += chunk.view.mask[shared:].float().mean((1, 2)).tolist()
        self._points_written += chunk.written
        for written in chunk.write_back:
            self._carved.append(written.carved)
            if written.alignment is not None:
                self._alignments.append(written.alignment._asdict())
            if written.filter_result is not None:
                self._cell_fractions.append(written.filter_result.fractions)
        for name, value in chunk.seconds.items():
            self.spend(name, value)
        image, cameras = self._run.scene.image, self._run.cameras
        self.frames_done = chunk.start + chunk.frames.shape[1]
        if chunk.start == 0:
            self._psnr["codec_psnr"] = psnr(chunk.frames[:, 0].cpu(), image)
        if self.frames_done == len(cameras) and same_camera(cameras[-1], cameras[0]):
            last, counted = chunk.frames[:, -1].cpu(), enlarge(known_at_start, self._run.codec.spatial_stride)
            self._psnr |= {"loop_psnr": psnr(last, image, counted), "loop_whole_psnr": psnr(last, image)}
            self._psnr["loop_psnr_cells"] = known_at_start.float().mean().item()
        self._warn_if_barely_known()

    def _barely_known(self) -> int:
        return sum(share < BARELY_KNOWN for share in self.known_share)

    def _warn_if_barely_known(self) -> None:
        """Warn as soon as the memory knew next to nothing in more than half of the whole video."""
        count = self._barely_known()
        if not self._is_warned and count > self._run.latents / 2:
            self._is_warned = True
            warn(
                f"the memory knew less than 1 % of the cells in {count} of {self._run.latents} latent frames, more than"
                " half: the path leaves what the image shows, and the model invents the rest; use a shorter path, or"
                " check the scale of depth and poses"
            )

    def report(self, snapshot: MemorySnapshot) -> dict[str, Any]:
        """The metrics so far.

        Args:
            snapshot: the memory as it was written.

        Returns:
            The contents of ``metrics.json``, as far as the chunks determine it.
        """
        cache = [tensor for name, tensor in snapshot.changing.items() if not name.startswith("history.")]
        history = [tensor for name, tensor in snapshot.changing.items() if name.startswith("history.")]
        points, past = total_bytes(cache), total_bytes(history) + total_bytes(snapshot.fixed.values())
        metrics = self._run.settings | self.comparisons | {
            **self._psnr,
            "known_share": self.known_share,
            "points_written": self._points_written,
            **self._write_back(),
            "points": len(snapshot.changing["superseded"]),
            "memory_bytes": points + past,
            "point_bytes": points,
            "history_bytes": past,
            "seconds": self.seconds,
            "background_seconds": self.background_seconds,
        }  # fmt: skip
        return {name: plain(value) for name, value in metrics.items()}

    def second_trip(self, memory: LatentSpatialMemory) -> list[float]:
        """Read from the same cameras again: the fraction of cells that the memory renders after the last chunk."""
        stride, size = self._run.codec.temporal_stride, self._run.cameras.size
        grid = (size[0] // self._run.codec.spatial_stride, size[1] // self._run.codec.spatial_stride)
        cameras = self._run.cameras[::stride].rescale(grid).to(memory.device)
        views = (memory.read(cameras[n], latents=False) for n in range(len(cameras)))
        return [plain(view.mask.float().mean().item()) for view in views]

    def _write_back(self) -> dict[str, Any]:
        """Mean fraction of cells per reason; carved points and depth alignment per latent."""
        metrics: dict[str, Any] = {}
        if self._cell_fractions:
            count = len(self._cell_fractions)
            metrics["cells"] = {
                name: sum(fractions[name] for fractions in self._cell_fractions) / count
                for name in self._cell_fractions[0]
            }
        if any(self._carved):
            metrics["points_carved"] = self._carved
        if self._alignments:
            metrics["alignment"] = self._alignments
        return metrics


def plain(value: Any) -> Any:
    """Values as JSON can hold them: floats rounded to six digits, None for NaN and infinity."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, torch.Tensor):
        return plain(value.tolist())
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value
