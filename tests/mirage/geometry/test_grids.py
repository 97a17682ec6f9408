# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Pure functions on depth maps and masks."""

from __future__ import annotations

import pytest
import torch

from mirage.geometry.grids import flat_index, grow, nearest_around, unproject_depth, valid_depth
from mirage.geometry.hole_filling import fill_from_far_side
from mirage_kernels import Cameras, unproject

INF = float("inf")


def test_flat_index_is_the_cell_that_contains_the_point() -> None:
    uv = torch.tensor([[0.0, 0.0], [3.9, 1.2], [torch.nan, INF], [2.0, 2.99], [-1.0, 7.0]])
    inside = torch.tensor([True, True, False, True, False])
    assert flat_index(uv, inside, 4).tolist() == [0, 7, 0, 10, 0]


def test_valid_depth_is_finite_and_positive() -> None:
    depth = torch.tensor([1.0, 0.0, -1.0, INF, -INF, torch.nan, 1e-30])
    assert valid_depth(depth).tolist() == [True, False, False, False, False, False, True]


@pytest.mark.parametrize("pooling", ["median", "min"])
def test_unproject_depth_gives_the_points_of_unproject(pooling) -> None:
    camera = Cameras(torch.tensor([[8.0, 0, 6], [0, 8, 4], [0, 0, 1]]), torch.eye(4), (8, 12))
    depth = 1 + torch.rand(1, 8, 12, generator=torch.Generator().manual_seed(0))
    points = unproject_depth(depth, camera, (2, 3), pooling=pooling)
    expected = unproject(depth, torch.ones(1, 1, 2, 3), camera, pooling=pooling)
    assert points.features.shape == (6, 0)
    assert torch.equal(points.xyz, expected.xyz)
    assert torch.equal(points.valid, expected.valid)


def test_windows() -> None:
    depth = torch.full((3, 4), INF)
    depth[0, 0], depth[1, 3] = 2.0, 1.0
    assert nearest_around(depth)[0].tolist() == [2.0, 2.0, 1.0, 1.0]
    assert nearest_around(depth)[2].tolist() == [INF, INF, 1.0, 1.0]
    assert grow(depth.isfinite(), 1).int().tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [0, 0, 1, 1]]
    assert torch.equal(grow(depth.isfinite(), 0), depth.isfinite())


def test_holes_take_the_background() -> None:
    depth = torch.tensor([[[INF, 5.0, INF, 2.0], [INF, INF, INF, INF]]])
    assert fill_from_far_side(depth).tolist() == [[[5.0, 5.0, 5.0, 2.0], [5.0, 5.0, 5.0, 2.0]]]
    empty = torch.full((1, 2, 3), INF)
    assert torch.equal(fill_from_far_side(empty), empty)
