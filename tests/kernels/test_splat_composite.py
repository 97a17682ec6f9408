# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""composite: blending of the nearest points of every cell."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import emulated
import pytest
import torch
from every_backend import READY, EveryBackend, needs_grad, random_gradients, run_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DTYPES, SEEDS, examples, fixture_is_pure
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Layers, _library, composite, splat, testing
from mirage_kernels._modes import COMPOSITE_MODES
from mirage_kernels.testing import same_bits, same_sums, splat_case

MODES = st.sampled_from(COMPOSITE_MODES)


class CompositeCase(NamedTuple):
    """Arguments of one call of ``composite``."""

    features: Tensor
    layers: Layers
    weights: Tensor

    def run(self, mode: Any) -> Tensor:
        return composite(self.features, self.layers, self.weights, mode=mode)

    def results(self, mode: Any, seed: int) -> list[Tensor]:
        """The result, and the gradients of the features and of the weights."""
        case = self._replace(features=needs_grad(self.features), weights=needs_grad(self.weights))
        out = case.run(mode)
        return [out.detach(), *random_gradients([out], [case.features, case.weights], seed)]


def composite_case(
    seed: int,
    *,
    n: int = 200,
    views: int = 2,
    size: tuple[int, int] = (6, 9),
    k: int = 4,
    channels: int = 3,
    dtype: torch.dtype = torch.float32,
    kind: str = "opacities",
) -> CompositeCase:
    """Layers with holes among them, and weights: "opacities" from 0 to 1, some of them 0 and some 1; "small" ones,
    whose sums lie around 1e-4; or "wild" ones, with NaN, infinities and denormals."""
    g = torch.Generator().manual_seed(seed)
    shape = (views, k, *size)
    weights = torch.rand(shape, generator=g)
    if kind == "wild":
        weights = testing.random_points(g, "wild", -(-weights.numel() // 3)).flatten()[: weights.numel()].reshape(shape)
    elif kind == "small":
        weights = weights * 1e-4
    else:
        weights = (1.4 * weights - 0.2).clamp(0, 1)
    index = torch.randint(-1, n, shape, generator=g)
    features = torch.randn(n, channels, generator=g).to(dtype)
    return CompositeCase(features, Layers(index, torch.zeros(shape), torch.zeros(shape)), weights)


CASES = st.builds(
    composite_case,
    SEEDS,
    n=st.integers(0, 300),
    views=st.integers(0, 3),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    k=st.sampled_from([1, 2, 5, 8, 16]),
    channels=st.one_of(st.integers(0, 20), st.sampled_from([16, 32, 48, 65, 200])),
    dtype=DTYPES,
    kind=st.sampled_from(["opacities", "small", "wild"]),
)


def oracle(case: CompositeCase, mode: str) -> Tensor:
    """What PyTorch3D documents of its compositors, in float64 and one cell at a time; a negative index is skipped."""
    views, k, h, w = case.layers.index.shape
    out = torch.zeros(views, case.features.shape[1], h, w, dtype=torch.float64)
    features, weights = case.features.double(), case.weights.double()
    for v, i, j in torch.cartesian_prod(*map(torch.arange, (views, h, w))).tolist():
        layers = [layer for layer in range(k) if case.layers.index[v, layer, i, j] >= 0]
        through = 1.0
        total = sum(weights[v, layer, i, j].item() for layer in layers)
        for layer in layers:
            weight, feature = weights[v, layer, i, j].item(), features[case.layers.index[v, layer, i, j]]
            if mode == "alpha":
                out[v, :, i, j] += through * weight * feature
                through *= 1 - weight
            else:
                out[v, :, i, j] += weight * feature / (max(total, 1e-4) if mode == "normalized" else 1.0)
    return out


@pytest.mark.parametrize("mode", COMPOSITE_MODES)
@settings(max_examples=examples(15))
@given(seed=SEEDS, kind=st.sampled_from(["opacities", "small"]), k=st.sampled_from([1, 3, 8]))
def test_reference_follows_the_contract(mode: str, seed: int, kind: str, k: int) -> None:
    case = composite_case(seed, n=30, size=(3, 4), k=k, kind=kind)
    result = run_reference(lambda: case.run(mode))
    torch.testing.assert_close(result.double(), oracle(case, mode), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("native")
@settings(fixture_is_pure, max_examples=examples(100))
@given(case=CASES, mode=MODES, seed=SEEDS)
def test_cpp_equals_reference(case: CompositeCase, mode: str, seed: int, every_backend: EveryBackend) -> None:
    """The result and the gradients, bit for bit."""
    expected = run_reference(lambda: case.results(mode, seed))
    for name, results in every_backend(lambda: case.results(mode, seed)):
        for part, result, right in zip(("result", "features", "weights"), results, expected, strict=True):
            assert same_sums(result, right), f"{part}, {name}"


@pytest.mark.parametrize("mode", COMPOSITE_MODES)
def test_layers_of_splat(mode: str) -> None:
    """As PyTorch3D's users blend the points of a cell: by the distance from its center."""
    cloud = splat_case(3, n=400, size=(5, 7), radius=1.5)
    layers = cloud.run(splat, k=8)
    weights = 1 - layers.distance2 / 1.5**2
    case = CompositeCase(cloud.features, layers, weights)
    for name in READY:
        with mk.use_backend(name):
            result = case.run(mode)
        torch.testing.assert_close(result.double(), oracle(case, mode), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", range(len(COMPOSITE_MODES)))
@pytest.mark.parametrize("kind", ["opacities", "small"])
def test_reference_gradients_are_those_of_the_function(mode: int, kind: str) -> None:
    case = composite_case(7, n=12, size=(3, 4), kind=kind)
    scale = 1e-4 if kind == "small" else 1.0
    weights = (case.weights.double() / scale).requires_grad_()

    def blend(features: Tensor, weights: Tensor) -> Tensor:
        operation = torch.ops.mirage_kernels_reference.composite
        return operation(features, case.layers.index, weights * scale, mode)

    assert torch.autograd.gradcheck(blend, (case.features.double().requires_grad_(), weights))


def test_an_opaque_layer_hides_those_behind_it() -> None:
    features = torch.tensor([[1.0], [math.nan]], requires_grad=True)
    layers = Layers(torch.tensor([0, 0]).reshape(1, 2, 1, 1), *torch.zeros(2, 1, 2, 1, 1))
    weights = torch.ones(1, 2, 1, 1, requires_grad=True)
    for name in READY:
        with mk.use_backend(name):
            out = composite(features, layers, weights)
            assert out.item() == 1
            grads = torch.autograd.grad(out.sum(), (features, weights))
            assert grads[0].flatten().tolist() == [1, 0]
            assert grads[1].flatten().tolist() == [0, 0]


def test_sums_run_in_float32_and_round_once() -> None:
    """One point in 4096 layers of cells: a bfloat16 sum would stall at 256."""
    features = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    layers = Layers(torch.zeros(1, 4, 32, 32, dtype=torch.int64), *torch.zeros(2, 1, 4, 32, 32))
    for name in READY:
        with mk.use_backend(name):
            out = composite(features, layers, torch.ones(1, 4, 32, 32), mode="weighted")
            assert (out == 4).all()
            (grad,) = torch.autograd.grad(out, features, torch.ones_like(out))
            assert grad.item() == 4096


def test_no_feature_is_not_that_of_a_hole() -> None:
    case = composite_case(0, n=5, channels=2)
    layers = case.layers._replace(index=torch.zeros_like(case.layers.index))
    for name in READY:
        with (
            mk.use_backend(name),
            pytest.raises(ValueError, match=r"^layers\.index: expected -1 to -1, a row of features, got 0$"),
        ):
            composite(torch.zeros(0, 2), layers, case.weights)


def test_indices_out_of_range(cuda_code: emulated.Emulated | None) -> None:
    """On a CPU such an index is an error; on a device it is a layer without a point."""
    case = composite_case(0, n=5, channels=2)
    case.layers.index[0, 0, 0, 0] = 5
    for name in READY:
        if name != "triton":
            message = r"^layers\.index: expected -1 to 4, a row of features, got 5$"
            with mk.use_backend(name), pytest.raises(ValueError, match=message):
                case.run("alpha")
    if cuda_code is None:
        pytest.skip("needs GCC and the sources")
    with cuda_code.use():
        results = case.results("alpha", 0)
    case.layers.index[0, 0, 0, 0] = -1
    assert all(map(same_bits, results, run_reference(lambda: case.results("alpha", 0))))


@pytest.mark.parametrize("options", [{}, {"dtype": torch.bfloat16, "channels": 20}, {"n": 0}, {"views": 0}])
@pytest.mark.parametrize("mode", range(len(COMPOSITE_MODES)))
def test_opcheck(namespace: str, options: dict[str, Any], mode: int) -> None:
    case = composite_case(0, **({"n": 30} | options))
    index = case.layers.index
    args = (needs_grad(case.features), index, needs_grad(case.weights), mode)
    torch.library.opcheck(_library.overload(namespace, "composite"), args)
    grad = torch.randn_like(case.run("alpha"))
    features = _library.overload(namespace, "composite_backward_features")
    torch.library.opcheck(features, (grad, index, case.weights, len(case.features), mode))
    weights = _library.overload(namespace, "composite_backward_weights")
    torch.library.opcheck(weights, (grad, case.features, index, case.weights, mode))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_into_one_graph(backend: str, dynamic: bool) -> None:
    torch.compiler.reset()

    def blend(features: Tensor, layers: Layers, weights: Tensor) -> list[Tensor]:
        return [composite(features, layers, weights, mode=mode) for mode in COMPOSITE_MODES]

    compiled = torch.compile(blend, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    with mk.use_backend(backend):
        for n in (20, 30):
            case = composite_case(3, n=n)
            assert all(map(same_bits, compiled(*case), blend(*case)))


def test_vmap_and_func() -> None:
    cases = [composite_case(seed, n=30) for seed in range(3)]
    layers = cases[0].layers

    def loss(features: Tensor, weights: Tensor) -> Tensor:
        return composite(features, layers, weights).square().sum()

    features, weights = (torch.stack(parts) for parts in zip(*((c.features, c.weights) for c in cases), strict=True))
    mapped = torch.vmap(torch.func.grad(loss, (0, 1)))(features, weights)
    for i in range(3):
        leaves = needs_grad(features[i]), needs_grad(weights[i])
        for a, b in zip(mapped, torch.autograd.grad(loss(*leaves), leaves), strict=True):
            assert torch.equal(a[i], b)


def test_under_autocast_and_on_meta() -> None:
    case = composite_case(1, dtype=torch.float16)
    with torch.autocast("cpu", torch.bfloat16):
        assert same_bits(case.run("alpha"), run_reference(lambda: case.run("alpha")))
    fake = composite(case.features.to("meta"), testing.to_device(case.layers, "meta"), case.weights.to("meta"))
    assert (tuple(fake.shape), fake.dtype) == ((2, 3, 6, 9), torch.float16)
