# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operations that have Triton kernels, on the cases of their own tests: the reference's bits.

``test_triton.py`` runs this in a process of its own, where Triton's interpreter runs the kernels on the CPU. Where
there is a GPU, ``pytest tests/kernels/triton_table.py`` runs them on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import SEEDS, unproject_cases, visible_cases
from test_overlap import random_sets, retrieve
from test_unproject import POOLINGS, gradients
from torch import Tensor
from ways import run_reference

import mirage_kernels as mk
from mirage_kernels import library, overlap, unproject, visible
from mirage_kernels.backend import INTERPRETED
from mirage_kernels.testing import (
    UnprojectCase,
    VisibleCase,
    assert_same,
    same_bits,
    to_device,
    unproject_case,
    visible_case,
)

DEVICE = "cpu" if INTERPRETED else "cuda"
ALLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(autouse=True)
def numbers_overflow_quietly() -> Any:
    """They do on a GPU; the interpreter's are NumPy's."""
    with np.errstate(all="ignore"):
        yield


def run_triton(function: Callable[[], Any]) -> Any:
    with mk.use_backend("triton"):
        return to_device(function(), "cpu")


def test_triton_is_ready() -> None:
    assert mk.backends()["triton"] is None


@settings(max_examples=60, suppress_health_check=ALLOW)
@given(case=unproject_cases())
def test_unproject_equals_reference(case: UnprojectCase) -> None:
    there = to_device(case, DEVICE)
    assert_same(run_triton(lambda: there.run(unproject)), run_reference(lambda: case.run(unproject)))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("size", [(32, 48), (50, 40), (3, 2)])  # of a window, of several, less than a pixel
@pytest.mark.parametrize("mask", [False, True])
def test_unproject_gradients_equal_reference(pooling: str, size: tuple[int, int], mask: bool) -> None:
    case = unproject_case(5, size=size, grid=(2, 3), kind="steps", mask=mask, max_masked=0.5, pooling=pooling)
    expected = run_reference(lambda: [case.run(unproject), *gradients(case, 7)])
    there = to_device(case, DEVICE)
    result = run_triton(lambda: [there.run(unproject), *gradients(there, 7)])
    assert_same(to_device(result[0], "cpu"), expected[0])
    assert expected[0].valid.any()
    for a, b in zip(result[1:], expected[1:], strict=True):
        assert same_bits(a.cpu(), b)


@settings(max_examples=20, suppress_health_check=ALLOW)
@given(case=unproject_cases(), seed=SEEDS)
def test_unproject_gradients_of_all_cases_equal_reference(case: UnprojectCase, seed: int) -> None:
    there = to_device(case, DEVICE)
    result = run_triton(lambda: gradients(there, seed))
    for a, b in zip(result, run_reference(lambda: gradients(case, seed)), strict=True):
        assert same_bits(a.cpu(), b)


def test_bilinear_gradients_of_infinite_weightless_taps() -> None:
    """A tap without weight adds 0 times the gradient, which is not 0 where that is infinite."""
    case = unproject_case(2, size=(4, 6), grid=(4, 3), pooling="bilinear")
    args = (case.depth.abs() + 1, case.cameras.rescale((4, 3)).intrinsics, case.cameras.cam2world, None)
    grad = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
    grad[::5, 1] = math.inf
    call = (grad, torch.ones(24), torch.ones(24, dtype=torch.bool), *args, 4, 3, POOLINGS.index("bilinear"), 1, 0.0)
    there = [to_device(x, DEVICE) for x in call]
    name = "unproject_backward_depth"
    result, expected = (
        library.overload(library.TRITON, name)(*there).cpu(),
        library.overload(library.REFERENCE, name)(*call),
    )
    assert torch.equal(result.nan_to_num(nan=7), expected.nan_to_num(nan=7))
    assert not expected.isfinite().all()


@settings(max_examples=60, suppress_health_check=ALLOW)
@given(case=visible_cases())
def test_visible_equals_reference(case: VisibleCase) -> None:
    there = to_device(case, DEVICE)
    assert same_bits(run_triton(lambda: there.run(visible)).cpu(), run_reference(lambda: case.run(visible)))


@pytest.mark.parametrize("groups", [None, 100, 7000])
def test_many_views_equal_reference(groups: int | None) -> None:
    case = visible_case(1, n=3000, views=40, size=(40, 60), valid=True, num_groups=groups)
    there = to_device(case, DEVICE)
    assert same_bits(run_triton(lambda: there.run(visible)).cpu(), run_reference(lambda: case.run(visible)))


@settings(max_examples=30, suppress_health_check=ALLOW)
@given(SEEDS, st.integers(0, 6), st.integers(0, 9), st.one_of(st.integers(0, 40), st.sampled_from([127, 128, 400])))
def test_overlap_equals_reference(seed: int, num_a: int, num_b: int, words: int) -> None:
    a, b = random_sets(seed, num_a, words), random_sets(seed + 1, num_b, words)
    expected = run_reference(lambda: overlap(a, b))
    assert same_bits(run_triton(lambda: overlap(a.to(DEVICE), b.to(DEVICE))).cpu(), expected)
    assert same_bits(run_triton(lambda: overlap(a.to(DEVICE).T.contiguous().T, b.to(DEVICE))).cpu(), expected)


@pytest.mark.parametrize("pooling", range(4))
def test_opcheck_unproject(pooling: int) -> None:
    case = to_device(unproject_case(0, size=(4, 6), grid=(2, 2), mask=pooling == 1), DEVICE)
    intrinsics = case.cameras.rescale((2, 2)).intrinsics
    depth, features = case.depth.requires_grad_(), case.features.requires_grad_()
    args = (depth, features, intrinsics, case.cameras.cam2world, case.mask, pooling, 1, 0.5)
    torch.library.opcheck(library.overload(library.TRITON, "unproject"), args)


@pytest.mark.parametrize("groups", [None, 70])
def test_opcheck_visible_and_overlap(groups: int | None) -> None:
    case = to_device(visible_case(0, n=70, num_groups=groups), DEVICE)
    args = (case.xyz, case.cameras.intrinsics, case.cameras.world2cam, 6, 9, case.valid, case.groups, 70)
    torch.library.opcheck(library.overload(library.TRITON, "visible"), args)
    sets = random_sets(0, 2, 3).to(DEVICE), random_sets(1, 4, 3).to(DEVICE)
    torch.library.opcheck(library.overload(library.TRITON, "overlap"), sets)


def test_retrieval_compiles_into_one_graph() -> None:
    torch.compiler.reset()
    compiled = torch.compile(retrieve, fullgraph=True, backend="aot_eager")
    case = to_device(visible_case(3, n=200, views=4, num_groups=70), DEVICE)
    args = (case.xyz, case.cameras[:2], case.cameras[1:], case.groups, 70)
    with mk.use_backend("triton"):
        results: tuple[Tensor, ...] = compiled(*args)
    for result, expected in zip(results, run_reference(lambda: retrieve(*args)), strict=True):
        assert same_bits(result, expected)
