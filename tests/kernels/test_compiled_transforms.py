# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operations under torch's transforms and recorders of graphs: ``torch.compile``, ``torch.export``, ``make_fx``.

They run on the default backend: all backends share these parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from every_backend import needs_grad
from test_transforms import CAMERAS, FUNCTIONS, Net, gradient, trained
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch.fx.experimental.proxy_tensor import make_fx
from torch_releases import exports_of_variables, whole_graphs

from mirage_kernels import VoxelCache, splat, testing, unproject


@pytest.mark.parametrize(
    "name", ["splat, features", "splat bilinear, xyz", pytest.param("unproject, depth", marks=whole_graphs)]
)
def test_gradients_of_compiled_transforms(name: str) -> None:
    loss, value = FUNCTIONS[name]
    expected = gradient(loss, value)
    for transform in (torch.func.grad(loss), lambda v: torch.vmap(torch.func.grad(loss))(v[None])[0]):
        torch.compiler.reset()
        assert torch.equal(torch.compile(transform, backend="aot_eager", fullgraph=True)(value), expected)
    torch.compiler.reset()
    with pytest.raises(Exception, match="forward-mode differentiation"):  # torch wraps it
        torch.compile(lambda v: torch.func.jvp(loss, (v,), (v,)), backend="aot_eager", fullgraph=True)(value)


@exports_of_variables
@pytest.mark.parametrize("options", [{}, {"extent": 0.3}, {"mode": "bilinear"}])
def test_a_graph_recorded_without_gradients_can_be_trained(options: dict[str, Any]) -> None:
    case = testing.splat_case(1, n=40)
    net = Net(case.xyz, **options)
    expected = trained(net, net.layer.weight, case.features)

    def matmul(weight: Tensor, features: Tensor) -> Tensor:
        return splat(case.xyz, features @ weight.T, CAMERAS, **options).features

    with torch.no_grad():
        exported = torch.export.export(net, (case.features,), strict=not options).module()
        graph = make_fx(matmul)(net.layer.weight, case.features)
    weight = dict(exported.named_parameters())["layer.weight"]
    assert torch.equal(trained(exported, weight, case.features), expected)
    leaf = needs_grad(net.layer.weight)
    expected = trained(lambda f: matmul(leaf, f), leaf, case.features)
    assert torch.equal(trained(lambda f: graph(leaf, f), leaf, case.features), expected)


@whole_graphs
def test_recorded_floats_are_finite_constants() -> None:
    """AOTInductor cannot load a program with an infinite constant."""
    case = testing.splat_case(1, n=40)
    for options in ({}, {"extent": 0.3}, {"radius": 1.5}, {"mode": "bilinear"}):
        exported = torch.export.export(Net(case.xyz, **options), (case.features,))
        floats = [a for node in exported.graph.nodes for a in node.args if isinstance(a, float)]
        assert torch.tensor([0.0, *floats]).isfinite().all()


class ReadsCache(nn.Module):
    def __init__(self, cache: VoxelCache) -> None:
        super().__init__()
        self.cache = cache

    def forward(self, *_: Any) -> Any:
        return self.cache.splat(CAMERAS)


def cache_of(scale: float) -> VoxelCache:
    case = testing.splat_case(1, n=40)
    cache = VoxelCache("auto", 3)
    cache.insert(case.xyz, case.features, torch.full((40,), 0.1 * scale))
    return cache


SCALED: dict[str, Callable[[Tensor, Tensor, float], Any]] = {
    "extent": lambda xyz, f, s: splat(xyz * s, f, CAMERAS, extent=0.05 * s),
    "radius": lambda xyz, f, s: splat(xyz * s, f, CAMERAS, radius=0.5 * s),
    "radii": lambda xyz, f, s: splat(xyz * s, f, CAMERAS, radius=s * f[:, 0]),
    "extents": lambda xyz, f, s: splat(xyz * s, f, CAMERAS, extent=0.05 * s * f[:, 0]),
    "band": lambda xyz, f, s: splat(xyz * s, f, CAMERAS, mode="bilinear", band=0.05 * s),
    "max_masked": lambda _, f, s: unproject(
        f[:36].reshape(2, 6, 9) * s, torch.ones(2, 1, 2, 3), CAMERAS, max_masked=0.1 * s
    ),
}


@whole_graphs
@pytest.mark.parametrize("name", SCALED)
def test_floats_of_compiled_calls_are_tensors_or_constants_of_the_graph(name: str) -> None:
    """With symbolic floats, torch runs the graph that its cache has for another value."""
    torch.compiler.reset()
    case, function = testing.splat_case(1, n=40), SCALED[name]
    graphs: list[torch.fx.Graph] = []

    def record(module: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(module.graph)
        return module.forward

    compiled = torch.compile(function, backend=record, fullgraph=True)
    for scale in (1.0, 1.5, 2.0, 1.2):
        testing.assert_same(compiled(case.xyz, case.features, scale), function(case.xyz, case.features, scale))
    for graph in graphs:
        for node in graph.nodes:
            schema = getattr(node.target, "_schema", None)
            for argument, value in zip(schema.arguments if schema else (), node.args, strict=False):
                assert str(argument.type) != "float" or isinstance(value, float), (node, argument.name)


@whole_graphs
@pytest.mark.parametrize("name", ["extent", "radius", "near", "cache", "module"])
def test_a_program_is_compiled_once_for_all_values_of_a_float(name: str) -> None:
    """Twice, because the first value is a constant."""
    torch.compiler.reset()
    case = testing.splat_case(1, n=40)
    net = ReadsCache(cache_of(1.0))
    scaled = SCALED | {
        "near": lambda xyz, f, s: splat(xyz, f, CAMERAS, near=s),
        "cache": lambda _, __, s: net.cache.splat(CAMERAS, near=s),
        "module": net,
    }
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(scaled[name], backend=counter, fullgraph=True)
    for k in range(12):
        scale = 1.0 + 0.25 * k
        net.cache = cache_of(scale)
        testing.assert_same(compiled(case.xyz, case.features, scale), scaled[name](case.xyz, case.features, scale))
    assert counter.frame_count <= 2


def test_a_compiled_read_is_compiled_once_for_a_cache_that_grows() -> None:
    torch.compiler.reset()
    counter = CompileCounterWithBackend("aot_eager")
    cache, g = VoxelCache(0.05, 3), torch.Generator().manual_seed(0)
    read = torch.compile(lambda cache: cache.splat(CAMERAS), backend=counter, fullgraph=True)
    for _ in range(12):
        cache.insert(torch.rand(50, 3, generator=g), torch.rand(50, 3, generator=g))
        testing.assert_same(read(cache), cache.splat(CAMERAS))
    assert counter.frame_count <= 3


def test_gradients_of_a_program_with_a_float_that_changes() -> None:
    torch.compiler.reset()
    case = testing.splat_case(1, n=40)

    def loss(features: Tensor, scale: float) -> Tensor:
        return splat(case.xyz * scale, features, CAMERAS, extent=0.05 * scale).features.square().sum()

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for scale in (1.0, 1.5, 2.0):
        leaf = needs_grad(case.features)
        (expected,) = torch.autograd.grad(loss(leaf, scale), leaf)
        (result,) = torch.autograd.grad(compiled(leaf, scale), leaf)
        assert torch.equal(result, expected)


def test_a_compiled_read_follows_the_voxel_size() -> None:
    torch.compiler.reset()
    read = torch.compile(lambda cache: cache.splat(CAMERAS), backend="aot_eager", fullgraph=True)
    for scale in (1.0, 1.5, 2.0):
        cache = cache_of(scale)
        testing.assert_same(read(cache), cache.splat(CAMERAS))
