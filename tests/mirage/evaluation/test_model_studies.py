# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Studies of what chunk models generate: closed loops, and the holes of a memory."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mirage.cameras import out_and_back, pan
from mirage.evaluation.chunk_models import ComparedModel, WithoutMemory
from mirage.evaluation.closed_loop import (
    as_table,
    confidence_interval,
    procedural_starts,
    summarize,
    walk_loop,
)
from mirage.evaluation.depth_guess import DepthFrames, depth_errors, estimators, fit_ramp
from mirage.evaluation.holes import KnownClip, compare_in_holes
from mirage.evaluation.metrics import psnr
from mirage.models.embedded import DctCodec, FillModel
from mirage.models.nano.depth import NanoDepth
from mirage.models.nano.depth_network import DepthNetwork
from mirage.training.clips import ProceduralClips
from mirage_kernels import Cameras

SIZE = (64, 96)


def compared(name: str, model: Any, chunk: int = 3) -> ComparedModel:
    return ComparedModel(name, DctCodec(8, 1), model, {}, {}, chunk)


class Constant:
    """Returns gray, and keeps what it was shown."""

    patch = 1

    def __init__(self) -> None:
        self.shown: list[tuple[Tensor, Tensor]] = []

    def __call__(self, view: Tensor, mask: Tensor, *, first: Tensor, **_: Any) -> Tensor:
        self.shown.append((view, mask))
        gray = torch.zeros_like(view)
        gray[::16] = 4.0  # 0.5 in a block of 8 x 8
        gray[:, 0] = first
        return gray


def test_a_loop_returns_to_its_start() -> None:
    (start,) = procedural_starts([3], SIZE)
    cameras = pan(start.camera, out_and_back(7), 30)
    calls = []
    frames = walk_loop(compared("fill", FillModel()), start, cameras, on_chunk=lambda: calls.append(1))
    assert frames.shape == (7, 3, *SIZE)
    assert len(calls) == 3
    codec = DctCodec(8, 1)
    first = codec.decode(codec.encode(start.image[None, :, None]))[0, :, 0]
    assert psnr(frames[-1], first) > 30 > psnr(frames[3], first)


def test_without_memory_a_model_sees_nothing() -> None:
    (start,) = procedural_starts([3], SIZE)
    cameras = pan(start.camera, out_and_back(5), 10)
    seeing = Constant()
    walk_loop(compared("with", seeing), start, cameras)
    assert any(bool(mask[1:].any()) for _, mask in seeing.shown)
    blind = Constant()
    frames = walk_loop(compared("without", WithoutMemory(blind)), start, cameras)
    assert not any(bool(mask.any()) or bool(view.any()) for view, mask in blind.shown)
    torch.testing.assert_close(frames[1:], torch.full_like(frames[1:], 0.5))


def test_scores_in_holes() -> None:
    clips = ProceduralClips([4], 9, SIZE)
    clip = clips.read(clips.names[0])
    known = KnownClip("clip", clip.frames.float() / 255, clip.depth, clip.cameras, clip.exclude)
    found = compare_in_holes([compared("fill", FillModel(), 5), compared("gray", Constant(), 5)], known)
    assert found.keys() == {"fill", "gray"}
    assert found["fill"]["known_psnr"] > found["fill"]["psnr"] > 0
    assert found["fill"]["known_psnr"] > found["gray"]["known_psnr"] + 5
    # Gray has the same error wherever the truth is known, so it can be computed from the clip alone.
    still = KnownClip("still", known.frames[:1].expand(5, -1, -1, -1), known.depth[:1].expand(5, -1, -1),
                      known.cameras[[0] * 5], torch.ones(5, *SIZE, dtype=torch.bool))  # fmt: skip
    everything = compare_in_holes([compared("gray", Constant(), 5)], still)["gray"]
    codec = DctCodec(8, 1)
    truth = codec.encode(known.frames[:1].movedim(1, 0)[None])[0]
    gray = torch.zeros_like(truth)
    gray[::16] = 4.0
    assert everything["latent_rmse"] == pytest.approx((gray - truth).square().mean().sqrt().item(), rel=1e-5)
    assert everything["psnr"] == pytest.approx(psnr(torch.full((3, *SIZE), 0.5), codec.decode(truth[None])[0, :, 0]))
    assert math.isnan(everything["known_psnr"])


def test_intervals_hold_the_mean() -> None:
    values = torch.randn(40, generator=torch.Generator().manual_seed(0)).tolist()
    low, high = confidence_interval(values)
    assert low < sum(values) / 40 < high
    assert high - low == pytest.approx(4 / 40**0.5, rel=0.3)
    summary = summarize([{"psnr": value} for value in values])
    table = as_table({"fill": summary, "nano": summary})
    assert table.splitlines()[0] == "| | psnr |"
    assert table.splitlines()[2].startswith("| fill | ")


def test_errors_of_depth() -> None:
    truth = torch.tensor([[1.0, 2.0, 4.0], [0.0, 8.0, 2.0]])
    exact = depth_errors(torch.where(truth > 0, truth, 5), truth)
    assert list(exact.values()) == [0, 1, 0]
    double = depth_errors(2 * truth.clamp(min=1), truth)
    assert double["absolute relative error"] == 1
    assert double["within 1.25"] == 0
    assert double["error of the shape"] == pytest.approx(0, abs=1e-12)


def test_a_ramp_ignores_what_is_far_off() -> None:
    line = 2 + 0.05 * torch.arange(40.0)
    depth = line[:, None].expand(3, 40, 30).clone()
    depth[:, :, ::7] = 50.0
    depth[0, :10] = 0
    torch.testing.assert_close(fit_ramp(depth), line, rtol=1e-2, atol=0)


def test_depth_of_frames_is_estimated_alike() -> None:
    """Each of the estimators gives a depth for every pixel of every frame."""
    torch.manual_seed(0)
    k = torch.tensor([[50.0, 0, 24], [0, 50.0, 16], [0, 0, 1]])
    cameras = Cameras(k.expand(2, 3, 3), torch.eye(4).expand(2, 4, 4), (32, 48))
    frames = DepthFrames(torch.rand(3, 2, 32, 48), torch.full((2, 32, 48), 3.0), cameras)
    made = estimators(frames, NanoDepth(DepthNetwork()))
    assert list(made) == ["nano", "constant", "ramp", "guess"]
    for name, estimate in made.items():
        depth = estimate(frames)
        assert depth.shape == (2, 32, 48), name
        assert (depth > 0).all(), name
    assert depth_errors(made["constant"](frames)[0], frames.depth[0])["absolute relative error"] == 0
