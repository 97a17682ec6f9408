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
    """Predicts the mean of the patch of cells that a cell lies in, and keeps the sizes of its input."""

    conditioning = Conditioning()
    dtype = torch.float32

    def __init__(self, patch: int = 2) -> None:
        super().__init__()
        self.config = SimpleNamespace(patch_size=(1, patch, patch), control_channels=3)
        self.register_buffer("anything", torch.zeros(1))
        self.sizes: list[list[tuple[int, ...]]] = []

    def forward(self, hidden_states: Tensor, control_hidden_states: Tensor, **_: Any) -> tuple[Tensor]:
        self.sizes.append([tuple(hidden_states.shape[2:]), tuple(control_hidden_states.shape[2:])])
        patch = self.config.patch_size
        assert hidden_states.shape[3] % patch[1] == hidden_states.shape[4] % patch[2] == 0
        means = torch.nn.functional.avg_pool3d(hidden_states, patch)
        return (means.repeat_interleave(patch[1], 3).repeat_interleave(patch[2], 4),)


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
    size = (4, 6) if model.patch < 4 else (8, 12)
    return model(
        torch.rand(2, 3, *size), torch.ones(3, *size, dtype=torch.bool), first=torch.rand(2, *size),
        preceding=torch.rand(2, 1, *size), preceding_view=torch.rand(2, 1, *size),
        preceding_mask=torch.ones(1, *size, dtype=torch.bool), references=torch.rand(2, references, *size), prompt="",
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


@pytest.mark.parametrize(("patch", "moved"), [(1, (4, 6)), (2, (6, 8)), (4, (12, 16))])
def test_the_margin_is_half_a_patch(patch: int, moved: tuple[int, int]) -> None:
    """And none of patches that are one cell."""
    network = Network(patch)
    assert generate(network, 2).isfinite().all()
    assert network.sizes[1][0][1:] == moved


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
    for margin in (1, 2):
        wide = add_margin(x, margin)
        assert torch.equal(wide[..., margin:-margin, margin:-margin], x)
        assert torch.equal(wide[..., 0, margin:-margin], x[..., 0, :])
    assert add_margin(x[:, :, :0], 1).shape == (1, 2, 0, 6, 8)
