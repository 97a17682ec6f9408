# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels equal the reference on the cases of the tests of their operations.

``test_triton.py`` runs this in a process of its own, where Triton's interpreter runs the kernels on the CPU, with few
examples; ``make test-long`` runs all of it. Where there is a GPU, ``pytest tests/kernels/triton_table.py`` runs them on
it.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cache_steps import Scenario, scenarios, snapshot
from every_backend import run_reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand_ins import ThroughDevice
from strategies import SEEDS, examples, unproject_cases, visible_cases
from test_associate import CASES as ASSOCIATE_CASES
from test_associate import AssociateCase
from test_blend import CASES as BLEND_CASES
from test_blend import BlendCase, rendered
from test_overlap import random_sets, retrieve
from test_project import arguments, case, same
from test_quantize import CASES as QUANTIZE_CASES
from test_splat_surface import cameras_of, with_masks
from test_unproject import gradients
from test_voxel_cache import assert_same_logs, record, room
from test_voxel_cache_library import CACHES, cloned, insert
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import VoxelCache, _library, overlap, testing, unproject, visible
from mirage_kernels._modes import POOLINGS
from mirage_kernels.backend import INTERPRETED
from mirage_kernels.ops.voxel_cache.voxel_cache_index_reference import enter_table
from mirage_kernels.ops.voxel_cache.voxel_cache_triton import enter_rows
from mirage_kernels.testing import (
    UnprojectCase,
    VisibleCase,
    assert_same,
    same_bits,
    same_sums,
    to_device,
    unproject_case,
    visible_case,
)

DEVICE = "cpu" if INTERPRETED else "cuda"
slow = pytest.mark.long if INTERPRETED else pytest.mark.filterwarnings()  # a GPU takes no time
ALLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(autouse=True)
def numbers_overflow_quietly() -> Any:
    """Disable NumPy's warnings, because the interpreter computes with NumPy and a GPU does not warn."""
    with np.errstate(all="ignore"):
        yield


def run_triton(function: Callable[[], Any]) -> Any:
    with mk.use_backend("triton"):
        return to_device(function(), "cpu")


@functools.cache
def gpu() -> ThroughDevice:
    return ThroughDevice("triton", DEVICE)


@contextlib.contextmanager
def instead_of_cpp() -> Iterator[None]:
    """Run operations on CPU tensors through the Triton kernels, on whatever device those run."""
    with mk.use_backend("triton") if INTERPRETED else gpu().use():
        yield


def test_triton_is_ready() -> None:
    assert mk.backends()["triton"] is None


@settings(max_examples=examples(4), suppress_health_check=ALLOW)
@given(case=ASSOCIATE_CASES.filter(lambda case: len(case.xyz) < 1000))
def test_associate_equals_reference(case: AssociateCase) -> None:
    assert same_bits(run_triton(case.to(DEVICE).run), run_reference(case.run))


@settings(max_examples=examples(6), suppress_health_check=ALLOW)
@given(values=QUANTIZE_CASES)
def test_quantize_equals_reference(values: Tensor) -> None:
    expected = run_reference(lambda: mk.quantize(values))
    result = run_triton(lambda: mk.quantize(values.to(DEVICE)))
    assert all(map(same_bits, result, expected))


@settings(max_examples=examples(4), suppress_health_check=ALLOW)
@given(case=BLEND_CASES)
def test_blend_equals_reference(case: BlendCase) -> None:
    on_device = BlendCase(*(part.to(DEVICE) for part in case[:3]), case.band)
    assert same_sums(run_triton(on_device.run), run_reference(case.run))


@pytest.mark.parametrize("kind", ["room", "wild"])
def test_offsets_equal_reference(kind: str) -> None:
    given = rendered(1, kind)
    expected = run_reference(lambda: mk.cell_offsets(*given))
    assert same_sums(run_triton(lambda: mk.cell_offsets(*to_device(given, DEVICE))), expected)


def test_splat_surface_equals_reference() -> None:
    cache, cameras = room(), cameras_of(1)
    options = with_masks(cache, 0, ["behind", "below"], {"first_scale": 0.5})
    expected = run_reference(lambda: cache.splat_surface(cameras, **options))
    on_device = {name: to_device(value, DEVICE) for name, value in options.items()}
    result = run_triton(lambda: cache.to(DEVICE).splat_surface(cameras.to(DEVICE), **on_device))
    assert same_bits(result.depth, expected.depth)
    assert same_bits(result.index, expected.index)


@settings(max_examples=examples(15), suppress_health_check=ALLOW)
@given(case=unproject_cases())
def test_unproject_equals_reference(case: UnprojectCase) -> None:
    on_device = to_device(case, DEVICE)
    assert_same(run_triton(lambda: on_device.run(unproject)), run_reference(lambda: case.run(unproject)))


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("size", [(32, 48), (50, 40), (3, 2)])  # of a window, of several, less than a pixel
@pytest.mark.parametrize("mask", [False, True])
def test_unproject_gradients_equal_reference(pooling: str, size: tuple[int, int], mask: bool) -> None:
    case = unproject_case(5, size=size, grid=(2, 3), kind="steps", mask=mask, max_masked=0.5, pooling=pooling)
    expected = run_reference(lambda: [case.run(unproject), *gradients(case, 7)])
    on_device = to_device(case, DEVICE)
    result = run_triton(lambda: [on_device.run(unproject), *gradients(on_device, 7)])
    assert_same(to_device(result[0], "cpu"), expected[0])
    assert expected[0].valid.any()
    for a, b in zip(result[1:], expected[1:], strict=True):
        assert same_sums(a.cpu(), b)


@settings(max_examples=examples(5), suppress_health_check=ALLOW)
@given(case=unproject_cases(), seed=SEEDS)
def test_unproject_gradients_of_all_cases_equal_reference(case: UnprojectCase, seed: int) -> None:
    on_device = to_device(case, DEVICE)
    result = run_triton(lambda: gradients(on_device, seed))
    for a, b in zip(result, run_reference(lambda: gradients(case, seed)), strict=True):
        assert same_sums(a.cpu(), b)


def test_bilinear_gradients_of_infinite_weightless_taps() -> None:
    """A tap of weight 0 adds 0 times the gradient, which is NaN if the gradient is infinite."""
    case = unproject_case(2, size=(4, 6), grid=(4, 3), pooling="bilinear")
    args = (case.depth.abs() + 1, case.cameras.rescale((4, 3)).intrinsics, case.cameras.cam2world, None)
    grad = torch.randn(24, 3, generator=torch.Generator().manual_seed(0))
    grad[::5, 1] = math.inf
    call = (grad, torch.ones(24), torch.ones(24, dtype=torch.bool), *args, 4, 3, POOLINGS.index("bilinear"), 1, 0.0)
    on_device = [to_device(x, DEVICE) for x in call]
    name = "unproject_backward_depth"
    result, expected = (
        _library.overload(_library.TRITON, name)(*on_device).cpu(),
        _library.overload(_library.REFERENCE, name)(*call),
    )
    assert same_sums(result, expected)
    assert not expected.isfinite().all()


@settings(max_examples=examples(15), suppress_health_check=ALLOW)
@given(case=visible_cases())
def test_visible_equals_reference(case: VisibleCase) -> None:
    on_device = to_device(case, DEVICE)
    assert same_bits(run_triton(lambda: on_device.run(visible)).cpu(), run_reference(lambda: case.run(visible)))


@slow
@pytest.mark.parametrize("groups", [None, 100, 7000])
def test_many_views_equal_reference(groups: int | None) -> None:
    case = visible_case(1, n=3000, views=40, size=(40, 60), valid=True, num_groups=groups)
    on_device = to_device(case, DEVICE)
    assert same_bits(run_triton(lambda: on_device.run(visible)).cpu(), run_reference(lambda: case.run(visible)))


@settings(max_examples=examples(15), suppress_health_check=ALLOW)
@given(SEEDS, st.integers(0, 6), st.integers(0, 9), st.one_of(st.integers(0, 40), st.sampled_from([127, 128, 400])))
def test_overlap_equals_reference(seed: int, num_a: int, num_b: int, words: int) -> None:
    a, b = random_sets(seed, num_a, words), random_sets(seed + 1, num_b, words)
    expected = run_reference(lambda: overlap(a, b))
    assert same_bits(run_triton(lambda: overlap(a.to(DEVICE), b.to(DEVICE))).cpu(), expected)
    assert same_bits(run_triton(lambda: overlap(a.to(DEVICE).T.contiguous().T, b.to(DEVICE))).cpu(), expected)


@settings(max_examples=examples(5), suppress_health_check=ALLOW)
@given(scenario=scenarios())
def test_scenarios_equal_reference_after_every_step(scenario: Scenario, tmp_path: Path) -> None:
    expected = run_reference(lambda: record(scenario, tmp_path))
    with instead_of_cpp():
        assert_same_logs(record(scenario, tmp_path), expected, "triton")


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("options", [{"fusion": "best", "storage": "int8"}, {"fusion": "latest"}, {"fusion": "mean"}])
def test_inserts_equal_reference(options: dict[str, Any], each: bool) -> None:
    def fill() -> dict[str, Tensor]:
        cache, g = VoxelCache(0.2, 20, dtype=torch.bfloat16, **options), torch.Generator().manual_seed(0)
        for stamp, kind in enumerate(("room", "ties", "room")):
            features = torch.randn(900, 20, generator=g).bfloat16()
            footprint = torch.randint(0, 4, (900,), generator=g) / 8
            cache.insert(testing.random_points(g, kind, 900), features, footprint if each else None, stamp=stamp)
        return snapshot(cache)

    expected = run_reference(fill)
    with instead_of_cpp():
        result = fill()
    for name, tensor in expected.items():
        assert same_bits(result[name], tensor), name


def test_rows_enter_the_table_in_any_order() -> None:
    """Rows that are entered later displace earlier ones."""
    g = torch.Generator().manual_seed(0)
    keys = torch.randint(0, 1 << 62, (2000,), generator=g)
    expected, table = (torch.full((4096,), -1, dtype=torch.int32) for _ in range(2))
    enter_table(expected, keys, torch.arange(2000))
    assert not (expected[:-1] >= 0)[1000:1100].all()
    table = table.to(DEVICE)
    for part in torch.randperm(2000, generator=g).int().split(700):
        enter_rows(table, keys[part.long()].to(DEVICE), part.to(DEVICE), len(part), 0)
    assert torch.equal(table.cpu(), expected)


def test_steps_of_features_of_any_size_equal_reference() -> None:
    """Features with the largest float32 values, and with values so small that 1/127 of them underflows."""
    features = torch.randn(400, 70, generator=torch.Generator().manual_seed(0)).clamp(-3, 3)
    features *= torch.logspace(38, -44, 400)[:, None]
    positions = torch.arange(1200.0).reshape(400, 3)

    def fill() -> dict[str, Tensor]:
        cache = VoxelCache(1.0, 70, storage="int8")
        cache.insert(positions, features)
        return snapshot(cache)

    expected = run_reference(fill)
    assert 0 < int((expected["scale"] < 1e-43).sum()) < 400
    with instead_of_cpp():
        result = fill()
    for name, tensor in expected.items():
        assert same_bits(result[name], tensor), name


@pytest.mark.parametrize("kind", testing.POINT_KINDS)
def test_carving_equals_reference(kind: str) -> None:
    """Depth maps with all kinds of holes, and with exactly the largest depth that does not remove a row."""
    g = torch.Generator().manual_seed(0)
    xyz, cameras = testing.random_points(g, kind, 1500), testing.plain_cameras(3, (20, 30))
    depth = 2.0 ** torch.randint(-3, 5, (3, 20, 30), generator=g)
    odd = torch.tensor([0.0, -1.0, math.nan, math.inf, -math.inf])
    depth = torch.where(
        torch.rand(depth.shape, generator=g) < 0.4, odd[torch.randint(5, depth.shape, generator=g)], depth
    )
    boxes = [torch.zeros(0, 7)] * 3
    for factor in (1.0, 1.05, 2.0):
        args = (xyz, depth, cameras.intrinsics, cameras.world2cam, *boxes, 1400, factor)
        expected = _library.overload(_library.REFERENCE, "voxel_cache_carve")(*args)
        result = _library.overload(_library.TRITON, "voxel_cache_carve")(*(to_device(arg, DEVICE) for arg in args))
        assert torch.equal(result.cpu(), expected)
        assert 0 < int(expected.sum()) < 1400


def wild(shape: tuple[int, int], seed: int) -> Tensor:
    """Return values with arbitrary bits."""
    g = torch.Generator().manual_seed(seed)
    return testing.random_points(g, "wild", shape[0] * shape[1]).flatten()[: shape[0] * shape[1]].reshape(shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kept", [torch.float32, torch.bfloat16, torch.float16, torch.int8])
def test_decoded_wild_features_equal_reference(dtype: torch.dtype, kept: torch.dtype) -> None:
    g = torch.Generator().manual_seed(1)
    features = torch.randint(-127, 128, (90, 70), generator=g).to(kept)
    if kept != torch.int8:
        features = wild((90, 70 * kept.itemsize // 4), 2).view(kept)
    scale = wild((90, 1), 3)[:, 0] if kept == torch.int8 else None
    count = torch.randint(1, 9, (90,), generator=g).int() if kept == torch.float32 else None
    index = torch.randint(-1, 90, (2, 5, 13), generator=g)
    args = (features, scale, count, index, torch.empty(0, dtype=dtype))
    expected = _library.overload(_library.REFERENCE, "voxel_cache_decode")(*args)
    result = _library.overload(_library.TRITON, "voxel_cache_decode")(*(to_device(arg, DEVICE) for arg in args))
    assert same_sums(result.cpu(), expected)


@slow
@pytest.mark.parametrize("pooling", range(4))
def test_opcheck_unproject(pooling: int) -> None:
    case = to_device(unproject_case(0, size=(4, 6), grid=(2, 2), mask=pooling == 1), DEVICE)
    intrinsics = case.cameras.rescale((2, 2)).intrinsics
    depth, features = case.depth.requires_grad_(), case.features.requires_grad_()
    args = (depth, features, intrinsics, case.cameras.cam2world, case.mask, pooling, 1, 0.5)
    torch.library.opcheck(_library.overload(_library.TRITON, "unproject"), args)


@pytest.mark.parametrize("kind", testing.POINT_KINDS)
@pytest.mark.parametrize(("n", "views"), [(0, 2), (1, 1), (2100, 3), (300, 0)])
def test_project_equals_reference(kind: str, n: int, views: int) -> None:
    xyz, cameras = case(0, kind, n, views)
    expected = run_reference(lambda: cameras.project(xyz))
    assert same(run_triton(lambda: tuple(x.cpu() for x in cameras.to(DEVICE).project(xyz.to(DEVICE)))), expected)
    strided = xyz.T.contiguous().T.to(DEVICE)
    assert same(run_triton(lambda: tuple(x.cpu() for x in cameras.to(DEVICE).project(strided))), expected)


def test_opcheck_project() -> None:
    on_device = (to_device(x, DEVICE) for x in arguments(*case(1, n=70)))
    torch.library.opcheck(_library.overload(_library.TRITON, "project"), tuple(on_device))


@pytest.mark.parametrize("groups", [None, 70])
def test_opcheck_visible_and_overlap(groups: int | None) -> None:
    case = to_device(visible_case(0, n=70, num_groups=groups), DEVICE)
    args = (case.xyz, case.cameras.intrinsics, case.cameras.world2cam, 6, 9, case.valid, case.groups, 70)
    torch.library.opcheck(_library.overload(_library.TRITON, "visible"), args)
    sets = random_sets(0, 2, 3).to(DEVICE), random_sets(1, 4, 3).to(DEVICE)
    torch.library.opcheck(_library.overload(_library.TRITON, "overlap"), sets)


def opcheck_cache(name: str, *args: Any) -> None:
    on_device = tuple(to_device(arg, DEVICE) for arg in cloned(args))
    torch.library.opcheck(_library.overload(_library.TRITON, f"voxel_cache_{name}"), on_device)


@slow
@pytest.mark.parametrize("options", CACHES[:3])
def test_opcheck_voxel_cache(options: dict[str, Any]) -> None:
    cache, inserted, committed = insert("storage" not in options, **options)
    s = cache.state
    opcheck_cache("insert", *inserted)
    opcheck_cache("commit", *committed)
    opcheck_cache("index", s.keys, s.xyz, s.footprint, s.table, *s.boxes, s.rows)
    cameras = testing.random_cameras(torch.Generator().manual_seed(1), 2, (6, 9))
    views = (cameras.intrinsics, cameras.world2cam)
    opcheck_cache("carve", s.xyz, 3 * torch.rand(2, 6, 9), *views, *s.boxes, s.rows, 1.05)
    index = torch.randint(-1, s.rows, (2, 6, 9))
    opcheck_cache("decode", s.features, s.scale, s.count, index, torch.empty(0, dtype=cache.dtype))


def test_a_read_compiles_into_one_graph() -> None:
    torch.compiler.reset()
    cache = room(300, storage="int8").to(DEVICE)
    cameras = testing.random_cameras(torch.Generator().manual_seed(1), 2, (6, 9)).to(DEVICE)
    compiled = torch.compile(lambda: cache.splat(cameras), fullgraph=True, backend="aot_eager")
    with mk.use_backend("triton"):
        assert_same(compiled(), cache.splat(cameras))


def test_retrieval_compiles_into_one_graph() -> None:
    torch.compiler.reset()
    compiled = torch.compile(retrieve, fullgraph=True, backend="aot_eager")
    case = to_device(visible_case(3, n=200, views=4, num_groups=70), DEVICE)
    args = (case.xyz, case.cameras[:2], case.cameras[1:], case.groups, 70)
    with mk.use_backend("triton"):
        results: tuple[Tensor, ...] = compiled(*args)
    for result, expected in zip(results, run_reference(lambda: retrieve(*args)), strict=True):
        assert same_bits(result, expected)
