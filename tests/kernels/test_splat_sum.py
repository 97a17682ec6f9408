# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""splat_sum: forward splatting at known positions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from every_backend import READY, EveryBackend, needs_grad, random_gradients, run_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DTYPES, SEEDS, examples, fixture_is_pure
from torch import Tensor
from torch_releases import whole_graphs

import mirage_kernels as mk
from mirage_kernels import SplatSum, _library, splat_sum, testing
from mirage_kernels.testing import same_sums


class SumCase(NamedTuple):
    """Arguments of one call of ``splat_sum``."""

    uv: Tensor
    features: Tensor
    size: tuple[int, int]
    weights: Tensor | None
    integer_centers: bool

    def run(self) -> SplatSum:
        return splat_sum(self.uv, self.features, self.size, weights=self.weights, integer_centers=self.integer_centers)

    def arguments(self) -> tuple[Any, ...]:
        """Arguments of the operation."""
        return self.uv.T, self.features.float().T, self.weights, *self.size, 0.0 if self.integer_centers else 0.5


def sum_case(
    seed: int,
    *,
    n: int = 200,
    size: tuple[int, int] = (6, 9),
    channels: int = 3,
    dtype: torch.dtype = torch.float32,
    kind: str = "room",
    weighted: bool = True,
    integer_centers: bool = False,
) -> SumCase:
    """Points in and around the grid ("room"), on and beside the centers of cells ("border"), or anywhere ("wild").

    Some of the weights are 0, some negative. Features and positions are transposed images where the seed is odd.
    """
    g = torch.Generator().manual_seed(seed)
    uv = torch.rand(n, 2, generator=g) * (torch.tensor(size[::-1]) + 4) - 2
    if kind == "border":
        near = 2.0 ** -torch.randint(2, 24, (n, 2), generator=g).float() * torch.randint(-1, 2, (n, 2), generator=g)
        uv = (2 * uv).round() / 2 + near
    elif kind == "wild":
        uv = testing.random_points(g, "wild", n)[:, :2]
    features, weights = torch.randn(n, channels, generator=g).to(dtype), torch.randn(n, generator=g)
    weights[torch.rand(n, generator=g) < 0.2] = 0
    if seed % 2:
        uv, features = uv.T.contiguous().T, features.T.contiguous().T
    return SumCase(uv, features, size, weights if weighted else None, integer_centers)


SIDES = st.one_of(st.integers(1, 12), st.sampled_from([33, 64]))
CASES = st.builds(
    sum_case,
    SEEDS,
    n=st.one_of(st.integers(0, 300), st.sampled_from([255, 256, 257, 9000])),
    size=st.tuples(SIDES, SIDES),
    channels=st.one_of(st.integers(0, 20), st.sampled_from([16, 48, 65])),
    dtype=DTYPES,
    kind=st.sampled_from(["room", "border", "wild"]),
    weighted=st.booleans(),
    integer_centers=st.booleans(),
)


def same(result: SplatSum, expected: SplatSum) -> bool:
    return all(map(same_sums, result, expected))


@settings(max_examples=examples(40))
@given(seed=SEEDS, kind=st.sampled_from(["room", "border", "wild"]), weighted=st.booleans(), integer=st.booleans())
def test_reference_follows_the_contract(seed: int, kind: str, weighted: bool, integer: bool) -> None:
    """One NumPy float32 operation after the other, one point at a time, as documented."""
    case = sum_case(seed, n=40, size=(3, 4), kind=kind, weighted=weighted, integer_centers=integer)
    f, (h, w) = np.float32, case.size
    expected = np.zeros((4, h, w), np.float32)
    weights = np.ones(40, np.float32) if case.weights is None else case.weights.numpy()
    with np.errstate(all="ignore"):
        for (u, v), row, weight in zip(case.uv.numpy(), case.features.numpy(), weights, strict=True):
            a, b = (u, v) if integer else (u - f(0.5), v - f(0.5))
            if not (math.isfinite(a) and math.isfinite(b) and abs(a) < 1e6 and abs(b) < 1e6):
                continue
            j, i = np.floor(a), np.floor(b)
            s, t = a - j, b - i
            for di, down in ((0, f(1) - t), (1, t)):
                for dj, across in ((0, f(1) - s), (1, s)):
                    share, cell = across * down, (int(i) + di, int(j) + dj)
                    if share > 0 and 0 <= cell[0] < h and 0 <= cell[1] < w:
                        expected[(slice(None), *cell)] += share * weight * np.array([*row, 1], np.float32)
    result = run_reference(case.run)
    assert same_sums(torch.cat([result.features, result.weight[None]]), torch.from_numpy(expected))


@pytest.mark.usefixtures("native")
@settings(fixture_is_pure, max_examples=examples(50))
@given(case=CASES)
def test_cpp_equals_reference(case: SumCase, every_backend: EveryBackend) -> None:
    expected = run_reference(case.run)
    for name, result in every_backend(case.run):
        assert same(result, expected), name


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(weighted: bool) -> None:
    case = sum_case(2, n=20, size=(3, 4), weighted=weighted)
    leaves = [case.uv.double(), case.features.double(), *([case.weights.double()] if case.weights is not None else [])]

    def render(uv: Tensor, features: Tensor, weights: Tensor | None = None) -> Tensor:
        out: Tensor = torch.ops.mirage_kernels_reference.splat_sum(uv.T, features.T, weights, 3, 4, 0.5)
        return out

    assert torch.autograd.gradcheck(render, [leaf.requires_grad_() for leaf in leaves])


def test_points_on_centers_have_one_sided_gradients() -> None:
    """As a warp without motion: those of points a little further right and down."""
    g = torch.Generator().manual_seed(0)
    target, features = torch.randn(2, 4, 5, generator=g), torch.randn(20, 2, generator=g)
    row, column = torch.meshgrid(torch.arange(4.0), torch.arange(5.0), indexing="ij")
    grads = []
    for shift in (0.0, 1e-4):
        uv = needs_grad(torch.stack([column, row], -1).reshape(-1, 2) + shift)
        sums = splat_sum(uv, features, (4, 5), integer_centers=True)
        (grad,) = torch.autograd.grad((sums.features - target).square().sum() + sums.weight.square().sum(), uv)
        grads.append(grad)
    assert grads[0].abs().max() > 1
    torch.testing.assert_close(*grads, rtol=1e-2, atol=1e-2)


def test_values_are_the_same_where_a_gradient_is_wanted() -> None:
    case = sum_case(3, n=9000, size=(30, 40))
    leaves = [needs_grad(case.uv), needs_grad(case.features)]
    for name in READY:
        with mk.use_backend(name):
            result = case._replace(uv=leaves[0], features=leaves[1]).run()
            assert same(SplatSum(*(part.detach() for part in result)), case.run())
            grads = random_gradients([result.features, result.weight], leaves, 0)
            assert all(grad.isfinite().all() and grad.any() for grad in grads)


@pytest.mark.parametrize("names", [(0,), (1,), (2,), (0, 1, 2)])
def test_vmap_is_a_loop(names: tuple[int, ...]) -> None:
    cases = [sum_case(seed, n=30, size=(3, 4)) for seed in (2, 4, 6)]
    assert all(case.weights is not None for case in cases)
    values = [torch.stack(parts) for parts in zip(*((c.uv, c.features, c.weights) for c in cases), strict=True)]  # type: ignore[arg-type]
    in_dims = tuple(0 if i in names else None for i in range(3))
    given = [value if i in names else value[0] for i, value in enumerate(values)]

    def run(uv: Tensor, features: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        return tuple(splat_sum(uv, features, (3, 4), weights=weights))

    mapped = torch.vmap(run, in_dims)(*given)
    for i in range(3):
        one = run(*(value[i] if k in names else value for k, value in enumerate(given)))
        assert all(torch.equal(part[i], own) for part, own in zip(mapped, one, strict=True))
    assert torch.vmap(run, (0, None, None))(values[0][:0], values[1][0], values[2][0])[0].shape == (0, 3, 3, 4)
    loss = lambda features: run(given[0][0] if 0 in names else given[0], features, values[2][0])[0].square().sum()  # noqa: E731
    assert torch.func.grad(loss)(values[1][0]).any()


class Splats(torch.nn.Module):
    def forward(self, uv: Tensor, features: Tensor) -> tuple[Tensor, ...]:
        return tuple(splat_sum(uv, features, (5, 6)))


@whole_graphs
def test_a_program_serves_every_number_of_points() -> None:
    """With the same bits, whether a gradient is wanted or not; eager, compiled, and exported."""
    n = torch.export.Dim("n", min=2, max=20_000)
    case = sum_case(1, n=50, size=(5, 6))
    exported = torch.export.export(Splats(), (case.uv, case.features), dynamic_shapes=({0: n}, {0: n})).module()
    compiled = torch.compile(Splats(), fullgraph=True, dynamic=True)
    for size in (7, 300, 9000):
        case = sum_case(2, n=size, size=(5, 6))
        expected = splat_sum(case.uv, case.features, case.size)
        for run in (exported, compiled, torch.vmap(lambda uv, f: Splats()(uv[0], f[0]))):
            for features in (case.features, needs_grad(case.features)):
                args = (
                    (case.uv, features) if run in (exported, compiled) else (case.uv[None, None], features[None, None])
                )
                result = run(*args)
                shape = expected.features.shape, expected.weight.shape
                assert all(
                    torch.equal(part.reshape(s), own) for part, s, own in zip(result, shape, expected, strict=True)
                )


def test_softmax_splatting_of_a_constant_is_constant() -> None:
    """Whatever the weights are, as far as they can be told from 0."""
    case = sum_case(5, n=500)
    sums = splat_sum(case.uv, torch.full((500, 2), 3.0), case.size, weights=torch.linspace(-5, 5, 500).exp())
    covered = sums.weight > 0
    assert covered.float().mean() > 0.9
    torch.testing.assert_close(
        sums.features[:, covered] / sums.weight[covered], torch.full((2, int(covered.sum())), 3.0)
    )


def test_dtypes_and_autocast() -> None:
    case = sum_case(7, dtype=torch.bfloat16)
    expected = case._replace(features=case.features.float()).run()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = case.run()
    assert same(result, expected)
    assert result.features.dtype == result.weight.dtype == torch.float32
    double = case._replace(uv=case.uv.double(), weights=case.weights.double() if case.weights is not None else None)
    assert same(double.run(), expected)


def test_meta_tensors() -> None:
    uv, features = torch.zeros(7, 2, device="meta"), torch.zeros(7, 5, device="meta", requires_grad=True)
    sums = splat_sum(uv, features, (3, 4))
    (grad,) = torch.autograd.grad(sums.features.sum(), features)
    assert (sums.features.shape, sums.weight.shape, grad.shape) == ((5, 3, 4), (3, 4), (7, 5))


@pytest.mark.parametrize("options", [{}, {"weighted": False}, {"n": 0}, {"channels": 0}])
def test_opcheck(namespace: str, options: dict[str, Any]) -> None:
    torch.library.opcheck(_library.overload(namespace, "splat_sum"), sum_case(0, **({"n": 30} | options)).arguments())


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"uv": [1.0]}, TypeError, "uv: expected a tensor, got list"),
    ({"uv": torch.zeros(7, 3)}, ValueError, "uv: expected (N, 2), got (7, 3)"),
    ({"uv": torch.zeros(7, 2).long()}, TypeError, "uv: expected float32 or float64, got int64"),
    ({"features": torch.zeros(6, 5)}, ValueError, "features: expected (N=7, C), got (6, 5)"),
    ({"features": torch.zeros(7, 5).long()}, TypeError, "features: expected float32, bfloat16 or float16, got int64"),
    ({"weights": torch.zeros(7, 1)}, ValueError, "weights: expected (N=7,), got (7, 1)"),
    ({"size": (0, 4)}, ValueError, "size[0]: expected 1 to 16777216, got 0"),
    ({"size": 4}, ValueError, "size: expected (h, w), got 4"),
    ({"integer_centers": "yes"}, TypeError, "integer_centers: expected a bool, got str"),
]


@pytest.mark.parametrize(("wrong", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_argument(wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    given: dict[str, Any] = {"uv": torch.zeros(7, 2), "features": torch.zeros(7, 5), "size": (3, 4)} | wrong
    with pytest.raises(kind) as error:
        splat_sum(given.pop("uv"), given.pop("features"), given.pop("size"), **given)
    assert str(error.value) == message
