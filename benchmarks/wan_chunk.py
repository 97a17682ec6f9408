# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of the later chunks of a rollout, with the latent memory and with RGB points in its place.

A *later* chunk begins with the last latent of the previous one, has two preceding latents and references. The rollout
is :class:`mirage.rollout.RolloutSession`, which measures its own parts.

* *read*: reading the memory from the cameras of the nine latents. *retrieve*: references.
* *denoise*: the chunk model with 20 steps; missing steps are added with the time of the median step.
* *decode*: latents to frames.
* *depth*: filling the depth where the memory has none. *write*: everything else about writing eight latents: reading
  the memory from each camera, unprojecting, comparing, inserting.

With RGB points, *read* is a rendering at the size of the image, which the codec encodes (*encode*): either all 33
frames as a video, or the nine frames of the latents separately, the minimum for nine latents. Both memories hold the
same latent frames at the same depth. Retrieval, denoising, decoding and depth are taken from the same chunk, because
they would be the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as nnf
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks.wan_models import WORDS
from mirage.cameras import out_and_back, pan
from mirage.evaluation.baselines.rgb_cloud import RgbCloud, as_bytes
from mirage.geometry.hole_filling import fill_from_far_side
from mirage.models.wan.pipeline import MiragePipeline
from mirage.rollout import CHUNK
from mirage_kernels import Cameras

STEPS = 20
STRIDE = 4  # frames per latent
TURN = 60.0  # degrees, out and back
MEMORIES = ("latent", "rgb_video", "rgb_frames")
MEMORY_PATH = ("read", "encode", "retrieve", "depth", "write")

Parts = dict[str, float]  # seconds by the name of a part


class Stopwatch:
    """Measures the seconds since the last lap, with synchronization."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = 0.0
        self.lap()

    def lap(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        last, self._last = self._last, time.perf_counter()
        return self._last - last


@contextmanager
def timed_depth(device: torch.device) -> Iterator[list[float]]:
    """Collect the seconds that the memory spends on filling depth."""
    seconds: list[float] = []

    def timed(depth: Tensor) -> Tensor:
        watch = Stopwatch(device)
        filled = fill_from_far_side(depth)
        seconds.append(watch.lap())
        return filled

    with mock.patch("mirage.memory.frame_writing.fill_from_far_side", timed):
        yield seconds


class Course:
    """A rollout that pans out and back through a synthetic relief, written to both kinds of memory.

    Args:
        pipe: the models.
        image_size: (H, W).
        chunks: maximum number of chunks.
        steps: denoising steps, at least 2.
        bar: progress bar, updated after every step.
    """

    def __init__(self, pipe: MiragePipeline, image_size: tuple[int, int], chunks: int, steps: int, bar: tqdm) -> None:
        self._pipe, self._steps, self._bar = pipe, steps, bar
        self._device = pipe.transformer.device
        height, width = image_size
        intrinsics = torch.tensor([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]], dtype=torch.float32)
        start = Cameras(intrinsics, torch.eye(4), image_size)
        self._path = pan(start, out_and_back(1 + (CHUNK - 1) * chunks), TURN).to(self._device)
        generator = torch.Generator().manual_seed(0)
        image = nnf.interpolate(
            torch.rand(1, 3, height // 8, width // 8, generator=generator), image_size, mode="bilinear"
        )[0]
        across = torch.linspace(0, 12, width)
        depth = 3 + 0.5 * across.sin() + torch.linspace(0, 1, height)[:, None]
        words = torch.randn(1, WORDS, pipe.transformer.config.text_dim, generator=generator).to(pipe.transformer.dtype)
        self._cloud = RgbCloud((1 + (CHUNK - 1) // STRIDE * chunks) * height * width, self._device)
        self._cloud.write(as_bytes(image[None]).to(self._device), depth[None].to(self._device), self._path[:1])
        self._step_seconds: list[float] = []
        self._watch = Stopwatch(self._device)
        self._session = pipe.start_session(
            image,
            None,
            self._path[:1],
            depth=depth,
            prompt_embeds=words.to(self._device),
            num_inference_steps=steps,
            generator=torch.Generator(self._device).manual_seed(0),
            callback_on_step_end=self._note_step,
        )
        self._done = 0

    def _note_step(self, _pipe: MiragePipeline, step: int, _timestep: Tensor, _made: dict[str, Any]) -> dict[str, Any]:
        seconds = self._watch.lap()
        if step:  # the first lap contains everything before denoising
            self._step_seconds.append(seconds)
        self._bar.update()
        return {}

    @torch.no_grad()
    def step(self) -> dict[str, Parts]:
        """Generate one chunk; the seconds of every part for each kind of memory, and of one denoising step."""
        first = (CHUNK - 1) * self._done
        cameras = self._path[first : first + CHUNK]
        rgb = {"rgb_video": self._condition(cameras), "rgb_frames": self._condition(cameras[::STRIDE], alone=True)}
        self._step_seconds.clear()
        with timed_depth(self._device) as depth:
            chunk = self._session.step(cameras[1:])
        if not chunk.latents.isfinite().all():
            raise RuntimeError(f"chunk {self._done}: expected finite latents, got others")
        step, spent = median(self._step_seconds), chunk.seconds
        shared = {
            "retrieve": spent["retrieve"],
            "denoise": spent["generate"] + (STEPS - self._steps) * step,
            "decode": spent["decode"],
            "depth": sum(depth),
        }
        parts = {"latent": {"read": spent["read"], **shared, "write": spent["write"] - sum(depth)}}
        frames = as_bytes(chunk.frames[:, -(CHUNK - 1) :][:, STRIDE - 1 :: STRIDE].movedim(1, 0))
        write = self._write(frames, cameras[STRIDE::STRIDE])
        parts |= {name: {**own, **shared, "write": write} for name, own in rgb.items()}
        self._done += 1
        return {**parts, "step": {"denoise": step}}

    def _condition(self, cameras: Cameras, *, alone: bool = False) -> Parts:
        """Render the points and encode them, as one video or as separate frames (``alone``)."""
        watch = Stopwatch(self._device)
        images = self._cloud.render(cameras).images
        read = watch.lap()
        self._pipe.codec.encode(images[:, :, None] if alone else images.movedim(0, 1)[None])
        return {"read": read, "encode": watch.lap()}

    def _write(self, frames: Tensor, cameras: Cameras) -> float:
        """Write frames (T, 3, H, W) to the points, with the depth in the memory's history; seconds."""
        surface = self._session.memory.history.surface[-len(frames) :]
        depth = nnf.interpolate(surface[:, None], cameras.size, mode="nearest-exact")[:, 0]
        watch = Stopwatch(self._device)
        self._cloud.write(frames, depth, cameras)
        return watch.lap()

    def facts(self) -> dict[str, Any]:
        """The sizes of both memories, and the number of references of the next chunk."""
        grid = self._session.memory.history.cameras
        assert grid is not None
        found = self._session.memory.retrieve(grid[-9:], before=int(self._session.memory.history.stamps[-9]))
        return {
            "references": found.latents.shape[1],
            "latent rows": len(self._session.memory),
            "latent bytes": self._session.memory.nbytes,
            "RGB points": len(self._cloud),
            "RGB points' bytes": self._cloud.nbytes,
        }


def measure(
    pipe: MiragePipeline, image_size: tuple[int, int], *, chunks: int, warm_up: int, steps: int, budget: float
) -> tuple[list[dict[str, Parts]], dict[str, Any]]:
    """Generate ``warm_up`` chunks and then at most ``chunks`` more; the seconds of these, and facts about the memories.

    No chunk is started that would exceed ``budget`` seconds, but one is always measured.
    """
    begin, measured = time.perf_counter(), list[dict[str, Parts]]()
    total = warm_up + chunks
    with tqdm(total=total * steps, unit="step", desc="denoising") as bar:
        course = Course(pipe, image_size, total, steps, bar)
        for number in range(total):
            before = time.perf_counter()
            seconds = course.step()
            if number >= warm_up:
                measured.append(seconds)
            now = time.perf_counter()
            if measured and now - begin + (now - before) > budget:
                break
    return measured, course.facts()


def summarize(measured: list[dict[str, Parts]]) -> dict[str, Any]:
    """Medians over chunks: milliseconds and shares of every part for each kind of memory, their sums and ratios."""
    times = {
        memory: {part: median(1e3 * chunk[memory][part] for chunk in measured) for part in measured[0][memory]}
        for memory in MEMORIES
    }
    sums = {memory: sum(parts.values()) for memory, parts in times.items()}
    paths = {memory: sum(parts.get(part, 0.0) for part in MEMORY_PATH) for memory, parts in times.items()}
    reading = {memory: parts["read"] + parts.get("encode", 0.0) for memory, parts in times.items()}
    return {
        "denoise_step_ms": median(1e3 * chunk["step"]["denoise"] for chunk in measured),
        "ms": times,
        "chunk_ms": sums,
        "shares": {memory: {part: ms / sums[memory] for part, ms in parts.items()} for memory, parts in times.items()},
        "memory_share": {memory: paths[memory] / sums[memory] for memory in MEMORIES},
        "memory_path_ratio": {memory: paths[memory] / paths["latent"] for memory in MEMORIES[1:]},
        "read_ratio": {memory: reading[memory] / reading["latent"] for memory in MEMORIES[1:]},
    }
