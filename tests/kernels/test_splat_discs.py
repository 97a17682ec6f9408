# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""splat with discs: small ones, which a CPU tests in vectors, and those of large grids, which it does not."""

from __future__ import annotations

import pytest
import torch
from every_backend import EveryBackend, run_reference
from torch import Tensor

from mirage_kernels import Cameras, splat, testing
from mirage_kernels.testing import same_bits

SIDES = (1.0, 1.5, 2.5)  # csrc/splat/splat_raster.h: below them a CPU tests 4, 9 and 25 cells


def below(radius: float) -> float:
    return float(torch.nextafter(torch.tensor(radius), torch.tensor(0.0)))


def seen_from_front(uv: Tensor, size: tuple[int, int]) -> tuple[Tensor, Cameras]:
    """Points (N, 3) that land at uv, but for rounding, at depths from 1 to 2."""
    z = 1 + torch.rand(len(uv), 1, generator=torch.Generator().manual_seed(0))
    camera = Cameras(torch.tensor([[4.0, 0, 0], [0, 4, 0], [0, 0, 1]]), torch.eye(4), size)
    return torch.cat([uv / 4 * z, z], 1), camera


def everywhere(size: tuple[int, int], count: int = 600) -> Tensor:
    """Places on the grid and up to three cells beside it; some on the borders and centers of cells."""
    g = torch.Generator().manual_seed(1)
    uv = torch.rand(count, 2, generator=g) * (torch.tensor([size[1], size[0]]) + 6) - 3
    uv[::3] = (2 * uv[::3]).round() / 2
    return uv


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("radius", "size"),
    [(1e-3, (5, 7)), (0.7, (5, 7)), (0.7072, (5, 7)), (1.118, (5, 7)), (2.2, (5, 7)), (0.7, (1, 1)), (1.25, (1, 40)),
     *((radius, (5, 7)) for side in SIDES for radius in (below(side), side))],
)  # fmt: skip
def test_every_radius(radius: float, size: tuple[int, int], every_backend: EveryBackend) -> None:
    xyz, camera = seen_from_front(everywhere(size), size)
    radii = radius * torch.rand(len(xyz), generator=torch.Generator().manual_seed(2))
    for given in (radius, radii, torch.full_like(radii, radius)):
        expected = run_reference(lambda given=given: splat(xyz, None, camera, radius=given).index)
        assert (expected >= 0).float().mean() > 0.5
        for name, index in every_backend(lambda given=given: splat(xyz, None, camera, radius=given).index):
            assert same_bits(index, expected), name


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("radius", [0.7, 1.25, 2.0])
@pytest.mark.parametrize("width", [1 << 20, (1 << 20) + 1, 5_000_000])
def test_wide_grids(width: int, radius: float) -> None:
    """At the far end, coordinates are rounded to parts of cells, or to whole ones."""
    uv = everywhere((2, 60), 400) + torch.tensor([width - 60.0, 0.0])
    xyz, camera = seen_from_front(uv, (2, width))
    expected = run_reference(lambda: splat(xyz, None, camera, radius=radius).index)
    assert same_bits(splat(xyz, None, camera, radius=radius).index, expected)
    assert (expected[..., -60:] >= 0).any()


@pytest.mark.parametrize("radius", [0.8, 1.3, 2.1, 3.5])
def test_discs_of_all_layers(radius: float, every_backend: EveryBackend) -> None:
    case = testing.splat_case(4, n=900, size=(6, 9), kind="ties")
    expected = run_reference(lambda: splat(case.xyz, None, case.cameras, radius=radius, k=3).index)
    for name, index in every_backend(lambda: splat(case.xyz, None, case.cameras, radius=radius, k=3).index):
        assert same_bits(index, expected), name
