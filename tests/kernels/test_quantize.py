# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""quantize: rows of values in 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from every_backend import EveryBackend, run_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import SEEDS, examples, fixture_is_pure
from torch import Tensor

from mirage_kernels import Quantized, _library, quantize
from mirage_kernels.testing import same_bits

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
KINDS = ("usual", "special", "tiny", "halves")


def values_of(seed: int, n: int, m: int, kind: str, dtype: torch.dtype) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    values = torch.randn(n, m, generator=g)
    if kind == "tiny":
        values *= 1e-44
    if kind == "halves":  # of steps
        values = torch.randint(-254, 255, (n, m), generator=g) / 2
        values[:, :1] = 127
    if kind == "special" and values.numel():
        special = torch.tensor([torch.nan, torch.inf, -torch.inf, 3.3e38, -0.0, 1e-45])
        values.view(-1)[:: max(m // 3, 1)] = special[torch.randint(6, (len(values.view(-1)[:: max(m // 3, 1)]),))]
        values[::3] = special[0]
    return values.to(dtype)


CASES = st.builds(
    values_of,
    SEEDS,
    n=st.integers(0, 5),
    m=st.one_of(st.integers(0, 70), st.sampled_from([255, 256, 257, 1560])),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from(DTYPES),
)


def same(a: Quantized, b: Quantized) -> bool:
    return same_bits(a.steps, b.steps) and same_bits(a.scale, b.scale)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@settings(max_examples=examples(40))
@given(values=CASES)
def test_reference_follows_the_contract(values: Tensor) -> None:
    steps, scale = run_reference(lambda: quantize(values))
    assert (steps.dtype, scale.dtype) == (torch.int8, torch.float32)
    for row, own, size in zip(values.float().numpy(), steps.numpy(), scale.numpy(), strict=True):
        finite = np.where(np.isfinite(row), row, np.float32(0))
        expected = np.float32(np.abs(finite).max(initial=0)) / np.float32(127)
        assert size == expected
        rounded = np.clip(np.rint(finite / expected), -127, 127) if expected > 0 else 0 * finite
        assert (own == rounded).all()


@pytest.mark.usefixtures("native")
@settings(fixture_is_pure, max_examples=examples(60))
@given(values=CASES, strided=st.sampled_from(["no", "rows", "columns"]))
def test_cpp_equals_reference(values: Tensor, strided: str, every_backend: EveryBackend) -> None:
    if strided == "rows":
        values = torch.stack([values, values], 1)[:, 1]
    if strided == "columns":
        values = values.T.contiguous().T
    expected = run_reference(lambda: quantize(values))
    for name, result in every_backend(lambda: quantize(values)):
        assert same(result, expected), name


@pytest.mark.usefixtures("native")
def test_work_of_several_threads(every_backend: EveryBackend) -> None:
    values = values_of(0, 40, 5000, "special", torch.bfloat16)
    expected = run_reference(lambda: quantize(values))
    for name, result in every_backend(lambda: quantize(values)):
        assert same(result, expected), name


def test_values_are_off_by_half_a_step() -> None:
    values = values_of(1, 7, 300, "usual", torch.float32)
    steps, scale = quantize(values)
    assert ((steps * scale[:, None] - values).abs() <= 0.50001 * scale[:, None]).all()
    assert (steps.abs().amax(1) == 127).all()


def test_transforms() -> None:
    values = values_of(2, 3, 20, "usual", torch.float32)
    compiled = torch.compile(lambda x: tuple(quantize(x)), fullgraph=True, backend="aot_eager")(values)
    assert same(Quantized(*compiled), quantize(values))
    assert not quantize(values.requires_grad_()).scale.requires_grad


@pytest.mark.parametrize("shape", [(3, 20), (0, 4), (2, 0)])
def test_opcheck(namespace: str, shape: tuple[int, int]) -> None:
    torch.library.opcheck(_library.overload(namespace, "quantize"), (torch.randn(shape),))


WRONG: list[tuple[Any, type[Exception], str]] = [
    (torch.zeros(3), ValueError, "values: expected (N, M), got (3,)"),
    (torch.zeros(2, 3).double(), TypeError, "values: expected float32, bfloat16 or float16, got float64"),
    ([[1.0]], TypeError, "values: expected a tensor, got list"),
]


@pytest.mark.parametrize(("values", "kind", "message"), WRONG, ids=[message for _, _, message in WRONG])
def test_wrong_argument(values: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as error:
        quantize(values)
    assert str(error.value) == message
