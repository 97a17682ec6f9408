# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The output folder of ``mirage generate``: video, contact sheet, cameras, memory and metrics."""

from __future__ import annotations

import json
import math
import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..cameras import write_cameras
from ..data.scenes import Scene
from ..evaluation import psnr
from ..filters import FilterResult, overlay
from ..io.images import contact_sheet, enlarge, show_holes, side_by_side, write_image
from ..io.video import VideoWriter
from ..memory import LatentSpatialMemory, MemoryView
from ..rollout import Chunk, Codec

SHEET_COLUMNS = 5


class OutputFolder:
    """Writes a video and its metrics to a folder, chunk by chunk.

    Files are first written to a hidden folder next to ``folder``, and moved into place by :meth:`finish`. If the
    ``with`` block ends before that, the hidden folder is deleted and ``folder`` is unchanged.

    Args:
        folder: the output folder; files of earlier runs are replaced.
        scene: the start of the video, at the size of the frames.
        cameras: one camera per frame.
        memory: the memory that the video is generated with.
        codec: decodes the memory's latents.
        settings: entries for ``metrics.json``.
        fps: frames per second of the video.

    Attributes:
        known_share: fraction of latent cells that the memory rendered, for each latent so far.
    """

    def __init__(
        self,
        folder: Path,
        scene: Scene,
        cameras: Cameras,
        memory: LatentSpatialMemory,
        codec: Codec,
        settings: dict[str, Any],
        fps: int,
    ) -> None:
        self.folder, self.scene, self.cameras, self.memory, self.codec = folder, scene, cameras, memory, codec
        self.partial = folder.parent / f".{folder.name}.{os.getpid()}.partial"
        self.metrics: dict[str, Any] = dict(settings)
        self.known_share: list[float] = []
        self.points_written: list[int] = []
        self.carved: list[int] = []
        self.cell_fractions: list[dict[str, float]] = []
        self.alignments: list[dict[str, Any]] = []
        self._filter_results: dict[int, FilterResult] = {}
        self.seconds: dict[str, float] = {}
        self._fps = fps
        self._sheet: list[tuple[int, float, Tensor, Tensor]] = []
        self._stack = ExitStack()
        self._known_at_start: Tensor | None = None
        self._last_frame: Tensor | None = None

    def __enter__(self) -> OutputFolder:
        try:
            self.partial.mkdir(parents=True)
            self._video = self._stack.enter_context(VideoWriter(self.partial / "video.mp4", self._fps))
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._stack.close()
        finally:
            self._discard()

    def _discard(self) -> None:
        shutil.rmtree(self.partial, ignore_errors=True)

    def add(self, chunk: Chunk) -> None:
        """Write the frames of the next chunk.

        Args:
            chunk: the chunks must come in order.
        """
        rendered = self.codec.decode(chunk.view.latents[None])[0].cpu()
        chunk = chunk._replace(frames=chunk.frames.cpu(), view=MemoryView(*(part.cpu() for part in chunk.view)))
        old = rendered.shape[1] - chunk.frames.shape[1]  # frames shared with the previous chunk: 1, or 0 at the start
        stride = self.codec.temporal_stride
        for n in range(chunk.frames.shape[1]):
            before, after = (n + old) // stride, -(-(n + old) // stride)  # between latents: holes of either
            mask = enlarge(chunk.view.mask[before] & chunk.view.mask[after], self.codec.spatial_stride)
            memory_view = show_holes(rendered[:, n + old], mask)
            self._video.write(side_by_side(memory_view, chunk.frames[:, n]))
            if before == after:
                share = chunk.view.mask[before].float().mean().item()
                self.known_share.append(share)
                self._sheet.append((chunk.start + n, share, memory_view, chunk.frames[:, n]))
        self.points_written += chunk.written
        self._note_write_back(chunk)
        for name, value in chunk.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + value
        if self._known_at_start is None:
            self._known_at_start = chunk.view.mask[0]
        self._last_frame = chunk.frames[:, -1]
        self._compare_with_real(chunk)

    def _note_write_back(self, chunk: Chunk) -> None:
        """Collect what was carved, filtered and aligned for each latent of a chunk."""
        stride = self.codec.temporal_stride
        first = (-chunk.start) % stride  # the chunk's first frame that has a latent
        for k, written in enumerate(chunk.write_back):
            self.carved.append(written.carved)
            if written.alignment is not None:
                self.alignments.append(written.alignment._asdict())
            if written.filter_result is not None:
                self.cell_fractions.append(written.filter_result.fractions)
                on_cpu = FilterResult(*(part.cpu() for part in written.filter_result))
                self._filter_results[chunk.start + first + k * stride] = on_cpu

    def _compare_with_real(self, chunk: Chunk) -> None:
        """Compare the memory's view with a real image where a latent's camera equals the real camera."""
        stride, count = self.codec.temporal_stride, chunk.view.mask.shape[0]
        last = chunk.start + chunk.frames.shape[1] - 1
        for name, (key, real) in self.scene.real.items():
            target = self.scene.keys[key]
            for k in range(count):
                camera = self.cameras[last - stride * (count - 1 - k)]
                if f"{name}_view_psnr" not in self.metrics and same_camera(camera, target):
                    self._write_comparison(name, chunk, k, real)

    def _write_comparison(self, name: str, chunk: Chunk, k: int, real: Tensor) -> None:
        size = self.codec.spatial_stride
        # Only cells written by the first image are compared; cells generated later have no ground truth.
        mask, from_image = chunk.view.mask[k], chunk.view.stamp[k] == 0
        view = self.codec.decode(chunk.view.latents[None, :, k : k + 1])[0, :, 0].cpu()
        write_image(self.partial / f"{name}_view.png", show_holes(view, enlarge(mask, size)))
        write_image(self.partial / f"{name}_known.png", enlarge(from_image.float(), size))
        write_image(self.partial / f"{name}_real.png", real)
        self.metrics[f"{name}_view_psnr"] = psnr(view, real, enlarge(from_image, size))
        self.metrics[f"{name}_view_psnr_with_filled"] = psnr(view, real, enlarge(mask, size))
        self.metrics[f"{name}_known_share"] = from_image.float().mean().item()
        self.metrics["unmoved_psnr"] = psnr(self.scene.image, real)

    def finish(self) -> dict[str, Any]:
        """Write the remaining files and move everything into place.

        Returns:
            The contents of ``metrics.json``.
        """
        self._stack.close()
        metrics = self._measure()
        (self.partial / "metrics.json").write_text(json.dumps(metrics, indent=1, allow_nan=False) + "\n")
        write_cameras(self.partial / "cameras.json", self.cameras)
        self.memory.save(self.partial / "memory.safetensors")
        write_image(self.partial / "contact_sheet.png", self._contact_sheet())
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.partial.iterdir()):
            path.replace(self.folder / path.name)
        return metrics

    def _measure(self) -> dict[str, Any]:
        image = self.scene.image
        coded = self.codec.decode(self.codec.encode(image[None, :, None]))[0, :, 0].cpu()
        metrics = self.metrics | {
            "codec_psnr": psnr(coded, image),
            "known_share": self.known_share,
            "points_written": self.points_written,
            **self._write_back_metrics(),
            "points": len(self.memory),
            "memory_bytes": self.memory.nbytes - self.memory.history.nbytes,
            "history_bytes": self.memory.history.nbytes,
            "seconds": self.seconds,
        }
        if same_camera(self.cameras[-1], self.cameras[0]) and self._last_frame is not None:
            assert self._known_at_start is not None
            known = enlarge(self._known_at_start, self.codec.spatial_stride)
            metrics["loop_psnr"] = psnr(self._last_frame, image, known)
            # Read from the same cameras again: the fraction of cells that the memory renders after the last chunk.
            grid = (self._known_at_start.shape[0], self._known_at_start.shape[1])
            cameras = self.cameras[:: self.codec.temporal_stride].rescale(grid)
            again = self.memory.read(cameras.to(self.memory.cache.xyz.device))
            metrics["second_trip_known_share"] = again.mask.float().mean((1, 2)).tolist()
        return {name: _plain(value) for name, value in metrics.items()}

    def _write_back_metrics(self) -> dict[str, Any]:
        """Mean fraction of cells per reason; carved points and depth alignment per latent."""
        metrics: dict[str, Any] = {}
        if self.cell_fractions:
            count = len(self.cell_fractions)
            metrics["cells"] = {
                name: sum(fractions[name] for fractions in self.cell_fractions) / count
                for name in self.cell_fractions[0]
            }
        if any(self.carved):
            metrics["points_carved"] = self.carved
        if self.alignments:
            metrics["alignment"] = self.alignments
        return metrics

    def _contact_sheet(self) -> Tensor:
        count = min(SHEET_COLUMNS, len(self._sheet))
        picks = [self._sheet[round(k * (len(self._sheet) - 1) / max(count - 1, 1))] for k in range(count)]
        rows = [[memory_view for _, _, memory_view, _ in picks], [frame for _, _, _, frame in picks]]
        labels = [
            [f"frame {n}: memory, {share:.1%} known" for n, share, _, _ in picks],
            [f"frame {n}: result" for n, _, _, _ in picks],
        ]
        if self._filter_results:
            results = self._filter_results
            filtered = [(n, frame, results[n]) for n, _, _, frame in picks if n in results]
            rows.append([overlay(frame, result) for _, frame, result in filtered])
            labels.append([f"frame {n}: {_reasons(result)}" for n, _, result in filtered])
        return contact_sheet(rows, labels)


def _reasons(result: FilterResult) -> str:
    """One line with the fraction of excluded cells per reason."""
    fractions = {name: fraction for name, fraction in result.fractions.items() if name != "kept" and fraction > 0}
    return ", ".join(f"{fraction:.1%} {name}" for name, fraction in fractions.items()) or "all cells kept"


def same_camera(a: Cameras, b: Cameras) -> bool:
    """Whether poses and intrinsics are equal bit for bit."""
    return torch.equal(a.cam2world, b.cam2world) and torch.equal(a.intrinsics, b.intrinsics)


def _plain(value: Any) -> Any:
    """Values as JSON can hold them: floats rounded to six digits, None for NaN and infinity."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
