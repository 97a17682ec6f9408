# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operation ``quantize``: schema, fake kernel, and the function that calls it."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _library, _memory, backend
from . import quantize_reference as reference


def quantize_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Run the operation ``quantize`` on the backend of the values' device. Arguments are not checked.

    Args and result are those of :func:`mirage_kernels.quantize`.
    """
    quantized: tuple[Tensor, Tensor]
    try:
        quantized = backend.operation("quantize", values)(values)
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "quantize", values=values)
    return quantized


_library.define(
    "quantize(Tensor values) -> (Tensor steps, Tensor scale)",
    reference=reference.quantize,
    triton=f"{__package__}.quantize_triton",
    fake=lambda values: (
        values.new_empty(values.shape[0], values.shape[1], dtype=torch.int8),
        values.new_empty(values.shape[0], dtype=torch.float32),
    ),
)
