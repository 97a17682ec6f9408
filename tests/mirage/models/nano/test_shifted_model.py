# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The grid that moves by a cell in every second step."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from mirage.models.nano.shifted_model import ShiftedChunkModel, add_margin
from mirage.models.wan.conditioning import Conditioning
from mirage.models.wan.timesteps import make_scheduler


class Network(torch.nn.Module):
    """Predicts the mean of the patch of 2x2 cells that a cell lies in, and keeps the sizes of its input."""

    conditioning = Conditioning()
    dtype = torch.float32
    config = SimpleNamespace(patch_size=(1, 2, 2), control_channels=3)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("anything", torch.zeros(1))
        self.sizes: list[list[tuple[int, ...]]] = []

    def forward(self, hidden_states: Tensor, control_hidden_states: Tensor, **_: Any) -> tuple[Tensor]:
        self.sizes.append([tuple(hidden_states.shape[2:]), tuple(control_hidden_states.shape[2:])])
        means = torch.nn.functional.avg_pool3d(hidden_states, (1, 2, 2))
        return (means.repeat_interleave(2, 3).repeat_interleave(2, 4),)


class Codec:
    name = "dct-8"

    def white_latents(self, count: int, h: int, w: int) -> Tensor:
        return torch.zeros(2, count, h, w)


def generate(network: Network, steps: int, references: int = 1, guidance: float = 1.0) -> Tensor:
    text = torch.zeros(1, 1, 4)
    negative = None if guidance == 1 else text
    model = ShiftedChunkModel(network, make_scheduler(1.0), Codec(), lambda _: (text, negative), steps=steps,
                              guidance_scale=guidance)  # fmt: skip
    torch.manual_seed(0)
    return model(
        torch.rand(2, 3, 4, 6), torch.ones(3, 4, 6, dtype=torch.bool), first=torch.rand(2, 4, 6),
        preceding=torch.rand(2, 1, 4, 6), preceding_view=torch.rand(2, 1, 4, 6),
        preceding_mask=torch.ones(1, 4, 6, dtype=torch.bool), references=torch.rand(2, references, 4, 6), prompt="",
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


@pytest.mark.parametrize("references", [0, 1])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_every_second_step_has_a_margin(references: int, guidance: float) -> None:
    network = Network()
    made = generate(network, 4, references, guidance)
    assert made.shape == (2, 3, 4, 6)
    assert made.isfinite().all()
    frames, calls = 4 + references, 1 if guidance == 1 else 2
    plain, moved = [(frames, 4, 6), (4, 4, 6)], [(frames, 6, 8), (4, 6, 8)]
    assert network.sizes == [size for size in (plain, moved, plain, moved) for _ in range(calls)]


def test_borders_of_patches_move() -> None:
    """Cells of one patch differ after a step that moves the grid, and do not before."""
    network = Network()
    flow = ShiftedChunkModel._flow
    seen = {}

    def look(self: ShiftedChunkModel, *args: Any) -> Tensor:
        made = flow(self, *args)
        seen[len(seen)] = made
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShiftedChunkModel, "_flow", look)
        generate(network, 2)
    assert torch.equal(seen[0][..., 0], seen[0][..., 1])
    assert not torch.equal(seen[0][..., 1], seen[0][..., 2])
    assert not torch.equal(seen[1][..., 0], seen[1][..., 1])
    assert torch.equal(seen[1][..., 1], seen[1][..., 2])


def test_a_margin_repeats_the_edge() -> None:
    x = torch.rand(1, 2, 3, 4, 6)
    assert torch.equal(add_margin(x)[..., 1:-1, 1:-1], x)
    assert torch.equal(add_margin(x)[..., 0, 1:-1], x[..., 0, :])
    assert add_margin(x[:, :, :0]).shape == (1, 2, 0, 6, 8)
