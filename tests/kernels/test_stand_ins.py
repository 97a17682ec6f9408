# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Operands are copied to a device and results back; here the device is the CPU."""

from __future__ import annotations

import pytest
import torch
from cache_steps import snapshot
from every_backend import run_reference, splat_gradients
from stand_ins import ThroughDevice
from torch import Tensor

from mirage_kernels import VoxelCache, unproject
from mirage_kernels.testing import assert_same, random_points, same_bits, splat_case, unproject_case


@pytest.fixture(scope="module")
def through() -> ThroughDevice:
    return ThroughDevice("reference", "cpu")


def test_results_and_gradients_are_copied_back(through: ThroughDevice) -> None:
    case, lifted = splat_case(0, valid=True, extent="each"), unproject_case(1)
    expected = run_reference(lambda: (splat_gradients(case, 3), lifted.run(unproject)))
    with through.use():
        result = splat_gradients(case, 3), lifted.run(unproject)
    assert all(map(same_bits, result[0], expected[0]))
    assert_same(result[1], expected[1])


def test_mutated_arguments_are_copied_back(through: ThroughDevice) -> None:
    def fill() -> dict[str, Tensor]:
        cache, g = VoxelCache(0.2, 3), torch.Generator().manual_seed(0)
        for stamp in (1, 2):
            cache.insert(random_points(g, "room", 200), torch.randn(200, 3, generator=g), stamp=stamp)
        return snapshot(cache)

    expected = run_reference(fill)
    with through.use():
        result = fill()
    assert all(same_bits(result[name], expected[name]) for name in expected)
