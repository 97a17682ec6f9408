# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Filters on real images, in the folder MIRAGE_DATA; the scenes are those of mirage.evaluation.filters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mirage.evaluation import filters as study
from mirage.evaluation.moving_objects import GRID, Composite, composite, cow, write_all
from mirage.filters import ConsistencyFilter, FarFilter, Filters, MotionFilter, Reason, SkyFilter
from mirage.memory import LatentSpatialMemory

pytestmark = pytest.mark.usefixtures("data")


@pytest.fixture(scope="module")
def composited(data: Path) -> Composite:
    """40 frames of hololens with a cow that moves."""
    assert data.is_dir()
    return composite(cow(), 0.35)


@pytest.mark.parametrize(("name", "touched", "missed"), [("cow_mask", 176, 41), ("people_mask", 131, 62)])
def test_no_cell_with_a_masked_pixel_is_written(name: str, touched: int, missed: int) -> None:
    """Nearest sampling of the mask writes a quarter to a half of them."""
    image, mask, grid = getattr(study, name)()
    assert study.count_masked(mask, grid) == (touched, 0, missed)
    camera = study.observe(image, grid).camera
    out = Filters()(study.observe(image, grid, exclude=mask)).mask
    memory = LatentSpatialMemory(1)
    height, width = mask.shape[0] // grid[0], mask.shape[1] // grid[1]
    latents = mask.reshape(grid[0], height, grid[1], width).any(3).any(1).float()[None, None]
    for cells in (out[None], mask[None]):  # pooled by the filter or by the kernels
        memory.write(latents, camera, torch.ones(1, *mask.shape), mask=cells)
        assert len(memory) == grid[0] * grid[1] - touched
    assert not memory.cache.features().any()


def test_sky_of_a_photograph_without_depth() -> None:
    out, lost, result = study.measure_sky()
    print(f"sky: {out:.4f} of its cells out, {lost:.4f} of the others lost")
    assert out >= 0.95
    assert lost <= 0.03
    assert set(result.reason.unique().tolist()) == {Reason.KEPT, Reason.SKY}


def test_far_is_what_lies_beyond_a_horizon(composited: Composite) -> None:
    """Set by hand; every cell with a pixel beyond it is out, and no other."""
    for t in (7, 8, 9):
        depth = composited.scene[t]
        beyond = (depth > study.HORIZON).reshape(GRID[0], 8, GRID[1], 8).any(3).any(1)
        assert 0.02 < beyond.float().mean() < 0.9
        seen = study.observe(composited.frames[:, t], GRID, depth)
        assert torch.equal(Filters([FarFilter(study.HORIZON)])(seen).mask, beyond)
        assert bool(Filters([SkyFilter(far=study.HORIZON)])(seen).mask[beyond].all())


@pytest.mark.long
def test_a_moving_object_is_not_stored(composited: Composite) -> None:
    """By motion and consistency alone at least 90 % of its points are kept out, and at most 3 % of the static surface
    is lost; with masks that are too small and miss every fifth frame at most 1 % stay."""
    nothing = write_all(composited, Filters(), carve=False)
    perfect = write_all(composited, Filters(), exclude=composited.object, carve=False)
    both = Filters([ConsistencyFilter(), MotionFilter(step=4)])
    alone = write_all(composited, both)
    masked = write_all(composited, both, exclude=study.loose_mask(composited.object))
    print(f"points: {nothing.points}, {alone.points} with filters, {masked.points} with masks too")
    print(f"static surface lost: {study.lost(alone, perfect):.4f}, {study.lost(masked, perfect):.4f}")
    assert nothing.points > 5000
    assert perfect.points == 0
    assert alone.points <= 0.1 * nothing.points
    assert masked.points <= 0.01 * nothing.points
    assert max(study.lost(alone, perfect), study.lost(masked, perfect)) <= 0.03


def test_a_removed_object_is_removed_from_the_memory(composited: Composite) -> None:
    """Other points are lost only as far as they are lost without any object."""
    stale = study.measure_stale(composited)
    print(stale)
    assert stale.object > 500
    assert stale.left == 0
    assert stale.others - stale.still <= stale.anyway
    assert stale.anyway <= 0.002 * stale.others
