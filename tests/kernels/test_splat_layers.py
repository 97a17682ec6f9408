# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""splat with ``k``: the k nearest points of every cell."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from every_backend import READY, EveryBackend, assert_same_on_every_backend, needs_grad, random_gradients, run_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, SHAPES, examples, fixture_is_pure, splat_cases
from test_splat import covered_cells
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, Layers, _library, splat, testing
from mirage_kernels.testing import SplatCase, assert_same, same_bits, same_sums, splat_case

LAYERS = [1, 2, 5, 8, 16]
# Cases for every backend: with the largest discs every point covers every cell, and Triton's interpreter takes the
# cells of the larger ones point by point.
CASES = st.one_of(
    splat_cases(
        SHAPES.filter(lambda shape: shape[1] < 2),
        n=st.one_of(st.integers(0, 40), st.sampled_from([200, 256, 257, 700])),
        channels=st.just(0),
    ),
    splat_cases(st.just(("none", 2.5)), n=st.sampled_from([*range(41), 257]), channels=st.just(0)),
)


def oracle(case: SplatCase, k: int) -> Layers:
    """Sort the points of every cell, and measure how far they are from its center."""
    f = np.float32
    shape = (len(case.cameras), k, *case.cameras.size)
    index, depth = torch.full(shape, -1, dtype=torch.int64), torch.full(shape, math.inf)
    distance2, points = torch.full(shape, math.inf), defaultdict(list)
    for cell in covered_cells(case):
        x, y = (f(cell.j) + f(0.5)) - cell.u, (f(cell.i) + f(0.5)) - cell.v
        points[cell.view, cell.i, cell.j].append((float(cell.depth), cell.index, float(x * x + y * y)))
    for (v, i, j), candidates in points.items():
        for layer, (z, n, squared) in enumerate(sorted(candidates)[:k]):
            index[v, layer, i, j], depth[v, layer, i, j], distance2[v, layer, i, j] = n, z, squared
    return Layers(index, depth, distance2)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's overflow, which is part of the cases
@settings(max_examples=examples(60))
@given(SEEDS)
def test_reference_follows_the_contract(seed: int) -> None:
    kind, extent = testing.POINT_KINDS[seed % 4], ("none", "one", "each", "discs")[seed // 4 % 4]
    radius = (0.0, 0.4, 1.0, 3.0)[seed // 16 % 4] if extent in ("none", "discs") else 0.0
    size, k = (1 + seed // 2 % 6, 1 + seed // 12 % 6), (1, 2, 5, 16)[seed // 5 % 4]
    case = splat_case(seed, n=40, size=size, kind=kind, extent=extent, radius=radius, valid=seed % 5 == 0)
    case = case._replace(near=(1e-6, 0.25, 1.7)[seed // 7 % 3])
    assert_same(run_reference(lambda: case.run(splat, k=k)), oracle(case, k))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("k", LAYERS)
@settings(fixture_is_pure, max_examples=-(-examples(100) // len(LAYERS)))
@given(case=CASES)
def test_cpp_equals_reference(case: SplatCase, k: int, every_backend: EveryBackend) -> None:
    assert_same_on_every_backend(every_backend, lambda: case.run(splat, k=k))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(("k", "radius"), [(8, 0.0), (3, 40.0), (16, 2.5)])
def test_many_points_equal_reference(k: int, radius: float, every_backend: EveryBackend) -> None:
    """As many as are split between threads, with ties between the parts."""
    case = splat_case(k, n=6000, views=3, kind="ties", radius=radius)
    assert_same_on_every_backend(every_backend, lambda: case.run(splat, k=k))


@pytest.mark.usefixtures("native")
def test_more_views_than_a_batch(every_backend: EveryBackend) -> None:
    case = splat_case(2, n=900, views=70, size=(3, 4), extent="each")
    assert_same_on_every_backend(every_backend, lambda: case.run(splat, k=3))


@settings(max_examples=examples(40))
@given(case=splat_cases(), k=st.sampled_from(LAYERS))
def test_the_first_layer_is_the_nearest_point(case: SplatCase, k: int) -> None:
    layers, nearest = case.run(splat, k=k), case.run(splat)
    assert same_bits(layers.index[:, 0], nearest.index)
    assert same_bits(layers.depth[:, 0], nearest.depth)


@settings(max_examples=examples(40))
@given(case=splat_cases(), k=st.sampled_from(LAYERS))
def test_layers_are_sorted_and_hold_a_point_once(case: SplatCase, k: int) -> None:
    layers = case.run(splat, k=k)
    assert same_bits(layers.mask, layers.index >= 0)
    assert (layers.mask[:, 1:] <= layers.mask[:, :-1]).all()  # layers without a point come last
    nearer = layers.depth[:, :-1] < layers.depth[:, 1:]
    tied = (layers.depth[:, :-1] == layers.depth[:, 1:]) & (layers.index[:, :-1] < layers.index[:, 1:])
    assert (nearer | tied)[layers.mask[:, 1:]].all()
    assert (layers.depth[~layers.mask] == math.inf).all()
    assert (layers.distance2[~layers.mask] == math.inf).all()


def test_every_point_of_a_cell_has_its_layer() -> None:
    """Ties go to the lower index; a point behind the camera, one that is NaN and one that is not valid have none."""
    cameras = testing.plain_cameras(1, (4, 4))
    z = torch.tensor([2.0, 1.0, 1.0, -1.0, math.nan, 3.0, 0.5])
    xyz = torch.stack([z / 16, torch.zeros(7), z], 1)
    valid = torch.arange(7) != 6
    for name in READY:
        with mk.use_backend(name):
            layers = splat(xyz, None, cameras, valid=valid, k=6)
            assert layers.index[0, :, 2, 2].tolist() == [1, 2, 0, 5, -1, -1]
            assert layers.depth[0, :, 2, 2].tolist() == [1, 1, 2, 3, math.inf, math.inf]
            assert layers.distance2[0, :4, 2, 2].tolist() == [0.25**2 + 0.5**2] * 4  # (u, v) = (2.25, 2)
            assert layers.mask.sum() == 4


class RasterizedPoints(NamedTuple):
    """What PyTorch3D's ``rasterize_points`` returns."""

    idx: Tensor
    zbuf: Tensor
    dists: Tensor


def rasterize_points(case: SplatCase, points_per_pixel: int, radius: float) -> RasterizedPoints:
    """What PyTorch3D documents, in float64: of the points in front of the camera whose projection is within ``radius``
    of a pixel's center, the nearest, in the order of depth, with their squared distances. Lengths are those of
    normalized device coordinates, in which the shorter side of the image is 2; -1 stands for none."""
    h, w = case.cameras.size
    scale = 2 / min(h, w)
    i, j = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")
    centers = torch.stack([j, i], -1).reshape(-1, 2).double() * scale
    shape = (len(case.cameras), points_per_pixel, h * w)
    idx, zbuf, dists = torch.full(shape, -1), torch.full(shape, -1.0).double(), torch.full(shape, -1.0).double()
    for v, (k, m) in enumerate(zip(case.cameras.intrinsics.double(), case.cameras.world2cam.double(), strict=True)):
        p = case.xyz.double() @ m[:, :3].T + m[:, 3]
        uv = torch.stack([p[:, 0] / p[:, 2] * k[0, 0] + k[0, 2], p[:, 1] / p[:, 2] * k[1, 1] + k[1, 2]], 1) * scale
        order = p[:, 2].argsort(stable=True)
        order = order[p[order, 2] > 0]
        for cell, center in enumerate(centers):
            squared = (uv[order] - center).square().sum(1)
            found = (squared < radius**2).nonzero()[:points_per_pixel, 0]
            idx[v, : len(found), cell], zbuf[v, : len(found), cell] = order[found], p[order[found], 2]
            dists[v, : len(found), cell] = squared[found]
    return RasterizedPoints(*(t.reshape(*shape[:2], h, w) for t in (idx, zbuf, dists)))


def hololens(data: Path) -> SplatCase:
    """A cloud of some frames, seen by cameras between them, at the size of a small latent grid."""
    read_rgbd = pytest.importorskip("mirage.recordings.hololens").read_rgbd
    recording = read_rgbd(data / "hololens_dev")
    frames = recording.cameras[[0, 6, 12]]
    latents = torch.zeros(3, 0, 33, 60)
    points = mk.unproject(recording.depth[[0, 6, 12]], latents, frames)
    views = recording.cameras[[3, 9]].rescale((22, 40))
    return SplatCase(points.xyz[points.valid], points.features[points.valid], views, None, None, 1.5)


@pytest.mark.parametrize("scene", ["room", "hololens"])
def test_discs_are_those_of_pytorch3d(scene: str, request: pytest.FixtureRequest) -> None:
    if scene == "hololens":
        case = hololens(request.getfixturevalue("data"))
    else:
        case = splat_case(5, n=600, size=(9, 14), radius=1.5)
    scale = 2 / min(case.cameras.size)
    expected = rasterize_points(case, 8, 1.5 * scale)
    for name in READY:
        with mk.use_backend(name):
            layers = case.run(splat, k=8)
        # Rounding decides where two points are as near as each other, or one is as far as the radius.
        same = (layers.index == expected.idx).all(1)
        assert same.float().mean() > 0.999
        hit = layers.mask & same[:, None]
        assert hit.float().mean() > 0.3
        torch.testing.assert_close(layers.depth[hit].double(), expected.zbuf[hit], rtol=1e-5, atol=0)
        squared = layers.distance2[hit].double() * scale**2
        torch.testing.assert_close(squared, expected.dists[hit], rtol=1e-3, atol=1e-6)


def gradients(case: SplatCase, k: int, seed: int) -> Tensor:
    xyz = needs_grad(case.xyz)
    layers = case._replace(xyz=xyz).run(splat, k=k)
    return random_gradients([layers.depth, layers.distance2], [xyz], seed)[0]


@pytest.mark.usefixtures("native")
@settings(fixture_is_pure, max_examples=examples(40))
@given(case=CASES, k=st.sampled_from(LAYERS), seed=SEEDS)
def test_cpp_gradients_equal_reference(case: SplatCase, k: int, seed: int, every_backend: EveryBackend) -> None:
    expected = run_reference(lambda: gradients(case, k, seed))
    for name, result in every_backend(lambda: gradients(case, k, seed)):
        assert same_sums(result, expected), name


@pytest.mark.parametrize(("extent", "radius"), [(0.0, 0.0), (0.2, 0.0), (0.0, 1.5)])
def test_reference_gradients_are_those_of_the_function(extent: float, radius: float) -> None:
    case = splat_case(5, n=30, size=(4, 5))
    k, m = case.cameras.intrinsics, case.cameras.world2cam

    def render(xyz: Tensor) -> tuple[Tensor, Tensor]:
        operation = torch.ops.mirage_kernels_reference.splat_layers
        depth, distance2, index = operation(xyz, k, m, 4, 5, 3, None, None, extent, radius)
        return torch.where(index >= 0, depth, 0), torch.where(index >= 0, distance2, 0)

    assert torch.autograd.gradcheck(render, (case.xyz.double().requires_grad_(),))


def test_unused_outputs_need_no_gradient() -> None:
    case = splat_case(1)
    for part in ("depth", "distance2"):
        xyz = needs_grad(case.xyz)
        getattr(splat(xyz, None, case.cameras, k=2), part).nan_to_num(posinf=0).sum().backward()
        assert xyz.grad is not None
        assert xyz.grad.any()


def test_empty_inputs() -> None:
    cameras = testing.plain_cameras(2, (3, 4))
    for name in READY:
        for radius in (0.0, 1.0):
            with mk.use_backend(name):
                nothing = splat(torch.zeros(0, 3), None, cameras, radius=radius, k=5)
                assert nothing.index.shape == nothing.depth.shape == nothing.distance2.shape == (2, 5, 3, 4)
                assert not nothing.mask.any()
                assert (nothing.depth == math.inf).all()
                assert (nothing.distance2 == math.inf).all()
                no_views = splat(torch.zeros(7, 3), None, cameras[:0], radius=radius, k=5)
                assert no_views.index.shape == (0, 5, 3, 4)
                xyz = torch.zeros(7, 3, requires_grad=True)
                (grad,) = torch.autograd.grad(splat(xyz, None, cameras[:0], k=5).depth.sum(), xyz)
                assert not grad.any()


def test_features_are_checked_and_not_used() -> None:
    case = splat_case(0)
    assert_same(splat(case.xyz, None, case.cameras, k=2), case.run(splat, k=2))
    with pytest.raises(ValueError, match=r"^features: expected \(N=200, C\), got \(3, 2\)$"):
        splat(case.xyz, torch.zeros(3, 2), case.cameras, k=2)


OPTIONS = [{}, {"valid": True, "extent": "each", "strided": True}, {"radius": 1.5}, {"extent": "discs", "radius": 1.5}]


@pytest.mark.parametrize("options", [*OPTIONS, {"n": 0}])
def test_opcheck(namespace: str, options: dict[str, Any]) -> None:
    case = splat_case(0, **({"n": 30} | options))
    each, _, _, radius = case.arguments()[7:11]
    k, m = case.cameras.intrinsics, case.cameras.world2cam
    args = (needs_grad(case.xyz), k, m, 6, 9, 3, case.valid, each, 0.0, radius, case.near)
    torch.library.opcheck(_library.overload(namespace, "splat_layers"), args)
    layers = case.run(splat, k=3)
    grads = torch.randn(layers.depth.shape), torch.randn(layers.depth.shape)
    backward = _library.overload(namespace, "splat_layers_backward_xyz")
    torch.library.opcheck(backward, (*grads, case.xyz, k, m, layers.index))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_into_one_graph(backend: str, dynamic: bool) -> None:
    torch.compiler.reset()

    def render(xyz: Tensor, cameras: Cameras, extent: Tensor) -> Layers:
        return splat(xyz, None, cameras, extent=extent, near=0.1, k=4)

    compiled = torch.compile(render, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    with mk.use_backend(backend):
        for n in (200, 300):
            case = splat_case(3, n=n, extent="each")
            args: Any = (case.xyz, case.cameras, case.extent)
            assert_same(compiled(*args), render(*args))


def test_vmap_and_func() -> None:
    cases = [splat_case(seed, n=30) for seed in range(3)]
    cameras = cases[0].cameras
    clouds = torch.stack([case.xyz for case in cases])

    def loss(xyz: Tensor) -> Tensor:
        return splat(xyz, None, cameras, k=3).distance2.nan_to_num(posinf=0).sum()

    mapped = torch.vmap(torch.func.grad(loss))(clouds)
    expected = torch.stack([torch.autograd.grad(loss(xyz), xyz)[0] for xyz in map(needs_grad, clouds)])
    assert torch.equal(mapped, expected)


def test_under_autocast_and_on_meta() -> None:
    case = splat_case(1)
    with torch.autocast("cpu", torch.bfloat16):
        assert_same(case.run(splat, k=3), splat(case.xyz, None, case.cameras, k=3))
    fake = splat(case.xyz.to("meta"), None, case.cameras.to("meta"), k=3)
    assert [(tuple(t.shape), t.dtype) for t in fake] == [
        ((2, 3, 6, 9), torch.int64),
        ((2, 3, 6, 9), torch.float32),
        ((2, 3, 6, 9), torch.float32),
    ]
