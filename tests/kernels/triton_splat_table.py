# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels of splat equal the reference on the cases of test_splat.py. Run it like ``triton_table.py``."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from every_backend import needs_grad, run_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, SHAPES, examples, splat_cases
from test_frontmost import CASES as FRONTMOST_CASES
from test_frontmost import FrontmostCase
from test_splat import (  # noqa: F401 (collected here too)
    test_empty_inputs,
    test_radius_covers_discs,
)
from test_splat_bilinear import (  # noqa: F401
    test_cell_with_small_weights_is_a_hole,
    test_point_on_a_center_and_between_four_centers,
    test_points_behind_the_band_are_not_blended,
)
from test_splat_clouds import (  # noqa: F401
    test_every_view_has_its_mask,
    test_no_clouds_and_no_views,
)
from test_splat_clouds import test_gradients_equal_those_of_a_loop as gradients_of_clouds
from test_splat_sum import CASES as SUM_CASES
from test_splat_sum import SumCase, same
from torch import Tensor
from triton_table import ALLOW, DEVICE, numbers_overflow_quietly, run_triton, slow  # noqa: F401 (a fixture)

from mirage_kernels import _library, splat
from mirage_kernels.ops.splat import splat_bilinear_triton, splat_triton
from mirage_kernels.testing import (
    SplatCase,
    assert_close_gradients,
    assert_same,
    plain_cameras,
    same_bits,
    same_sums,
    splat_case,
    to_device,
)

# The interpreter takes a millisecond for every step of every program.
FEW = {
    "n": st.one_of(st.integers(0, 40), st.sampled_from([100, 256, 257])),
    "channels": st.sampled_from([0, 1, 3, 16, 48, 65]),
}
SMALL = SHAPES.filter(lambda shape: shape[1] < 40)
test_gradients_of_clouds = slow(gradients_of_clouds)
BANDS = st.sampled_from([0.0, 0.05, 0.5, 1e30])


def results(case: SplatCase, seed: int, **options: Any) -> tuple[Any, list[Tensor]]:
    """Return the result and the gradients of xyz and of features."""
    xyz, features = needs_grad(case.xyz), needs_grad(case.features)
    view = case._replace(xyz=xyz, features=features).run(splat, **options)
    g = torch.Generator().manual_seed(seed)
    weights = [torch.randn(part.shape, generator=g).to(part) for part in (view.features, view.depth)]
    return view, list(torch.autograd.grad([view.features, view.depth], [xyz, features], weights))


def assert_equals_reference(case: SplatCase, seed: int, **options: Any) -> None:
    expected, gradients = run_reference(lambda: results(case, seed, **options))
    result, (by_xyz, by_features) = run_triton(lambda: results(to_device(case, DEVICE), seed, **options))
    assert_same(to_device(result, "cpu"), expected, ("features",) if options.get("mode") == "bilinear" else ())
    assert same_sums(by_features.cpu(), gradients[1])
    if options.get("mode") != "bilinear":
        assert same_sums(by_xyz.cpu(), gradients[0])
    elif (case.xyz.abs() < 1e3).all() and (case.xyz[:, 2].abs() > 1e-3).all():
        assert_close_gradients(by_xyz.cpu(), gradients[0])


@settings(max_examples=examples(4), suppress_health_check=ALLOW)
@given(case=FRONTMOST_CASES.filter(lambda case: len(case.xyz) < 1000))
def test_frontmost_equals_reference(case: FrontmostCase) -> None:
    options = {name: to_device(value, DEVICE) for name, value in case.options.items()}
    on_device = FrontmostCase(case.xyz.to(DEVICE), case.cameras.to(DEVICE), options)
    assert same_bits(run_triton(on_device.run).cpu(), run_reference(case.run))


@settings(max_examples=examples(4), suppress_health_check=ALLOW)
@given(case=SUM_CASES.filter(lambda case: len(case.uv) < 1000))
def test_splat_sum_equals_reference(case: SumCase) -> None:
    uv, features, weights = (to_device(x, DEVICE) for x in (case.uv, case.features, case.weights))
    result = run_triton(case._replace(uv=uv, features=features, weights=weights).run)
    assert same(to_device(result, "cpu"), run_reference(case.run))


@settings(max_examples=examples(8), suppress_health_check=ALLOW)
@given(case=splat_cases(SMALL, **FEW), seed=SEEDS)
def test_splat_equals_reference(case: SplatCase, seed: int) -> None:
    assert_equals_reference(case, seed)


@pytest.mark.parametrize(("extent", "radius"), [("one", 0.0), ("each", 0.0), ("none", 40.0), ("discs", 7.5)])
def test_points_over_many_cells_equal_reference(extent: str, radius: float) -> None:
    case = splat_case(3, n=30, views=2, size=(17, 23), extent=extent, radius=radius, valid=True)
    if extent != "none":
        case = case._replace(xyz=case.xyz / 8)
    on_device = to_device(case, DEVICE)
    expected = run_reference(lambda: case.run(splat))
    assert int(expected.index.unique(return_counts=True)[1].max()) > 40
    assert_same(to_device(run_triton(lambda: on_device.run(splat)), "cpu"), expected)


@pytest.mark.parametrize("programs", [1, 3, 1 << 20])
def test_any_number_of_views_per_program(programs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splat_triton, "_PROGRAMS", programs)
    assert_equals_reference(splat_case(1, n=700, views=7, kind="ties"), 2)


@pytest.mark.parametrize("scale", [0.6, 0.0])
@pytest.mark.parametrize("min_extent", [-math.inf, 0.05, 0.3])
def test_extents_of_the_cache_equal_reference(scale: float, min_extent: float) -> None:
    case = splat_case(4, n=200, kind="ties", extent="each", boxes=True)
    assert isinstance(case.extent, Tensor)
    case.extent[::2] = math.nan
    expected = _library.overload(_library.REFERENCE, "splat")(*case.arguments(scale, min_extent))
    arguments = [to_device(x, DEVICE) for x in case.arguments(scale, min_extent)]
    result = _library.overload(_library.TRITON, "splat")(*arguments)
    assert all(same_bits(a.cpu(), b) for a, b in zip(result, expected, strict=True))


@settings(max_examples=examples(4), suppress_health_check=ALLOW)
@given(case=splat_cases(st.just(("none", 0.0)), **FEW), band=BANDS, seed=SEEDS)
def test_bilinear_equals_reference(case: SplatCase, band: float, seed: int) -> None:
    assert_equals_reference(case, seed, mode="bilinear", band=band)


@pytest.mark.parametrize("pairs", [1, 1300])
def test_any_size_of_a_batch_of_views(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splat_bilinear_triton, "_PAIRS_BATCH", pairs)
    assert_equals_reference(splat_case(1, n=150, views=3, kind="ties", channels=70), 2, mode="bilinear")


def test_many_points_of_a_cell_are_blended_in_order() -> None:
    """Sums of numbers of all sizes come out otherwise in any other order."""
    case = splat_case(2, n=200, views=2, size=(2, 2), channels=3, kind="ties")
    case = case._replace(features=case.features * 10.0 ** torch.arange(-100, 100)[:, None].remainder(7))
    assert_equals_reference(case, 3, mode="bilinear", band=100.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_are_copied_bit_for_bit(dtype: torch.dtype) -> None:
    """NaNs with payloads and denormals included: features are never interpreted."""
    words = torch.arange(-(1 << 15), 1 << 15, 257, dtype=torch.int32)
    row = words.to(torch.int16).view(dtype) if dtype != torch.float32 else (words << 16 | 0x1234).view(torch.float32)
    xyz, camera = torch.tensor([[0.0, 0.0, 1.0]]), plain_cameras(1, (1, 1))
    on_device = [to_device(value, DEVICE) for value in (xyz, row[None], camera)]
    assert same_bits(run_triton(lambda: splat(*on_device)).features[0, :, 0, 0], row)


def opcheck(name: str, *args: Any) -> None:
    torch.library.opcheck(_library.overload(_library.TRITON, name), args)


@slow
@pytest.mark.parametrize("options", [{"extent": "each", "valid": True}, {"dtype": torch.bfloat16, "strided": True}])
def test_opcheck_splat(options: dict[str, Any]) -> None:
    case = to_device(splat_case(0, n=30, **options), DEVICE)
    xyz, features, *others = case.arguments()
    opcheck("splat", needs_grad(xyz), needs_grad(features), *others)
    view = case.run(splat)
    opcheck("splat_backward_features", torch.randn_like(view.features), view.index, 30)
    opcheck("splat_backward_xyz", torch.randn_like(view.depth), view.index, case.cameras.world2cam, 30)


@slow
@pytest.mark.parametrize("options", [{"valid": True}, {"dtype": torch.bfloat16, "strided": True}])
def test_opcheck_bilinear(options: dict[str, Any]) -> None:
    case = to_device(splat_case(0, n=30, **options), DEVICE)
    xyz, features, k, m, h, w, valid, *_ = case.arguments()
    opcheck("splat_bilinear", needs_grad(xyz), needs_grad(features), k, m, h, w, valid, 0.1)
    out, depth, _, weight = _library.overload(_library.TRITON, "splat_bilinear")(xyz, features, k, m, h, w, valid, 0.1)
    grad, read = torch.randn_like(out), (k, m, valid, depth, weight, 0.1)
    opcheck("splat_bilinear_backward_features", grad, xyz, *read)
    opcheck("splat_bilinear_backward_xyz", grad, out, xyz, features, *read)


def render(xyz: Tensor, features: Tensor, cameras: Any) -> tuple[Tensor, ...]:
    nearest, blended = splat(xyz, features, cameras, radius=1.2), splat(xyz, features, cameras, mode="bilinear")
    return (*nearest, *blended)


def test_compiles_into_one_graph() -> None:
    torch.compiler.reset()
    case = splat_case(3)
    on_device = to_device(case, DEVICE)
    compiled = torch.compile(render, fullgraph=True, backend="aot_eager")
    view = run_triton(lambda: compiled(on_device.xyz, on_device.features, on_device.cameras))
    for result, expected in zip(view, run_reference(lambda: render(*case[:3])), strict=True):
        assert same_bits(result.cpu(), expected)
