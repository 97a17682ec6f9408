# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operations under torch.library and torch.compile: schemas, fake kernels, gradients, graphs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from every_backend import READY, needs_grad
from torch import Tensor
from torch_releases import whole_graphs

import mirage_kernels as mk
from mirage_kernels import Cameras, Points, Splat, _library, splat, testing, unproject
from mirage_kernels.testing import assert_same, same_bits, splat_case, unproject_case

SPLATS = [
    {},
    {"valid": True, "extent": "each", "dtype": torch.bfloat16},
    {"extent": "one", "strided": True, "dtype": torch.float16},
    {"radius": 1.5, "boxes": True},
    {"n": 0},
]
BILINEARS = [{"valid": True}, {"dtype": torch.bfloat16, "strided": True}, {"n": 0}]
UNPROJECTS = [
    {},
    {"mask": True, "pooling": "min", "dtype": torch.bfloat16},
    {"strided": True, "pooling": "bilinear"},
    {"pooling": "nearest", "batch": 1},
]


@pytest.mark.parametrize("options", SPLATS)
def test_opcheck_splat(namespace: str, options: dict[str, Any]) -> None:
    case = splat_case(0, n=options.pop("n", 30), channels=4, **options)
    xyz, features, *others = case.arguments()
    torch.library.opcheck(_library.overload(namespace, "splat"), (needs_grad(xyz), needs_grad(features), *others))
    torch.library.opcheck(_library.overload(namespace, "splat", "inference"), (xyz, features, *others))
    torch.library.opcheck(_library.overload(namespace, "splat_plain"), (xyz, features, *others[:4]))
    result = case.run(splat)
    grad = torch.randn(result.features.shape).to(result.features.dtype)
    n = case.xyz.shape[0]
    torch.library.opcheck(_library.overload(namespace, "splat_backward_features"), (grad, result.index, n))
    world2cam = case.cameras.world2cam
    torch.library.opcheck(
        _library.overload(namespace, "splat_backward_xyz"),
        (torch.randn(result.depth.shape), result.index, world2cam, n),
    )


@pytest.mark.parametrize("options", BILINEARS)
def test_opcheck_splat_bilinear(namespace: str, options: dict[str, Any]) -> None:
    case = splat_case(0, n=options.pop("n", 30), channels=4, **options)
    xyz, features, k, m, h, w, valid, *_ = case.arguments()
    operation = _library.overload(namespace, "splat_bilinear")
    torch.library.opcheck(operation, (needs_grad(xyz), needs_grad(features), k, m, h, w, valid, 0.1))
    out, depth, _, weight = operation(xyz, features, k, m, h, w, valid, 0.1)
    grad, read = torch.randn(out.shape).to(out.dtype), (k, m, valid, depth, weight, 0.1)
    torch.library.opcheck(_library.overload(namespace, "splat_bilinear_backward_features"), (grad, xyz, *read))
    torch.library.opcheck(
        _library.overload(namespace, "splat_bilinear_backward_xyz"), (grad, out, xyz, features, *read)
    )


@pytest.mark.parametrize("options", UNPROJECTS)
def test_opcheck_unproject(namespace: str, options: dict[str, Any]) -> None:
    case = unproject_case(0, **options)
    pooling = ("median", "nearest", "min", "bilinear").index(case.options.get("pooling", "median"))
    intrinsics, cam2world = case.cameras.rescale((3, 5)).intrinsics, case.cameras.cam2world
    rule = (pooling, 1, 0.5)
    args = (needs_grad(case.depth), needs_grad(case.features), intrinsics, cam2world, case.mask, *rule)
    torch.library.opcheck(_library.overload(namespace, "unproject"), args)
    p = case.run(unproject)
    b = case.depth.shape[0]
    grad = torch.randn(p.features.shape).to(p.features.dtype)
    torch.library.opcheck(_library.overload(namespace, "unproject_backward_features"), (grad, p.valid, b, 3, 5))
    torch.library.opcheck(
        _library.overload(namespace, "unproject_backward_depth"),
        (torch.randn_like(p.xyz), torch.randn_like(p.footprint), p.valid, case.depth, *args[2:5], 3, 5, *rule),
    )


def memory_step(depth: Tensor, latents: Tensor, cameras: Cameras, views: Cameras) -> tuple[Points | Splat, ...]:
    points = unproject(depth, latents, cameras)
    cloud = (points.xyz, points.features, views)
    return (
        points,
        splat(*cloud, valid=points.valid, extent=0.6 * points.footprint),
        splat(*cloud, valid=points.valid, radius=1.2),
        splat(*cloud, valid=points.valid, mode="bilinear"),
    )


@whole_graphs
@pytest.mark.parametrize("dynamic", [False, True])
def test_operations_compile_into_one_graph(backend: str, dynamic: bool) -> None:
    torch.compiler.reset()
    compiled = torch.compile(memory_step, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    with mk.use_backend(backend):
        for batch, size in ((1, (12, 20)), (2, (24, 40))):
            case = unproject_case(3, batch=batch, size=size)
            views = case.cameras.rescale((4, 7))
            for result, expected in zip(
                compiled(case.depth, case.features, case.cameras, views),
                memory_step(case.depth, case.features, case.cameras, views),
                strict=True,
            ):
                assert_same(result, expected)


@whole_graphs
def test_a_compiled_graph_has_the_gradients_of_the_eager_one() -> None:
    torch.compiler.reset()
    case = unproject_case(3)
    views = case.cameras.rescale((4, 7))
    compiled = torch.compile(memory_step, fullgraph=True, backend="aot_eager")

    def run(step: Any) -> list[Tensor]:
        depth, features = needs_grad(case.depth), needs_grad(case.features)
        _, *reads = step(depth, features, case.cameras, views)
        loss = sum(view.features.square().sum() + view.depth.nan_to_num(posinf=0).sum() for view in reads)
        return list(torch.autograd.grad(loss, [depth, features]))

    for a, b in zip(run(compiled), run(memory_step), strict=True):
        assert same_bits(a, b)


def test_changing_the_backend_recompiles() -> None:
    torch.compiler.reset()
    case = splat_case(0)
    compiled = torch.compile(lambda xyz, f: splat(xyz, f, case.cameras), fullgraph=True, backend="aot_eager")
    for name in READY:
        with mk.use_backend(name):
            assert_same(compiled(case.xyz, case.features), splat(case.xyz, case.features, case.cameras))


def test_fake_tensors() -> None:
    with torch.device("meta"):
        depth, latents = torch.empty(2, 704, 1280), torch.empty(2, 48, 44, 80, dtype=torch.bfloat16)
    cameras = testing.random_cameras(torch.Generator().manual_seed(0), 2, (704, 1280)).to("meta")
    points = unproject(depth, latents, cameras)
    view = splat(points.xyz, points.features, cameras.rescale((44, 80)))
    assert points.features.shape == (7040, 48)
    assert view.features.shape == (2, 48, 44, 80)
    assert view.features.dtype == torch.bfloat16
