# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import emulated
import numpy as np
import pytest
import torch
from every_backend import READY, EveryBackend, assert_same_on_every_backend, needs_grad, run_reference, splat_gradients
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import SEEDS, examples, splat_cases
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, splat, testing
from mirage_kernels.testing import SplatCase, assert_same, same_bits, same_sums, splat_case


class CoveredCell(NamedTuple):
    """A cell that a point covers: view, row, column, index and depth of the point, and its projection (u, v)."""

    view: int
    i: int
    j: int
    index: int
    depth: np.float32
    u: np.float32
    v: np.float32


def covered_cells(case: SplatCase) -> Iterator[CoveredCell]:
    """Compute the cells of every point as documented: one numpy float32 operation after the other, one point at a
    time."""
    f = np.float32
    h, w = case.cameras.size
    for v, (k, m) in enumerate(zip(case.cameras.intrinsics.numpy(), case.cameras.world2cam.numpy(), strict=True)):
        for n, (x, y, z) in enumerate(case.xyz.numpy()):
            if case.valid is not None and not case.valid[n]:
                continue
            px, py, pz = (((row[0] * x + row[1] * y) + row[2] * z) + row[3] for row in m)
            inv = f(1) / pz
            u, r = (px * inv) * k[0, 0] + k[0, 2], (py * inv) * k[1, 1] + k[1, 2]
            if not f(case.near) < pz < math.inf:
                continue
            extent = case.extent[n].item() if isinstance(case.extent, Tensor) else (case.extent or 0.0)
            half = (f(extent) if extent > 0 else f(0)) * inv
            eu, ev = half * k[0, 0], half * k[1, 1]
            grid = [(i, j) for i in range(h) for j in range(w)]
            radius = f(case.radius[n].item() if isinstance(case.radius, Tensor) else case.radius)
            if isinstance(case.radius, Tensor) or radius > 0:
                radius = min(radius, f(2**24)) if radius > 0 else f(0)
                at = [(f(i) + f(0.5) - r, f(j) + f(0.5) - u) for i, j in grid]
                covered = [x * x + y * y <= radius * radius for y, x in at]
                cells = [cell for cell, inside in zip(grid, covered, strict=True) if inside]
            else:
                lo, hi = ((r - ev) - f(0.5), (u - eu) - f(0.5)), ((r + ev) - f(0.5), (u + eu) - f(0.5))
                cells = [(i, j) for i, j in grid if lo[0] <= i <= hi[0] and lo[1] <= j <= hi[1]]
            if not cells and 0 <= u < w and 0 <= r < h:
                cells = [(int(r), int(u))]
            for i, j in cells:
                yield CoveredCell(v, i, j, n, pz, u, r)


def oracle(case: SplatCase) -> tuple[Tensor, Tensor]:
    """Compute depth and index of the nearest points."""
    depth = torch.full((len(case.cameras), *case.cameras.size), math.inf)
    index = torch.full(depth.shape, -1, dtype=torch.int64)
    for cell in covered_cells(case):
        at = cell.view, cell.i, cell.j
        if float(cell.depth) < depth[at]:
            depth[at], index[at] = float(cell.depth), cell.index
    return depth, index


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's overflow, which is part of the cases
@settings(max_examples=examples(150))
@given(SEEDS)
def test_reference_follows_the_contract(seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    kind = testing.POINT_KINDS[seed % 4]
    size = tuple(torch.randint(1, 7, (2,), generator=g).tolist())
    extent = ("none", "one", "each", "discs")[seed // 4 % 4]
    radius = (0.0, 0.4, 1.0, 3.0)[seed // 16 % 4] if extent in ("none", "discs") else 0.0
    case = splat_case(seed, n=40, size=size, kind=kind, extent=extent, radius=radius, valid=seed % 5 == 0)
    case = case._replace(near=(1e-6, 0.25, 1.7)[seed // 7 % 3])  # points lie at a depth of 0.25 where kind is "border"
    depth, index = oracle(case)
    result = run_reference(lambda: case.run(splat))
    assert same_bits(result.index, index)
    assert same_bits(result.depth, depth)


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(600), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=splat_cases())
def test_cpp_equals_reference(case: SplatCase, every_backend: EveryBackend) -> None:
    assert_same_on_every_backend(every_backend, lambda: case.run(splat))


# A number for all is not for points in boxes: no box knows it.
BOXED = st.sampled_from([("none", 0.0), ("each", 0.0), ("none", 0.71), ("none", 40.0)])


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    case=splat_cases(BOXED, boxes=True),
    scale=st.sampled_from([0.6, 1.0, 0.0]),
    minimum=st.sampled_from([-math.inf, 0.05, 0.3]),
    more=st.sampled_from([0, 0, 9_000]),
    views=st.sampled_from([1, 2, 70]),
)
def test_operation_equals_reference(
    case: SplatCase, scale: float, minimum: float, more: int, views: int, every_backend: EveryBackend
) -> None:
    """The arguments that only the cache uses: bounding boxes, and a minimum of the extents."""
    if more:  # several runs of 64 leaves, in a scene that is larger than a view, and more views than a batch
        g = torch.Generator().manual_seed(more)
        xyz = 30 * torch.rand(more, 3, generator=g)
        xyz = xyz[(xyz // 3 @ torch.tensor([100.0, 10.0, 1.0])).argsort()]
        extent = 0.1 * torch.rand(more, generator=g) if isinstance(case.extent, Tensor) else None
        cameras = testing.random_cameras(g, views, case.cameras.size)
        boxes = testing.bounding_boxes(xyz, extent)
        case = SplatCase(xyz, torch.randn(more, 2, generator=g), cameras, None, extent, case.radius, boxes, case.near)
    expected = torch.ops.mirage_kernels_reference.splat(*case.arguments(scale, minimum))
    for name, result in every_backend(lambda: torch.ops.mirage_kernels.splat(*case.arguments(scale, minimum))):
        assert all(map(same_bits, result, expected)), name


@settings(max_examples=examples(60))
@given(case=splat_cases(BOXED, boxes=True), scale=st.sampled_from([0.6, 1.0]))
def test_extents_follow_the_formula(case: SplatCase, scale: float) -> None:
    extent, minimum = case.extent, np.float32(0.1)
    if isinstance(extent, Tensor):
        extents = [np.float32(scale) * (e if e > minimum else minimum) for e in extent.numpy()]
        extent = torch.tensor(extents, dtype=torch.float32)
    operation = (
        torch.ops.mirage_kernels.splat if mk.backends()["cpp"] is None else torch.ops.mirage_kernels_reference.splat
    )
    assert_same(
        mk.Splat(*operation(*case.arguments(scale, float(minimum)))),
        case._replace(extent=extent).run(splat),
    )


@pytest.mark.usefixtures("native")
def test_points_outside_their_boxes_are_skipped() -> None:
    case = testing.splat_case(0, n=64 * 6, boxes=True)
    assert case.boxes is not None
    behind = [level.clone() for level in case.boxes]
    behind[0][2] = torch.tensor([0.0, 0, -50, 1, 1, -49, 0])
    lost = torch.ops.mirage_kernels.splat(*case._replace(boxes=tuple(behind)).arguments())[2]
    found = torch.ops.mirage_kernels.splat(*case.arguments())[2]
    assert bool((found // 64 == 2).any())
    assert not bool((lost // 64 == 2).any())


@settings(max_examples=examples(100))
@given(case=splat_cases())
def test_a_cell_holds_one_point(case: SplatCase) -> None:
    result = case.run(splat)
    features = result.features.movedim(1, -1)
    winners = case.features[result.index[result.mask]]
    assert same_bits(features[result.mask], winners)
    assert not features[~result.mask].any()
    assert bool((result.depth[~result.mask] == math.inf).all())
    assert bool((result.depth[result.mask] > 0).all())


def test_twenty_repeats_give_the_same_bits() -> None:
    case = splat_case(7, n=50_000, views=9, size=(44, 80), channels=48, extent="one")
    case.xyz[25_000:] = case.xyz[:25_000]  # every point has a rival at the same depth
    first = case.run(splat)
    assert int(first.index.max()) < 25_000
    for _ in range(20):
        assert_same(case.run(splat), first)


def test_order_of_points_decides_only_ties() -> None:
    case = splat_case(3, n=5_000, size=(20, 30))
    order = torch.randperm(5_000, generator=torch.Generator().manual_seed(0))
    a, b = case.run(splat), splat(case.xyz[order], case.features[order], case.cameras)
    assert same_bits(a.depth, b.depth)
    assert same_bits(a.features, b.features)


def test_nearest_wins_and_ties_go_to_the_lower_index() -> None:
    cameras = testing.plain_cameras(1, (4, 4))
    xyz = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    result = splat(xyz, torch.eye(4), cameras)
    assert result.index[0, 2, 2] == 1
    assert result.depth[0, 2, 2] == 1.0
    assert result.mask.sum() == 1


def test_extent_closes_holes_from_nearer_views() -> None:
    """A wall that was observed from 2 m covers every cell from 1 m only if points have their extent."""
    far = Cameras(torch.tensor([[8.0, 0, 8], [0, 8.0, 8], [0, 0, 1]]), torch.eye(4), (16, 16))
    pose = torch.eye(4)
    pose[2, 3] = 1.0
    near = Cameras(far.intrinsics[0], pose, (16, 16))
    points = mk.unproject(torch.full((1, 16, 16), 2.0), torch.randn(1, 3, 16, 16), far)
    assert splat(points.xyz, points.features, near).mask.float().mean() <= 0.25
    assert splat(points.xyz, points.features, near, extent=0.51 * points.footprint).mask.all()


def test_radius_covers_discs() -> None:
    cameras, row = testing.plain_cameras(1, (7, 7)), torch.ones(1, 1)
    center = torch.tensor([[0.0, 0.0, 1.0]])  # of cell (3, 3)
    outside = torch.tensor([[-9 / 4, 0.0, 1.0]])  # six columns left of the center of cell (3, 0)
    for name in READY:
        with mk.use_backend(name):
            mask = splat(center, row, cameras, radius=2.0).mask[0]
            assert [int(cells.sum()) for cells in mask] == [0, 1, 3, 5, 3, 1, 0]
            assert splat(center, row, cameras, radius=1e-3).mask.nonzero().tolist() == [[0, 3, 3]]
            assert not splat(outside, row, cameras, radius=5.95).mask.any()
            assert splat(outside, row, cameras, radius=6.05).mask.nonzero().tolist() == [[0, 3, 0]]
            own = torch.tensor([0.0, 6.05, math.nan, 1.0, -2.0])
            index = splat(torch.cat([center, outside, center, center, center]), None, cameras, radius=own).index[0]
            assert index[3].tolist() == [1, -1, 3, 0, 3, -1, -1]
            assert (index == 3).sum() == 4


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_near_equals_points_removed_per_view(mode: Any, dtype: torch.dtype, every_backend: EveryBackend) -> None:
    """Each of many views skips its own points, those exactly at the limit included; so do gradients."""
    case = splat_case(2, n=600, views=70, size=(3, 4), channels=3, dtype=dtype, valid=True)
    depth = case.cameras.project(case.xyz)[1]
    near = depth[depth > 0].quantile(0.3).item()
    near = depth[0][(depth[0] - near).abs().argmin()].item()
    case = case._replace(near=near)
    assert case.valid is not None
    for name, result in every_backend(lambda: (case.run(splat, mode=mode), splat_gradients(case, 4, mode=mode))):
        view, gradients = result
        assert (view.depth > near).all(), name
        sums = [torch.zeros_like(g) for g in gradients]
        for v in range(0, 70, 23):
            one = case._replace(cameras=case.cameras[v], valid=case.valid & (depth[v] > near), near=1e-6)
            expected = run_reference(lambda one=one: one.run(splat, mode=mode))
            assert same_bits(view.index[v], expected.index[0]), name
            assert same_bits(view.depth[v], expected.depth[0]), name
            assert same_sums(view.features[v], expected.features[0]), name
        for sum_, gradient in zip(sums, gradients, strict=True):  # of points that no view shows
            hidden = ~(case.valid & (depth > near).any(0))
            assert hidden.any()
            assert torch.equal(gradient[hidden], sum_[hidden]), name


def test_near_keeps_a_row_from_covering_the_view() -> None:
    """A square just in front of the camera covers every cell; near leaves the surface behind it."""
    camera = testing.plain_cameras(1, (6, 8))
    surface = torch.cartesian_prod(torch.linspace(-1, 1, 40), torch.linspace(-1, 1, 40), torch.tensor([1.0]))
    xyz = torch.cat([torch.tensor([[0.0, 0.0, 0.01]]), surface])
    features, extent = torch.arange(len(xyz))[:, None].float(), torch.full((len(xyz),), 0.05)
    for name in READY:
        with mk.use_backend(name):
            assert (splat(xyz, features, camera, extent=extent).index == 0).all()
            view = splat(xyz, features, camera, extent=extent, near=0.1)
            assert view.mask.all()
            assert (view.depth == 1).all()
            assert same_bits(view.features, splat(surface, features[1:], camera, extent=extent[1:]).features)


def test_near_compiles_into_one_graph() -> None:
    case = splat_case(1, extent="each")
    for mode in ("nearest", "bilinear"):
        call = case._replace(near=0.7) if mode == "nearest" else case._replace(near=0.7, extent=None)
        torch.compiler.reset()
        compiled = torch.compile(lambda c=call, m=mode: c.run(splat, mode=m), fullgraph=True, backend="aot_eager")
        assert_same(compiled(), call.run(splat, mode=mode), ("features",))


def test_empty_inputs() -> None:
    cameras = testing.plain_cameras(2, (3, 4))
    options: list[dict[str, Any]] = [{}, {"radius": 1.0}, {"mode": "bilinear"}]
    for name in READY:
        for option in options:
            with mk.use_backend(name):
                nothing = splat(torch.zeros(0, 3), torch.zeros(0, 5), cameras, **option)
                assert nothing.features.shape == (2, 5, 3, 4)
                assert not nothing.mask.any()
                assert bool((nothing.depth == math.inf).all())
                no_views = splat(torch.zeros(7, 3), torch.zeros(7, 5), cameras[:0], **option)
                assert no_views.features.shape == (0, 5, 3, 4)
                no_channels = splat(torch.tensor([[0.0, 0, 1]]), torch.zeros(1, 0), cameras, **option)
                assert no_channels.features.shape == (2, 0, 3, 4)
                assert no_channels.mask.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_are_copied_bit_for_bit(dtype: torch.dtype) -> None:
    """NaNs with payloads and signed zeros included: features are never interpreted."""
    words = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    row = words.view(dtype) if dtype != torch.float32 else (words.int() << 16 | 0x1234).view(torch.float32)
    cameras = testing.plain_cameras(1, (1, 1))
    for name in READY:
        with mk.use_backend(name):
            result = splat(torch.tensor([[0.0, 0.0, 1.0]]), row[None], cameras)
            assert same_bits(result.features[0, :, 0, 0], row)


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=splat_cases(), seed=SEEDS)
def test_cpp_gradients_equal_reference(case: SplatCase, seed: int, every_backend: EveryBackend) -> None:
    expected = run_reference(lambda: splat_gradients(case, seed))
    for name, result in every_backend(lambda: splat_gradients(case, seed)):
        assert same_sums(result[0], expected[0]), f"xyz, {name}"
        assert same_sums(result[1], expected[1]), f"features, {name}"


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_more_views_than_a_batch(mode: str, every_backend: EveryBackend) -> None:
    case = splat_case(2, n=900, views=70, size=(3, 4))
    sums = ("features",) if mode == "bilinear" else ()
    assert_same_on_every_backend(every_backend, lambda: case.run(splat, mode=mode), sums)
    _, expected = run_reference(lambda: splat_gradients(case, 0, mode=mode))
    for name, (_, result) in every_backend(lambda: splat_gradients(case, 0, mode=mode)):
        assert same_sums(result, expected), name


def test_cuda_ignores_indices_out_of_range(cuda_code: emulated.Emulated | None) -> None:
    """On a CPU such an index is an error; on a device indices are not checked."""
    if cuda_code is None:
        pytest.skip("needs GCC and the sources")
    index = torch.tensor([[[0, 5, -1, 1 << 40, 2]]])
    with cuda_code.use():
        operations = torch.ops.mirage_kernels_emulated
        features = operations.splat_backward_features(torch.ones(1, 2, 1, 5), index, 2)
        xyz = operations.splat_backward_xyz(torch.ones(1, 1, 5), index, torch.ones(1, 3, 4), 2)
    assert features.tolist() == [[1, 1], [0, 0]]
    assert xyz.tolist() == [[1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize(("extent", "radius"), [(0.0, 0.0), (0.2, 0.0), (0.0, 1.5)])
def test_reference_gradients_are_those_of_the_function(extent: float, radius: float) -> None:
    case = splat_case(5, n=30, size=(4, 5))
    k, m = case.cameras.intrinsics, case.cameras.world2cam
    xyz, features = case.xyz.double().requires_grad_(), case.features.double().requires_grad_()

    def render(xyz: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        rest = (None, None, extent, -math.inf, radius, None, None, None)
        out, depth, _ = torch.ops.mirage_kernels_reference.splat(xyz, features, k, m, 4, 5, *rest)
        return out, torch.where(depth.isfinite(), depth, 0)

    assert torch.autograd.gradcheck(render, (xyz, features))


def test_gradient_sums_run_in_float32_and_round_once() -> None:
    """One point over 4096 cells: a bfloat16 sum would stall at 256."""
    cameras = testing.plain_cameras(1, (64, 64))
    features = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    for name in READY:
        with mk.use_backend(name):
            out = splat(torch.tensor([[0.0, 0.0, 1.0]]), features, cameras, extent=100.0).features
            (grad,) = torch.autograd.grad(out, features, torch.ones_like(out))
            assert grad.item() == 4096


def test_unused_outputs_need_no_gradient() -> None:
    case = splat_case(1)
    features = needs_grad(case.features)
    splat(case.xyz, features, case.cameras).features.sum().backward()
    assert features.grad is not None
    xyz = needs_grad(case.xyz)
    splat(xyz, case.features, case.cameras).depth.nan_to_num(posinf=0).sum().backward()
    assert xyz.grad is not None
