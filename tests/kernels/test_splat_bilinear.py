# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from every_backend import READY, EveryBackend, assert_same_on_every_backend, run_reference, splat_gradients
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import SEEDS, examples, splat_cases
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import splat, testing
from mirage_kernels.testing import SplatCase, assert_close_gradients, assert_same, same_bits, same_sums, splat_case

CASES = splat_cases(shapes=st.just(("none", 0.0)))
BANDS = st.sampled_from([0.0, 0.05, 0.5, 1e30])


def run(case: SplatCase, band: float = 0.05) -> Any:
    return case.run(splat, mode="bilinear", band=band)


def taps(case: SplatCase, view: int) -> list[tuple[int, int, Any, Any]]:
    """Compute (point, cell, weight, depth) as documented, one numpy float32 operation after the other."""
    f = np.float32
    h, w = case.cameras.size
    k, m = case.cameras.intrinsics[view].numpy(), case.cameras.world2cam[view].numpy()
    found = []
    for n, (x, y, z) in enumerate(case.xyz.numpy()):
        px, py, pz = (((row[0] * x + row[1] * y) + row[2] * z) + row[3] for row in m)
        inv = f(1) / pz
        a = ((px * inv) * k[0, 0] + k[0, 2]) - f(0.5)
        b = ((py * inv) * k[1, 1] + k[1, 2]) - f(0.5)
        rendered = f(case.near) < pz < math.inf and -1 <= a < w and -1 <= b < h
        if not rendered or (case.valid is not None and not case.valid[n]):
            continue
        s, t = a - np.floor(a), b - np.floor(b)
        for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1)):
            i, j = int(np.floor(b)) + di, int(np.floor(a)) + dj
            weight = (s if dj else f(1) - s) * (t if di else f(1) - t)
            if 0 <= i < h and 0 <= j < w and weight > 0:
                found.append((n, i * w + j, weight, pz))
    return found


def oracle(case: SplatCase, view: int, band: float) -> tuple[Tensor, Tensor, Tensor]:
    """Features (C, h w), depth and index (h w,) of float32 features."""
    h, w = case.cameras.size
    features = torch.zeros(case.features.shape[1], h * w)
    depth, index = torch.full((h * w,), math.inf), torch.full((h * w,), -1)
    found = taps(case, view)
    for cell in range(h * w):
        taps_of_cell = [(z, n, weight) for n, at, weight, z in found if at == cell]
        if not taps_of_cell:
            continue
        nearest, winner, _ = min(taps_of_cell)
        limit = (np.float32(1) + np.float32(band)) * nearest
        total, sums = np.float32(0), np.zeros(case.features.shape[1], np.float32)
        for z, n, weight in taps_of_cell:
            if z <= limit:
                total = total + weight
                sums = sums + weight * case.features[n].numpy()
        if total > np.float32(1e-4):
            features[:, cell] = torch.from_numpy(sums / total)
            depth[cell], index[cell] = float(nearest), winner
    return features, depth, index


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's overflow, which is part of the cases
@settings(max_examples=examples(100))
@given(SEEDS, BANDS)
def test_reference_follows_the_contract(seed: int, band: float) -> None:
    g = torch.Generator().manual_seed(seed)
    size = tuple(torch.randint(1, 7, (2,), generator=g).tolist())
    case = splat_case(seed, n=40, size=size, views=1, kind=testing.POINT_KINDS[seed % 4], valid=seed % 5 == 0)
    case = case._replace(near=(1e-6, 0.25, 1.7)[seed // 7 % 3])
    features, depth, index = oracle(case, 0, band)
    with mk.use_backend("reference"):
        result = run(case, band)
    assert same_bits(result.index.flatten(), index)
    assert same_bits(result.depth.flatten(), depth)
    assert same_bits(result.features.flatten(2)[0], features)


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=CASES, band=BANDS)
def test_cpp_equals_reference(case: SplatCase, band: float, every_backend: EveryBackend) -> None:
    """All outputs have the same bits, because all sums run in the order of the points."""
    assert_same_on_every_backend(every_backend, lambda: run(case, band), sums=("features",))


def test_point_on_a_center_and_between_four_centers() -> None:
    cameras = testing.plain_cameras(1, (4, 4))  # cell centers lie at half columns
    row = torch.tensor([[3.0, -1.0]])
    for name in READY:
        with mk.use_backend(name):
            alone = splat(torch.tensor([[0.125, 0.125, 1.0]]), row, cameras, mode="bilinear")
            assert alone.mask.nonzero().tolist() == [[0, 2, 2]]
            shared = splat(torch.tensor([[0.0, 0.0, 1.0]]), row, cameras, mode="bilinear")
            assert shared.mask.nonzero().tolist() == [[0, 1, 1], [0, 1, 2], [0, 2, 1], [0, 2, 2]]
            assert same_bits(shared.features[0, :, 1, 2], row[0])


def test_a_ramp_is_interpolated() -> None:
    """A dense wall whose features are its image coordinates gives every cell the coordinates of its center."""
    cameras = testing.plain_cameras(1, (8, 8))
    at = torch.arange(-2, 10, 0.25) + 0.125
    v, u = torch.meshgrid(at, at, indexing="ij")
    xyz = torch.stack([(u - 4) / 4, (v - 4) / 4, torch.ones_like(u)], -1).reshape(-1, 3)
    view = splat(xyz, torch.stack([u, v], -1).reshape(-1, 2), cameras, mode="bilinear")
    centers = torch.arange(8) + 0.5
    torch.testing.assert_close(view.features[0, 0], centers.expand(8, 8))
    torch.testing.assert_close(view.features[0, 1], centers[:, None].expand(8, 8))


def test_points_behind_the_band_are_not_blended() -> None:
    cameras, center = testing.plain_cameras(1, (4, 4)), torch.tensor([0.125, 0.125, 1.0])
    xyz = torch.stack([center, 1.04 * center, 1.06 * center])  # on one ray
    rows = torch.tensor([[0.0], [1.0], [5.0]])
    for name in READY:
        with mk.use_backend(name):
            for band, expected in ((0.05, 0.5), (0.0, 0.0), (0.1, 2.0)):
                view = splat(xyz, rows, cameras, mode="bilinear", band=band)
                assert view.features[0, 0, 2, 2].item() == pytest.approx(expected, abs=1e-5)
                assert view.index[0, 2, 2] == 0
                assert view.depth[0, 2, 2] == 1.0


def test_cell_with_small_weights_is_a_hole() -> None:
    cameras = testing.plain_cameras(1, (4, 4))
    for name in READY:
        with mk.use_backend(name):
            for weight, covered in ((2.0**-14, False), (2.0**-13, True)):  # 1e-4 lies between
                offset = torch.tensor([[0.125 + weight / 4, 0.125, 1.0]])
                view = splat(offset, torch.ones(1, 1), cameras, mode="bilinear")
                assert view.mask[0, 2].tolist() == [False, False, True, covered]
                assert bool((view.depth[~view.mask] == math.inf).all())
                assert not view.features[~view.mask.unsqueeze(1)].any()
            twice = splat(offset.repeat(2, 1), torch.ones(2, 1), cameras, mode="bilinear")
            assert twice.mask[0, 2].tolist() == [False, False, True, True]


def test_twenty_repeats_give_the_same_bits() -> None:
    case = splat_case(7, n=20_000, views=3, size=(44, 80), channels=48)
    first = run(case)
    for _ in range(20):
        assert_same(run(case), first)


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("channels", [0, 3, 16, 21, 48, 100])  # some have code of their own
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_sums_do_not_depend_on_threads(channels: int, dtype: torch.dtype) -> None:
    """One thread takes whole views; several take parts of the points, and parts of a view's cells."""
    case = splat_case(8, n=9000, views=3, size=(13, 21), channels=channels, dtype=dtype)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = run(case)
        for count in (2, 3, 4, 7):
            torch.set_num_threads(count)
            assert_same(run(case), one)
    finally:
        torch.set_num_threads(threads)
    expected = run_reference(lambda: run(case))
    assert torch.equal(one.index, expected.index)
    assert same_sums(one.features, expected.features)


@pytest.mark.usefixtures("native")
def test_more_points_in_views_than_are_listed_at_once() -> None:
    case = splat_case(9, n=1 << 20, views=18, size=(5, 8), channels=1)
    every = run(case)
    for view in (0, 15, 16, 17):
        one = splat(case.xyz, case.features, case.cameras[view : view + 1], mode="bilinear")
        assert_same(mk.Splat(*(part[view : view + 1] for part in every)), one)


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=CASES, seed=SEEDS)
def test_cpp_gradients_equal_reference(case: SplatCase, seed: int, every_backend: EveryBackend) -> None:
    expected = run_reference(lambda: splat_gradients(case, seed, mode="bilinear"))
    tame = (case.xyz.abs() < 1e3).all() and (case.xyz[:, 2].abs() > 1e-3).all()
    for name, result in every_backend(lambda: splat_gradients(case, seed, mode="bilinear")):
        assert same_sums(result[1], expected[1]), f"features, {name}"
        if tame:
            assert_close_gradients(result[0], expected[0])


def test_reference_gradients_are_those_of_the_function() -> None:
    case = splat_case(5, n=30, size=(4, 5))
    k, m = case.cameras.intrinsics, case.cameras.world2cam
    xyz, features = case.xyz.double().requires_grad_(), case.features.double().requires_grad_()

    def render(xyz: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        operation = torch.ops.mirage_kernels_reference.splat_bilinear
        out, depth, _, _ = operation(xyz, features, k, m, 4, 5, None, 0.3)
        return out, torch.where(depth.isfinite(), depth, 0)

    assert torch.autograd.gradcheck(render, (xyz, features))
