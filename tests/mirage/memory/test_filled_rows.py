# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Cells without depth are kept at the depth around them, and yield to surfaces with depth."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mirage.cameras import pan
from mirage.errors import DataError
from mirage.memory import LatentSpatialMemory
from mirage_kernels import Cameras, load_tensors, save_tensors

GRID = (6, 8)
START = Cameras(torch.tensor([[96.0, 0, 64], [0, 96, 48], [0, 0, 1]]), torch.eye(4), (96, 128))


def latents(seed: int = 0) -> Tensor:
    return torch.randn(4, 1, *GRID, generator=torch.Generator().manual_seed(seed))


def half(distance: float) -> Tensor:
    """Depth in the right half only."""
    depth = torch.full((1, 96, 128), distance)
    depth[:, :, :64] = 0
    return depth


def filled_memory() -> LatentSpatialMemory:
    memory = LatentSpatialMemory(4)
    assert memory.write(latents(), START, half(2.0), fill_depth=True) == [48]
    return memory


def test_cells_without_depth_come_back_bit_for_bit() -> None:
    view = filled_memory().read(START.rescale(GRID))
    assert torch.equal(view.latents, latents())
    torch.testing.assert_close(view.depth, torch.full((1, *GRID), 2.0))
    assert LatentSpatialMemory(4).write(latents(), START, half(2.0)) == [24], "only if it is asked for"


def test_an_image_without_any_depth_is_not_written() -> None:
    assert LatentSpatialMemory(4).write(latents(), START, torch.zeros(1, 96, 128), fill_depth=True) == [0]


@pytest.mark.parametrize("pixels", [True, False])
def test_masked_cells_stay_out(pixels: bool) -> None:
    cells = torch.zeros(1, *GRID, dtype=torch.bool)
    cells[0, :2, :3] = True
    cells[0, 3, 6] = True
    mask = cells.repeat_interleave(16, 1).repeat_interleave(16, 2) if pixels else cells
    memory = LatentSpatialMemory(4)
    assert memory.write(latents(), START, half(2.0), mask=mask, fill_depth=True) == [48 - 7]
    assert torch.equal(memory.read(START.rescale(GRID)).mask, ~cells)


@pytest.mark.parametrize("distance", [1.0, 2.0, 4.0], ids=["nearer", "same", "farther"])
def test_a_surface_with_depth_wins_wherever_it_lies(distance: float) -> None:
    memory = filled_memory()
    memory.write(latents(1), START, torch.full((1, 96, 128), distance), stamps=[9])
    view = memory.read(START.rescale(GRID))
    left = (slice(None), slice(None), slice(0, 4))
    assert bool((view.stamp[left] == 9).all())
    torch.testing.assert_close(view.depth[left], torch.full((1, 6, 4), distance))
    assert torch.equal(view.latents[:, :, :, :4], latents(1)[:, :, :, :4])


def test_invented_frames_yield_as_well() -> None:
    memory = LatentSpatialMemory(4)
    memory.write(latents(), START, torch.full((1, 96, 128), 2.0))
    aside = pan(START, torch.tensor([1.0]), 25)
    (added,) = memory.write(latents(1), aside)
    assert added > 0
    assert not memory.read(aside.rescale(GRID), filled=False).mask.all()
    memory.write(latents(2), aside, torch.full((1, 96, 128), 3.0), stamps=[5])
    view = memory.read(aside.rescale(GRID))
    known = memory.read(aside.rescale(GRID), filled=False)
    assert known.mask.all()
    assert torch.equal(view.latents, known.latents)


def test_a_saved_memory_still_yields(tmp_path: Path) -> None:
    path = tmp_path / "memory.safetensors"
    filled_memory().save(path)
    memory = LatentSpatialMemory.load(path)
    assert int(memory.read(START.rescale(GRID), filled=False).mask.sum()) == 24
    tensors, settings = load_tensors(path, kind="memory", version=2)
    assert int(tensors["filled"].sum()) == 24
    old = {name: tensor for name, tensor in tensors.items() if name != "filled"}
    save_tensors(path, old, kind="memory", version=2, settings=settings)
    assert LatentSpatialMemory.load(path).read(START.rescale(GRID), filled=False).mask.all()
    save_tensors(path, old | {"filled": torch.zeros(3)}, kind="memory", version=2, settings=settings)
    with pytest.raises(DataError, match="filled: expected bool"):
        LatentSpatialMemory.load(path)


def test_marks_follow_their_rows_when_others_are_carved() -> None:
    memory = filled_memory()
    depth = torch.zeros(96, 128)
    depth[:, 64:] = 4.0  # what was at 2 m in the right half is gone
    assert memory.carve(depth, START, GRID) > 0
    known = memory.read(START.rescale(GRID), filled=False).mask[0]
    assert not known[:, :4].any(), "the left half is at a guessed depth still"
    assert memory.read(START.rescale(GRID)).mask[0, :, :4].all()


def test_marks_follow_their_rows_when_the_oldest_are_evicted() -> None:
    memory = LatentSpatialMemory(4, max_bytes=100 * 60)
    assert memory.write(latents(), START, half(2.0), stamps=[0], fill_depth=True) == [48]
    for k in range(1, 6):
        memory.write(latents(k), pan(START, torch.tensor([1.0]), 60 * k), half(2.0), stamps=[k], fill_depth=True)
    assert memory.cache.memory_stats()["evicted"] > 0
    last = pan(START, torch.tensor([1.0]), 300)
    known = memory.read(last.rescale(GRID), filled=False).mask[0]
    assert not known[:, 1:3].any()
    assert known[:, 5:].all()
