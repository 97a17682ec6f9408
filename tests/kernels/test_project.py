# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``Cameras.project``, which runs as an operation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from every_backend import EveryBackend, run_reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import SEEDS, examples
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, _library, _projection, testing
from mirage_kernels.testing import same_bits, same_sums

Projected = tuple[Tensor, Tensor, Tensor]


def case(seed: int, kind: str = "room", n: int = 300, views: int = 3) -> tuple[Tensor, Cameras]:
    g = torch.Generator().manual_seed(seed)
    make = testing.plain_cameras if kind == "border" else lambda *args: testing.random_cameras(g, *args)
    cameras = make(views, (6, 9))
    return testing.random_points(g, kind, n), cameras


def arguments(xyz: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor, Tensor, int, int]:
    return xyz, cameras.intrinsics, cameras.world2cam, *cameras.size


def plain(xyz: Tensor, cameras: Cameras) -> Projected:
    """The same without the operation."""
    u, v, depth, _ = _projection.project(xyz, cameras.world2cam, cameras.intrinsics)
    return torch.stack([u, v], -1), depth, _projection.inside(u, v, depth, cameras.size)


def same(a: Projected, b: Projected) -> bool:
    return same_sums(a[0], b[0]) and same_sums(a[1], b[1]) and same_bits(a[2], b[2])


@pytest.mark.parametrize("kind", testing.POINT_KINDS)
def test_reference_follows_the_contract(kind: str) -> None:
    """One NumPy float32 operation after the other, one point at a time, as ``mirage_kernels.cameras`` says."""
    xyz, cameras = case(1, kind, n=60)
    uv, depth, inside = run_reference(lambda: cameras.project(xyz))
    h, w = cameras.size
    for view, (k, m) in enumerate(zip(cameras.intrinsics.numpy(), cameras.world2cam.numpy(), strict=True)):
        for n, (x, y, z) in enumerate(xyz.numpy()):
            px, py, pz = (((row[0] * x + row[1] * y) + row[2] * z) + row[3] for row in m)
            inverse = np.float32(1) / pz
            u, v = (px * inverse) * k[0, 0] + k[0, 2], (py * inverse) * k[1, 1] + k[1, 2]
            expected = torch.tensor([u, v, pz], dtype=torch.float32)
            assert same_sums(torch.stack([*uv[view, n], depth[view, n]]), expected)
            in_front = np.float32(1e-6) < pz < np.float32(np.inf)
            assert bool(inside[view, n]) == bool(in_front and 0 <= u < w and 0 <= v < h)


@pytest.mark.usefixtures("native")
@settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=SEEDS,
    kind=st.sampled_from(testing.POINT_KINDS),
    n=st.sampled_from([0, 1, 15, 255, 256, 257, 700]),
    views=st.integers(0, 4),
    strided=st.booleans(),
)
def test_cpp_equals_reference(
    every_backend: EveryBackend, seed: int, kind: str, n: int, views: int, strided: bool
) -> None:
    xyz, cameras = case(seed, kind, n, views)
    xyz = xyz.T.contiguous().T if strided else xyz
    expected = run_reference(lambda: cameras.project(xyz))
    for name, result in every_backend(lambda: cameras.project(xyz)):
        assert same(result, expected), name


@pytest.mark.usefixtures("native")
def test_work_of_several_threads(every_backend: EveryBackend) -> None:
    xyz, cameras = case(2, n=5000, views=9)  # 180 blocks in views, and the last one is not full
    expected = run_reference(lambda: cameras.project(xyz))
    for name, result in every_backend(lambda: cameras.project(xyz)):
        assert same(result, expected), name


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("n", [0, 5, 300])
def test_points_of_each_camera(n: int, every_backend: EveryBackend) -> None:
    _, cameras = case(5)
    points = torch.stack([case(seed, kind, n)[0] for seed, kind in enumerate(("room", "wild", "border"))])
    expected = [run_reference(lambda v=v: cameras[v].project(points[v])) for v in range(3)]
    together = tuple(torch.cat(parts) for parts in zip(*expected, strict=True))
    for strided in (points, points.transpose(0, 2).contiguous().transpose(0, 2)):
        for name, result in every_backend(lambda strided=strided: cameras.project(strided)):
            assert same(result, together), name
    doubled = cameras.project(points.double())
    assert doubled[0].shape == (3, n, 2)
    with pytest.raises(ValueError, match="xyz: expected \\(V=3, N, 3\\), got \\(2, "):
        cameras.project(points[:2])


def test_float64_keeps_its_dtype_and_values(backend: str) -> None:
    xyz, cameras = case(3)
    with mk.use_backend(backend):
        result = cameras.project(xyz.double())
    assert [part.dtype for part in result] == [torch.float64, torch.float64, torch.bool]
    assert same(result, plain(xyz.double(), cameras))
    assert not torch.equal(result[0].float(), cameras.project(xyz)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_those_of_the_arithmetic(dtype: torch.dtype) -> None:
    xyz, cameras = case(4)
    xyz = xyz.to(dtype)

    def loss(function: Callable[[Tensor, Cameras], Projected]) -> Callable[[Tensor], Tensor]:
        def run(points: Tensor) -> Tensor:
            uv, depth, inside = function(points, cameras)
            return ((uv * uv).sum(-1) * depth)[inside.detach()].sum()

        return run

    native, expected = loss(lambda points, c: c.project(points)), loss(plain)
    leaves = [xyz.clone().requires_grad_() for _ in range(2)]
    grads = [torch.autograd.grad(f(x), x)[0] for f, x in zip((native, expected), leaves, strict=True)]
    assert grads[0].any()
    assert same_bits(*grads)
    assert same(cameras.project(leaves[0]), cameras.project(xyz))
    summed = torch.func.grad(lambda x: cameras.project(x)[0].sum())(xyz)
    assert same_bits(summed, torch.func.grad(lambda x: plain(x, cameras)[0].sum())(xyz))


def test_transforms_differentiate_through_it() -> None:
    xyz, cameras = case(5, n=4)
    batch = torch.stack([xyz, xyz + 0.25])
    mapped = torch.vmap(lambda x: cameras.project(x))(batch)
    assert all(same((a, b, c), cameras.project(x)) for a, b, c, x in zip(*mapped, batch, strict=True))
    through = torch.func.grad(lambda x: torch.vmap(lambda y: cameras.project(y)[1].sum())(x).sum())(batch)
    assert torch.equal(through, torch.func.grad(lambda x: plain(x.reshape(-1, 3), cameras)[1].sum())(batch))
    _, tangent = torch.func.jvp(lambda x: cameras.project(x)[1], (xyz,), (torch.ones_like(xyz),))
    assert torch.allclose(tangent, cameras.world2cam[:, 2, :3].sum(1)[:, None].expand(3, 4))


def test_points_that_require_a_gradient_get_none_without_grad_mode() -> None:
    xyz, cameras = case(6)
    with torch.no_grad():
        assert not cameras.project(xyz.requires_grad_())[0].requires_grad


def test_compiles_into_one_graph(backend: str) -> None:
    torch.compiler.reset()
    cameras = case(7)[1]
    compiled = torch.compile(lambda x: cameras.project(x), fullgraph=True, dynamic=True, backend="aot_eager")
    with mk.use_backend(backend):
        for n in (300, 301):
            xyz = case(7, n=n)[0]
            assert same(compiled(xyz), cameras.project(xyz))
        leaves = [xyz.clone().requires_grad_() for _ in range(2)]
        compiled(leaves[0])[0].sum().backward()
        cameras.project(leaves[1])[0].sum().backward()
    assert leaves[0].grad is not None
    assert torch.equal(leaves[0].grad, leaves[1].grad)


@pytest.mark.parametrize(("n", "views"), [(70, 2), (0, 2), (5, 0)])
def test_opcheck(namespace: str, n: int, views: int) -> None:
    torch.library.opcheck(_library.overload(namespace, "project"), arguments(*case(8, n=n, views=views)))


def test_fake_tensors() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(x) for x in arguments(*case(9))[:3]]
        uv, depth, inside = _library.overload(_library.NATIVE, "project")(*fakes, 6, 9)
    assert uv.shape == (3, 300, 2)
    assert depth.shape == inside.shape == (3, 300)
    assert inside.dtype == torch.bool
