# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Helpers of the tests of several operations: run a function on one backend or on all of them, and compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import splat
from mirage_kernels.backend import devices
from mirage_kernels.testing import SplatCase, assert_same

EveryBackend = Callable[[Callable[[], Any]], Iterator[tuple[str, Any]]]
READY = [name for name, reason in mk.backends().items() if reason is None and "cpu" in devices(name)]


def run_reference(function: Callable[[], Any]) -> Any:
    with mk.use_backend("reference"):
        return function()


def assert_same_on_every_backend(
    every_backend: EveryBackend, function: Callable[[], Any], sums: tuple[str, ...] = ()
) -> None:
    """Assert that a function returns the same named tuple on every backend as on the reference.

    In the fields named in ``sums``, any NaN equals any other NaN.
    """
    expected = run_reference(function)
    for name, result in every_backend(function):
        try:
            assert_same(result, expected, sums)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


def assert_refused(call: Callable[..., Any], wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    """Assert that a call with a wrong argument raises exactly this type of error, with a message that starts so."""
    with pytest.raises(kind) as error:
        call(**wrong)
    assert type(error.value) is kind
    assert str(error.value).startswith(message)


def needs_grad(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


def random_gradients(outputs: list[Tensor], inputs: list[Tensor], seed: int) -> list[Tensor]:
    """Return the gradients of inputs for random gradients of outputs."""
    g = torch.Generator().manual_seed(seed)
    grads = [torch.randn(t.shape, generator=g).to(t.dtype) for t in outputs]
    return list(torch.autograd.grad(outputs, inputs, grads))


def splat_gradients(case: SplatCase, seed: int, **options: Any) -> list[Tensor]:
    """Return the gradients of xyz and of features."""
    xyz, features = needs_grad(case.xyz), needs_grad(case.features)
    result = case._replace(xyz=xyz, features=features).run(splat, **options)
    return random_gradients([result.features, result.depth], [xyz, features], seed)
