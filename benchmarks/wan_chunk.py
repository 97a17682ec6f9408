# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Later chunks of a walk, part by part, and what a cloud of coloured points takes in the memory's place.

A *later* chunk begins with the last latent of the one before, follows two preceding latents and has references. The
walk itself is :class:`mirage.rollout.RolloutSession`, whose own clock is read.

* *read*: the memory drawn through the cameras of the nine latents. *retrieve*: references.
* *denoise*: the generator, with 20 steps; where fewer were made, as if by more of the median step.
* *decode*: latents to frames.
* *depth*: the memory's own in what it does not show (the far side's). *write*: all else about writing eight latents:
  drawing the memory from each one's camera, unprojecting, comparing, inserting.

With coloured points *read* is a rendering at the picture's size, which the codec encodes (*encode*): either all 33
frames as a video, or the nine frames that latents stand for, each alone, which is the least that gives nine latents.
Both clouds hold the same latent frames at the same depth. Retrieval, denoising, decoding and depth are taken from the
same chunk, because they would be the same.
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

from benchmarks.baselines.rgb_cloud import RgbCloud, as_bytes
from benchmarks.wan_models import WORDS
from mirage.cameras import out_and_back, pan
from mirage.geometry.hole_filling import fill_from_far_side
from mirage.models.wan.pipeline import MiragePipeline
from mirage.rollout import CHUNK
from mirage_kernels import Cameras

STEPS = 20
STRIDE = 4  # frames from one latent to the next
TURN = 60.0  # degrees, out and back
WAYS = ("latent", "rgb_video", "rgb_frames")
MEMORY_PATH = ("read", "encode", "retrieve", "depth", "write")

Parts = dict[str, float]  # seconds by the name of a part


class Stopwatch:
    """Seconds since the last look, once the device has done what it was given."""

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
    """Collect the seconds that the memory spends on finding depth where it shows nothing."""
    seconds: list[float] = []

    def timed(depth: Tensor) -> Tensor:
        watch = Stopwatch(device)
        filled = fill_from_far_side(depth)
        seconds.append(watch.lap())
        return filled

    with mock.patch("mirage.memory.latent_memory.fill_from_far_side", timed):
        yield seconds


class Course:
    """A walk that pans out and back through a made-up relief, remembered in both ways.

    Args:
        pipe: the models.
        picture: (H, W).
        chunks: to walk, at most.
        steps: of denoising, at least 2.
        bar: is told of every step.
    """

    def __init__(self, pipe: MiragePipeline, picture: tuple[int, int], chunks: int, steps: int, bar: tqdm) -> None:
        self._pipe, self._steps, self._bar = pipe, steps, bar
        self._device = pipe.transformer.device
        height, width = picture
        intrinsics = torch.tensor([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]], dtype=torch.float32)
        start = Cameras(intrinsics, torch.eye(4), picture)
        self._path = pan(start, out_and_back(1 + (CHUNK - 1) * chunks), TURN).to(self._device)
        rng = torch.Generator().manual_seed(0)
        image = nnf.interpolate(torch.rand(1, 3, height // 8, width // 8, generator=rng), picture, mode="bilinear")[0]
        across = torch.linspace(0, 12, width)
        depth = 3 + 0.5 * across.sin() + torch.linspace(0, 1, height)[:, None]
        words = torch.randn(1, WORDS, pipe.transformer.config.text_dim, generator=rng).to(pipe.transformer.dtype)
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
        if step:  # the first one comes after all that is not denoising
            self._step_seconds.append(seconds)
        self._bar.update()
        return {}

    @torch.no_grad()
    def step(self) -> dict[str, Parts]:
        """Walk one chunk; seconds of every part, in every way to remember, and of one step of denoising."""
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
        ways = {"latent": {"read": spent["read"], **shared, "write": spent["write"] - sum(depth)}}
        frames = as_bytes(chunk.frames[:, -(CHUNK - 1) :][:, STRIDE - 1 :: STRIDE].movedim(1, 0))
        write = self._write(frames, cameras[STRIDE::STRIDE])
        ways |= {name: {**parts, **shared, "write": write} for name, parts in rgb.items()}
        self._done += 1
        return {**ways, "step": {"denoise": step}}

    def _condition(self, cameras: Cameras, *, alone: bool = False) -> Parts:
        """What the cloud shows to these cameras, as latents: of one video, or of frames that stand each ``alone``."""
        watch = Stopwatch(self._device)
        pictures = self._cloud.render(cameras).pictures
        read = watch.lap()
        self._pipe.codec.encode(pictures[:, :, None] if alone else pictures.movedim(0, 1)[None])
        return {"read": read, "encode": watch.lap()}

    def _write(self, frames: Tensor, cameras: Cameras) -> float:
        """Add frames (T, 3, H, W) to the cloud, at the depth that the memory saw them at; seconds."""
        surface = self._session.memory.history.surface[-len(frames) :]
        depth = nnf.interpolate(surface[:, None], cameras.size, mode="nearest-exact")[:, 0]
        watch = Stopwatch(self._device)
        self._cloud.write(frames, depth, cameras)
        return watch.lap()

    def facts(self) -> dict[str, Any]:
        """What was remembered, and how many references the next chunk would get."""
        grid = self._session.memory.history.cameras
        assert grid is not None
        found = self._session.memory.retrieve(grid[-9:], before=int(self._session.memory.history.stamps[-9]))
        return {
            "references": found.latents.shape[1],
            "latent rows": len(self._session.memory),
            "latent bytes": self._session.memory.nbytes,
            "coloured points": len(self._cloud),
            "coloured points' bytes": self._cloud.nbytes,
        }


def measure(
    pipe: MiragePipeline, picture: tuple[int, int], *, chunks: int, warm_up: int, steps: int, budget: float
) -> tuple[list[dict[str, Parts]], dict[str, Any]]:
    """Walk ``warm_up`` chunks and then at most ``chunks`` more; the seconds of these, and what was remembered.

    No chunk is begun that would go beyond ``budget`` seconds, but one is always measured.
    """
    begin, measured = time.perf_counter(), list[dict[str, Parts]]()
    total = warm_up + chunks
    with tqdm(total=total * steps, unit="step", desc="denoising") as bar:
        course = Course(pipe, picture, total, steps, bar)
        for number in range(total):
            before = time.perf_counter()
            seconds = course.step()
            if number >= warm_up:
                measured.append(seconds)
            now = time.perf_counter()
            if measured and now - begin + (now - before) > budget:
                break
    return measured, course.facts()


def summarise(measured: list[dict[str, Parts]]) -> dict[str, Any]:
    """Medians over chunks: milliseconds and shares of every part in every way, and what they come to."""
    ways = {
        way: {part: median(1e3 * chunk[way][part] for chunk in measured) for part in measured[0][way]} for way in WAYS
    }
    sums = {way: sum(parts.values()) for way, parts in ways.items()}
    paths = {way: sum(parts.get(part, 0.0) for part in MEMORY_PATH) for way, parts in ways.items()}
    known = {way: parts["read"] + parts.get("encode", 0.0) for way, parts in ways.items()}
    return {
        "denoise_step_ms": median(1e3 * chunk["step"]["denoise"] for chunk in measured),
        "ms": ways,
        "chunk_ms": sums,
        "shares": {way: {part: ms / sums[way] for part, ms in parts.items()} for way, parts in ways.items()},
        "memory_share": {way: paths[way] / sums[way] for way in WAYS},
        "memory_path_ratio": {way: paths[way] / paths["latent"] for way in WAYS[1:]},
        "read_ratio": {way: known[way] / known["latent"] for way in WAYS[1:]},
    }
