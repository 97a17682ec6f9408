# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``composite``: schemas, fake kernels, gradients, and the function that calls it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ... import _library, _memory, backend, check
from ..._modes import COMPOSITE_MODES, CompositeMode
from . import splat_composite_reference as reference


def composite_layers(features: Tensor, index: Tensor, weights: Tensor, mode: CompositeMode) -> Tensor:
    """Run the operation ``composite`` on the backend of the features' device. Arguments are not checked.

    Args and result are those of :func:`mirage_kernels.composite`, with the ``index`` of the layers.
    """
    run = backend.operation("composite", features)
    result: Tensor
    try:
        result = run(features, index, weights, COMPOSITE_MODES.index(mode))
    except (RuntimeError, MemoryError, IndexError) as error:
        if index.is_cpu and index.numel() and not -1 <= index.amin() <= index.amax() < len(features):
            got = index[(index < -1) | (index >= len(features))][0].item()
            raise check.value_error("layers.index", f"-1 to {len(features) - 1}, a row of features", got) from None
        _memory.raise_explained(error, "composite", features=features, weights=weights)
    return result


def _fake_composite(features: Tensor, index: Tensor, weights: Tensor, mode: int) -> Tensor:
    views, _, h, w = index.shape
    return features.new_empty(views, features.shape[1], h, w)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, index, weights, ctx.mode = inputs
    ctx.save_for_backward(features, index, weights)


def _backward(call: Any, ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
    features, index, weights = ctx.saved_tensors
    by_features = by_weights = None
    layers = {"index": index, "weights": weights, "mode": ctx.mode}
    if grad is not None and ctx.needs_input_grad[0]:
        by_features = call("composite_backward_features", grad=grad, num_points=features.shape[0], **layers)
    if grad is not None and ctx.needs_input_grad[2]:
        by_weights = call("composite_backward_weights", grad=grad, features=features, **layers)
    return by_features, None, by_weights, None


_library.define(
    "composite(Tensor features, Tensor index, Tensor weights, int mode) -> Tensor",
    reference=reference.composite,
    fake=_fake_composite,
    triton=f"{__package__}.splat_composite_triton",
)
_library.define(
    "composite_backward_features(Tensor grad, Tensor index, Tensor weights, SymInt num_points, int mode) -> Tensor",
    reference=reference.composite_backward_features,
    fake=lambda grad, index, weights, num_points, mode: grad.new_empty(num_points, grad.shape[1]),
    triton=f"{__package__}.splat_composite_triton",
)
_library.define(
    "composite_backward_weights(Tensor grad, Tensor features, Tensor index, Tensor weights, int mode) -> Tensor",
    reference=reference.composite_backward_weights,
    fake=lambda grad, features, index, weights, mode: weights.new_empty(weights.shape),
    triton=f"{__package__}.splat_composite_triton",
)
_library.differentiate("composite", setup_context=_setup_context, backward=_backward)
_library.differentiate_once("composite", "composite_backward_features", "composite_backward_weights")
