# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Rendering of cosine blocks: each where it belongs, at its size."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mirage.cameras import dolly, out_and_back, straight, truck
from mirage.memory import LatentSpatialMemory
from mirage.models.embedded import DctCodec, FillModel
from mirage.rollout import rollout
from mirage_kernels import Cameras

SIZE = (96, 128)
START = Cameras(torch.tensor([[128.0, 0, 64], [0, 128, 48], [0, 0, 1]]), torch.eye(4), SIZE)
DEPTH = torch.full(SIZE, 2.0)


def waves(scale: float = 1.0, shift: float = 0.0) -> Tensor:
    """A smooth image, magnified about its center and shifted by pixels: a wall that is seen from nearer or aside."""
    y, x = ((torch.arange(side) + 0.5 - side / 2) / scale for side in SIZE)
    pattern = 0.5 + 0.3 * torch.cos((x[None] + shift) * (math.tau / 40)) * torch.cos(y[:, None] * (math.tau / 56))
    return pattern.expand(3, *SIZE)


def remember(codec: DctCodec, image: Tensor) -> LatentSpatialMemory:
    memory = LatentSpatialMemory(48)
    memory.write(codec.encode(image[None, :, None])[0], START, DEPTH[None])
    return memory


def picture(codec: DctCodec, memory: LatentSpatialMemory, camera: Cameras, *, plain: bool = False) -> Tensor:
    grid = camera.rescale((SIZE[0] // codec.spatial_stride, SIZE[1] // codec.spatial_stride))
    view = memory.read(grid) if plain else codec.render(memory, grid)
    assert view.mask[:, 1:-1, 1:-1].all()
    return codec.decode(view.latents[None])[0, :, 0]


@pytest.mark.parametrize("block", [4, 8, 16])
def test_the_view_that_was_written_keeps_its_bits(block: int) -> None:
    codec = DctCodec(block)
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    memory, grid = remember(codec, image), START.rescale((SIZE[0] // block, SIZE[1] // block))
    view = codec.render(memory, grid)
    assert torch.equal(view.latents, codec.encode(image[None, :, None])[0])
    assert torch.equal(view.latents, memory.read(grid).latents)


@pytest.mark.parametrize("block", [8, 16])
def test_a_wall_is_magnified_not_repeated(block: int) -> None:
    """At half the distance, a block covers four cells. Copied, it would show in each of them."""
    codec, near = DctCodec(block), dolly(START, torch.tensor([1.0]), 1.0)
    memory, true = remember(codec, waves()), waves(scale=2.0)
    errors = {plain: (picture(codec, memory, near, plain=plain) - true).abs() for plain in (True, False)}
    assert errors[True].mean() > 0.03
    assert errors[False].mean() < 0.005
    assert errors[False].max() < 0.08
    # what repeats with the period of the cells
    fold = errors[False].mean(0).reshape(SIZE[0] // block, block, SIZE[1] // block, block).mean((0, 2))
    assert fold.std() < 0.004


@pytest.mark.parametrize("block", [8, 16])
def test_a_shift_by_a_part_of_a_cell_is_shown(block: int) -> None:
    codec, aside = DctCodec(block), truck(START, torch.tensor([1.0]), 2.0 * 3 / 128)  # three pixels
    memory, true = remember(codec, waves()), waves(shift=3.0)
    inner = (slice(None), slice(block, -block), slice(block, -block))
    assert (picture(codec, memory, aside, plain=True) - true)[inner].abs().mean() > 0.04
    assert (picture(codec, memory, aside) - true)[inner].abs().mean() < 0.008


def test_a_frame_between_latents_is_a_rendering() -> None:
    """With a latent for each frame, no frame is a mean of two others."""
    codec = DctCodec.for_size(SIZE)
    assert (codec.spatial_stride, codec.temporal_stride) == (4, 1)
    path = truck(START, straight(9), 2.0 * 24 / 128)  # three pixels per frame
    memory = LatentSpatialMemory(48)
    (chunk,) = rollout(waves(), DEPTH, path, memory=memory, codec=codec, model=FillModel())
    inner = (slice(None), slice(8, -8), slice(8, -32))
    for n in range(9):
        assert (chunk.frames[:, n] - waves(shift=3.0 * n))[inner].abs().mean() < 0.006
    faded = (chunk.frames[:, 0] + chunk.frames[:, 4]) / 2
    assert (faded - chunk.frames[:, 2]).abs().mean() > 0.02
    assert [n for n, added in enumerate(chunk.written) if added] == [0, 4, 8], "one frame in four is written"
    assert memory.history.stamps.tolist() == [0, 4, 8]


def test_the_loop_closes_bit_for_bit_and_with_any_number_of_threads() -> None:
    codec, path = DctCodec(8, temporal_stride=1), dolly(START, out_and_back(9), 0.7)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            memory = LatentSpatialMemory(48)
            (chunk,) = rollout(waves(), DEPTH, path, memory=memory, codec=codec, model=FillModel())
            results.append(chunk.latents)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0][:, 0], results[0][:, -1])
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_blocks_and_strides_of_a_codec() -> None:
    sizes = {(96, 128): 4, (360, 540): 8, (480, 832): 8, (704, 1280): 16, (2160, 3840): 32}
    assert {size: DctCodec.for_size(size).spatial_stride for size in sizes} == sizes
    assert DctCodec().temporal_stride == 4
    frames = torch.rand(1, 3, 3, 16, 16)
    assert DctCodec(4, temporal_stride=1).encode(frames).shape == (1, 48, 3, 4, 4)
    torch.testing.assert_close(
        DctCodec(4, temporal_stride=1).decode(DctCodec(4, temporal_stride=1).encode(frames)), frames, rtol=0, atol=1e-5
    )
    with pytest.raises(ValueError, match="temporal_stride: expected at least 1, got 0"):
        DctCodec(4, temporal_stride=0)
