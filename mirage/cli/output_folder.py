# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The folder that a walk leaves behind: video, contact sheet, cameras, memory, measures."""

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
from ..filters import Verdict, overlay
from ..io.images import contact_sheet, enlarge, show_holes, side_by_side, write_image
from ..io.video import VideoWriter
from ..memory import LatentSpatialMemory, MemoryView
from ..rollout import Chunk, Codec

SHEET_COLUMNS = 5


class Results:
    """Collects a walk chunk by chunk and writes it as one folder.

    Everything is written to a hidden folder beside it first, and moved into place by :meth:`finish`; leaving the
    ``with`` block without that leaves nothing behind.

    Args:
        folder: where the results go; files of earlier runs are replaced.
        scene: what the walk starts from, trimmed to the codec's stride.
        cameras: of every frame.
        settings: what the walk was asked for; noted in ``metrics.json``.
        fps: frames a second of the video.
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
        self.left_out: list[dict[str, float]] = []
        self.alignments: list[dict[str, Any]] = []
        self._verdicts: dict[int, Verdict] = {}
        self.seconds: dict[str, float] = {}
        self._fps = fps
        self._sheet: list[tuple[int, float, Tensor, Tensor]] = []
        self._stack = ExitStack()
        self._known_at_start: Tensor | None = None
        self._last_frame: Tensor | None = None

    def __enter__(self) -> Results:
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
        """Take in the next chunk, in order."""
        shown = self.codec.decode(chunk.view.latents[None])[0].cpu()
        chunk = chunk._replace(frames=chunk.frames.cpu(), view=MemoryView(*(part.cpu() for part in chunk.view)))
        old = shown.shape[1] - chunk.frames.shape[1]  # a frame shared with the chunk before
        stride = self.codec.temporal_stride
        for n in range(chunk.frames.shape[1]):
            before, after = (n + old) // stride, -(-(n + old) // stride)  # between latents, the holes of both are holes
            mask = enlarge(chunk.view.mask[before] & chunk.view.mask[after], self.codec.spatial_stride)
            memory_view = show_holes(shown[:, n + old], mask)
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
        """What was left out of the frames that latents stand for, and how their depth was aligned."""
        stride = self.codec.temporal_stride
        first = (-chunk.start) % stride  # the chunk's first frame that a latent stands for
        for k, written in enumerate(chunk.write_back):
            self.carved.append(written.carved)
            if written.alignment is not None:
                self.alignments.append(written.alignment._asdict())
            if written.verdict is not None:
                self.left_out.append(written.verdict.shares)
                self._verdicts[chunk.start + first + k * stride] = Verdict(*(part.cpu() for part in written.verdict))

    def _compare_with_real(self, chunk: Chunk) -> None:
        """Where a latent's camera is exactly a real one, hold the memory's view against what that one saw."""
        stride, count = self.codec.temporal_stride, chunk.view.mask.shape[0]
        last = chunk.start + chunk.frames.shape[1] - 1
        for name, (key, picture) in self.scene.real.items():
            target = self.scene.keys[key]
            for k in range(count):
                camera = self.cameras[last - stride * (count - 1 - k)]
                if f"{name}_view_psnr" not in self.metrics and same_camera(camera, target):
                    self._write_comparison(name, chunk, k, picture)

    def _write_comparison(self, name: str, chunk: Chunk, k: int, real: Tensor) -> None:
        size = self.codec.spatial_stride
        # Known is what the memory shows of the picture; what was filled in on the way has nothing to be held against.
        mask, remembered = chunk.view.mask[k], chunk.view.stamp[k] == 0
        view = self.codec.decode(chunk.view.latents[None, :, k : k + 1])[0, :, 0].cpu()
        write_image(self.partial / f"{name}_view.png", show_holes(view, enlarge(mask, size)))
        write_image(self.partial / f"{name}_known.png", enlarge(remembered.float(), size))
        write_image(self.partial / f"{name}_real.png", real)
        self.metrics[f"{name}_view_psnr"] = psnr(view, real, enlarge(remembered, size))
        self.metrics[f"{name}_view_psnr_with_filled"] = psnr(view, real, enlarge(mask, size))
        self.metrics[f"{name}_known_share"] = remembered.float().mean().item()
        self.metrics["unmoved_psnr"] = psnr(self.scene.image, real)

    def finish(self) -> dict[str, Any]:
        """Write what is left, move everything into place, and return the measures."""
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
            **self._write_back(),
            "points": len(self.memory),
            "memory_bytes": self.memory.nbytes - self.memory.history.nbytes,
            "history_bytes": self.memory.history.nbytes,
            "seconds": self.seconds,
        }
        if same_camera(self.cameras[-1], self.cameras[0]) and self._last_frame is not None:
            assert self._known_at_start is not None
            known = enlarge(self._known_at_start, self.codec.spatial_stride)
            metrics["loop_psnr"] = psnr(self._last_frame, image, known)
            # A second trip over the same cameras: nothing is left to fill in.
            grid = (self._known_at_start.shape[0], self._known_at_start.shape[1])
            cameras = self.cameras[:: self.codec.temporal_stride].rescale(grid)
            again = self.memory.read(cameras.to(self.memory.cache.xyz.device))
            metrics["second_trip_known_share"] = again.mask.float().mean((1, 2)).tolist()
        return {name: _plain(value) for name, value in metrics.items()}

    def _write_back(self) -> dict[str, Any]:
        """Shares of cells by reason over all frames; fits of depth, and points that were carved, frame by frame."""
        measures: dict[str, Any] = {}
        if self.left_out:
            names = self.left_out[0]
            measures["cells"] = {name: sum(one[name] for one in self.left_out) / len(self.left_out) for name in names}
        if any(self.carved):
            measures["points_carved"] = self.carved
        if self.alignments:
            measures["alignment"] = self.alignments
        return measures

    def _contact_sheet(self) -> Tensor:
        count = min(SHEET_COLUMNS, len(self._sheet))
        picks = [self._sheet[round(k * (len(self._sheet) - 1) / max(count - 1, 1))] for k in range(count)]
        rows = [[memory_view for _, _, memory_view, _ in picks], [frame for _, _, _, frame in picks]]
        labels = [
            [f"frame {n}: memory, {share:.1%} known" for n, share, _, _ in picks],
            [f"frame {n}: result" for n, _, _, _ in picks],
        ]
        if self._verdicts:
            judged = [(n, frame, self._verdicts[n]) for n, _, _, frame in picks if n in self._verdicts]
            rows.append([overlay(frame, verdict) for _, frame, verdict in judged])
            labels.append([f"frame {n}: {_reasons(verdict)}" for n, _, verdict in judged])
        return contact_sheet(rows, labels)


def _reasons(verdict: Verdict) -> str:
    """What is left out and why, in a line."""
    shares = {name: share for name, share in verdict.shares.items() if name != "kept" and share > 0}
    return ", ".join(f"{share:.1%} {name}" for name, share in shares.items()) or "all remembered"


def same_camera(a: Cameras, b: Cameras) -> bool:
    return torch.equal(a.cam2world, b.cam2world) and torch.equal(a.intrinsics, b.intrinsics)


def _plain(value: Any) -> Any:
    """Numbers as JSON can hold them: rounded to six digits, None where there is none."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
