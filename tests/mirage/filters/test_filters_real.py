# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Filters on real images from the folder MIRAGE_DATA, with the scenes of benchmarks.filters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import filters as scenes
from benchmarks.ghosts import GRID, Haunted, cow, haunt, walk
from mirage.filters import ConsistencyFilter, FarFilter, Filters, MotionFilter, Reason, SkyFilter
from mirage.memory import LatentSpatialMemory

pytestmark = pytest.mark.usefixtures("data")


@pytest.fixture(scope="module")
def haunted(data: Path) -> Haunted:
    """40 frames of hololens with a cow that moves."""
    assert data.is_dir()
    return haunt(cow(), 0.35)


@pytest.mark.parametrize(("name", "touched", "missed"), [("cow_mask", 176, 41), ("people_mask", 131, 62)])
def test_no_cell_with_a_masked_pixel_is_written(name: str, touched: int, missed: int) -> None:
    """Nearest-neighbor sampling of the mask would write a quarter to a half of them."""
    picture, mask, grid = getattr(scenes, name)()
    assert scenes.count_masked(mask, grid) == (touched, 0, missed)
    camera = scenes.look_at(picture, grid).camera
    out = Filters()(scenes.look_at(picture, grid, exclude=mask)).mask
    memory = LatentSpatialMemory(1)
    height, width = mask.shape[0] // grid[0], mask.shape[1] // grid[1]
    latents = mask.reshape(grid[0], height, grid[1], width).any(3).any(1).float()[None, None]
    for cells in (out[None], mask[None]):  # pooled by the filter or by the kernels
        memory.write(latents, camera, torch.ones(1, *mask.shape), mask=cells)
        assert len(memory) == grid[0] * grid[1] - touched
    assert not memory.cache.features().any()


def test_sky_of_a_photograph_without_depth() -> None:
    out, lost, result = scenes.judge_sky()
    print(f"sky: {out:.4f} of its cells out, {lost:.4f} of the others lost")
    assert out >= 0.95
    assert lost <= 0.03
    assert set(result.reason.unique().tolist()) == {Reason.KEPT, Reason.SKY}


def test_far_cells_lie_beyond_the_horizon(haunted: Haunted) -> None:
    """Exactly the cells with a pixel beyond the horizon are marked."""
    for t in (7, 8, 9):
        depth = haunted.scene[t]
        beyond = (depth > scenes.HORIZON).reshape(GRID[0], 8, GRID[1], 8).any(3).any(1)
        assert 0.02 < beyond.float().mean() < 0.9
        observation = scenes.look_at(haunted.frames[:, t], GRID, depth)
        assert torch.equal(Filters([FarFilter(scenes.HORIZON)])(observation).mask, beyond)
        assert bool(Filters([SkyFilter(far=scenes.HORIZON)])(observation).mask[beyond].all())


def test_a_moving_object_is_not_written(haunted: Haunted) -> None:
    """Motion and consistency alone keep out at least 90 % of its points, and lose at most 3 % of the static surface.
    With masks that are too small and miss every fifth frame, at most 1 % of its points stay."""
    nothing = walk(haunted, Filters(), carve=False)
    perfect = walk(haunted, Filters(), exclude=haunted.thing, carve=False)
    both = Filters([ConsistencyFilter(), MotionFilter(step=4)])
    alone = walk(haunted, both)
    masked = walk(haunted, both, exclude=scenes.loose_mask(haunted.thing))
    print(f"points: {nothing.ghosts}, {alone.ghosts} with filters, {masked.ghosts} with masks too")
    print(f"static surface lost: {scenes.lost(alone, perfect):.4f}, {scenes.lost(masked, perfect):.4f}")
    assert nothing.ghosts > 5000
    assert perfect.ghosts == 0
    assert alone.ghosts <= 0.1 * nothing.ghosts
    assert masked.ghosts <= 0.01 * nothing.ghosts
    assert max(scenes.lost(alone, perfect), scenes.lost(masked, perfect)) <= 0.03


def test_a_removed_object_is_carved(haunted: Haunted) -> None:
    """Nothing else is carved, except for what this recording carves without any object."""
    stale = scenes.judge_stale(haunted)
    print(stale)
    assert stale.thing > 500
    assert stale.left == 0
    assert stale.others - stale.still <= stale.anyway
    assert stale.anyway <= 0.002 * stale.others
