# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Ordered sums give the same bits on devices where no torch function adds in order, such as a GPU, as on a CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from cache_steps import snapshot
from every_backend import run_reference, splat_gradients
from torch import Tensor

from mirage_kernels import VoxelCache, _ordered_sums, splat, testing, unproject
from mirage_kernels.ops.splat import splat_bilinear_reference, splat_reference
from mirage_kernels.ops.unproject import unproject_reference
from mirage_kernels.ops.voxel_cache import voxel_cache_reference
from mirage_kernels.testing import same_bits, splat_case, unproject_case

USERS = (splat_reference, splat_bilinear_reference, unproject_reference, voxel_cache_reference)


@pytest.mark.parametrize("columns", [(), (1,), (2,), (48,)])
@pytest.mark.parametrize(("rows", "num_sums"), [(0, 3), (1, 1), (31, 1), (32, 1), (500, 1), (3000, 40), (3000, 5000)])
def test_rows_of_an_index_are_added_in_order(rows: int, num_sums: int, columns: tuple[int, ...]) -> None:
    g = torch.Generator().manual_seed(rows)
    index = torch.randint(num_sums, (rows,), generator=g)
    values = torch.randn(rows, *columns, generator=g) * 10.0 ** torch.randint(-6, 7, (rows, *columns), generator=g)
    sums = torch.randn(num_sums, *columns, generator=g)
    expected = sums.clone()
    for i, row in zip(index.tolist(), values, strict=True):
        expected[i] = expected[i] + row
    assert same_bits(_ordered_sums.add_in_order(sums.clone(), index, values), expected)
    assert same_bits(_ordered_sums.add_in_rounds(sums.clone(), index, values), expected)


def blend_of_many_points() -> list[Tensor]:
    """Return the result of a blend with many more than 32 points per cell."""
    case = splat_case(0, n=3000, size=(3, 4), channels=1, kind="ties")
    squares = case._replace(extent=0.4)
    result = case.run(splat, mode="bilinear")
    return [result.features, *splat_gradients(case, 0, mode="bilinear"), *splat_gradients(squares, 0)]


def unproject_gradients() -> list[Tensor]:
    case = unproject_case(0, size=(4, 5), grid=(24, 30), pooling="bilinear")
    depth = case.depth.clone().requires_grad_()
    points = case._replace(depth=depth).run(unproject)
    return list(torch.autograd.grad(points.xyz.square().sum(), depth))


def means() -> list[Tensor]:
    cache, g = VoxelCache(0.5, 1, fusion="mean"), torch.Generator().manual_seed(0)
    for _ in range(2):
        cache.insert(testing.random_points(g, "ties", 900), torch.randn(900, 1, generator=g))
    return list(snapshot(cache).values())


@pytest.mark.parametrize("function", [blend_of_many_points, unproject_gradients, means])
def test_all_references_add_in_order(function: Callable[[], list[Tensor]]) -> None:
    expected = run_reference(function)
    calls = []

    def add_in_rounds(*args: Any) -> Tensor:
        calls.append(args)
        return _ordered_sums.add_in_rounds(*args)

    with contextlib.ExitStack() as stack:
        for module in USERS:
            stack.enter_context(mock.patch.object(module, "add_in_order", add_in_rounds))
        for name in ("index_add_", "index_put_", "scatter_add_"):
            wrong = AssertionError(f"{name} has no order on a GPU")
            stack.enter_context(mock.patch.object(Tensor, name, side_effect=wrong))
        result = run_reference(function)
    assert calls
    assert all(map(same_bits, result, expected))
