# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``splat_sum``: schemas, fake kernels, gradient, and the function that calls it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from . import splat_sum_reference as reference


def sum_taps(uv: Tensor, features: Tensor, weights: Tensor | None, size: tuple[int, int], center: float) -> Tensor:
    """Run the operation ``splat_sum`` on the backend of the points' device. Arguments are not checked.

    Args:
        uv: (2, N) float32.
        features: (C, N) float32.
        weights: (N,) float32, or None for ones.
        size: (h, w) of the grid.
        center: u and v of the center of cell (0, 0).

    Returns:
        (C + 1, h, w) float32: the sums of weighted features, and of the weights.
    """
    tensors = (uv, features, weights)
    recorded = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    run = backend.operation("splat_sum", uv, "default" if recorded or _transforms.is_active() else "inference")
    result: Tensor
    try:
        result = run(*tensors, *size, center)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "splat_sum", uv=uv, features=features, weights=weights)
    return result


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    uv, features, weights, _, _, ctx.center = inputs
    ctx.save_for_backward(uv, features, weights)


def _backward(call: Any, ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
    uv, features, weights = ctx.saved_tensors
    if grad is None:
        return (None,) * 6
    grads = call("splat_sum_backward", grad=grad, uv=uv, features=features, weights=weights, center=ctx.center)
    by_input: list[Tensor | None] = [g if n else None for g, n in zip(grads, ctx.needs_input_grad, strict=False)]
    return (*by_input, None, None, None)


_library.define(
    "splat_sum(Tensor uv, Tensor features, Tensor? weights, SymInt h, SymInt w, float center) -> Tensor",
    reference=reference.splat_sum,
    fake=lambda uv, features, weights, h, w, center: uv.new_empty(features.shape[0] + 1, h, w),
    triton=f"{__package__}.splat_sum_triton",
    inference=True,
)
_library.define(
    "splat_sum_backward(Tensor grad, Tensor uv, Tensor features, Tensor? weights, float center) -> "
    "(Tensor, Tensor, Tensor)",
    reference=reference.splat_sum_backward,
    fake=lambda grad, uv, features, weights, center: (
        torch.empty_like(uv),
        torch.empty_like(features),
        uv.new_empty(uv.shape[1]),
    ),
    native=False,
)
_library.differentiate("splat_sum", setup_context=_setup_context, backward=_backward)
_library.differentiate_once("splat_sum", "splat_sum_backward")
