# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A step that is interrupted or fails leaves the session and its memory as before, or complete."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mirage import DctCodec, FillModel, Filters, LatentSpatialMemory, RolloutSession
from mirage.rollout import Chunk
from mirage_kernels import Cameras

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from interrupts import Failure, Interrupt, steps

START = Cameras(torch.tensor([[32.0, 0, 32], [0, 32, 24], [0, 0, 1]]), torch.eye(4), (48, 64))


class NoisyModel(FillModel):
    """Uses random numbers."""

    def __call__(self, *args: Any, generator: torch.Generator, **options: Any) -> Tensor:
        latents = super().__call__(*args, generator=generator, **options)
        latents[:, 1:] += torch.randn(latents[:, 1:].shape, generator=generator) * 0.01
        return latents


def path(step: int) -> Cameras:
    poses = torch.eye(4).repeat(4, 1, 1)
    poses[:, 0, 3] = torch.arange(1, 5) * 0.1 + 0.4 * step
    return Cameras(START.intrinsics.expand(4, 3, 3), poses, START.size)


def session() -> RolloutSession:
    codec = DctCodec(block=16)
    image = torch.rand(3, *START.size, generator=torch.Generator().manual_seed(0))
    made = RolloutSession(
        image,
        torch.full(START.size, 2.0),
        START,
        memory=LatentSpatialMemory(codec.channels, codec=codec.name),
        codec=codec,
        model=NoisyModel(),
        filters=Filters(),
    )
    made.step(path(0))
    return made


def step(made: RolloutSession, number: int) -> Chunk:
    return made.step(path(number), prompt=f"step {number}")


def contents(made: RolloutSession) -> dict[str, Any]:
    state = made.state()
    return {**state.tensors, **state.values, **made.memory._tensors()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    def equal(x: Any, y: Any) -> bool:
        return torch.equal(x, y) if isinstance(x, Tensor) else x == y

    return a.keys() == b.keys() and all(equal(value, b[name]) for name, value in a.items())


@pytest.mark.parametrize("kind", [Interrupt, Failure])
def test_a_step_is_done_or_not(kind: type[Interrupt] | type[Failure]) -> None:
    made = [session(), session()]
    step(made[1], 1)
    expected = [contents(one) for one in made]
    frames = [step(made[0], 1).frames, step(made[1], 2).frames]
    for at in steps(701 if kind is Interrupt else 211):
        one = session()
        if not kind(at).run(lambda one=one: step(one, 1)):
            break
        got = contents(one)
        which = [n for n in ((0, 1) if kind is Interrupt else (0,)) if same(got, expected[n])]
        assert which
        assert torch.equal(step(one, 1 + which[0]).frames, frames[which[0]])
    assert at > 1
