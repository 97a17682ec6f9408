# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``splat_sum``: schema, fake kernel, and the function that calls it."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _library, _memory, _transforms, backend
from . import splat_sum_reference as reference


def sum_taps(uv: Tensor, features: Tensor, weights: Tensor | None, size: tuple[int, int], center: float) -> Tensor:
    """Run the operation ``splat_sum`` on the backend of the points' device. Arguments are not checked.

    Where a gradient may be wanted, PyTorch's operations run in its place: the operation has none.

    Args:
        uv: (2, N) float32.
        features: (C, N) float32.
        weights: (N,) float32, or None for ones.
        size: (h, w) of the grid.
        center: u and v of the center of cell (0, 0).

    Returns:
        (C + 1, h, w) float32: the sums of weighted features, and of the weights.
    """
    operands = (uv, features, weights, *size, center)
    result: Tensor
    try:
        if _may_be_differentiated(uv, features, weights):
            return reference.splat_sum(*operands)
        result = backend.operation("splat_sum", uv)(*operands)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "splat_sum", uv=uv, features=features, weights=weights)
    return result


def _may_be_differentiated(*tensors: Tensor | None) -> bool:
    wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    return wanted or _transforms.is_active() or _transforms.is_in_functorch()


_library.define(
    "splat_sum(Tensor uv, Tensor features, Tensor? weights, SymInt h, SymInt w, float center) -> Tensor",
    reference=reference.splat_sum,
    fake=lambda uv, features, weights, h, w, center: uv.new_empty(features.shape[0] + 1, h, w),
    triton=f"{__package__}.splat_sum_triton",
)
