# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Triton kernel of ``quantize``, with the same bits as ``quantize_reference.py``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..._triton_common import INFINITY, launch, widen

_VALUES = tl.constexpr(1024)  # values of a row at a time


@triton.jit
def _finite(values):
    """Widen values, and set those that are not finite to 0."""
    x = widen(values)
    return tl.where(tl.abs(x) < INFINITY, x, 0.0)  # false for NaN


@triton.jit(do_not_specialize=["m", "stride"])
def quantize_rows_kernel(values, steps, scales, m, stride):
    """Quantize one row."""
    n = tl.program_id(0).to(tl.int64)
    at, largest = tl.arange(0, _VALUES), tl.zeros((_VALUES,), tl.int32)  # the bits of magnitudes sort as integers
    first = m * 0
    while first < m:
        x = _finite(tl.load(values + n * stride + first + at, mask=first + at < m, other=0.0))
        largest = tl.maximum(largest, x.to(tl.int32, bitcast=True) & 0x7FFFFFFF)
        first += _VALUES
    scale = tl.div_rn(tl.max(largest, 0).to(tl.float32, bitcast=True), 127.0)
    tl.store(scales + n, scale)
    first = m * 0
    while first < m:
        x = _finite(tl.load(values + n * stride + first + at, mask=first + at < m, other=0.0))
        # Adding and subtracting 1.5 * 2^23 rounds to nearest, ties to even.
        rounded = (tl.div_rn(x, tl.zeros_like(x) + scale) + 12582912.0) - 12582912.0
        rounded = tl.where(scale > 0, tl.minimum(tl.maximum(rounded, -127.0), 127.0), 0.0)
        tl.store(steps + n * m + first + at, rounded.to(tl.int8), mask=first + at < m)
        first += _VALUES


def quantize(values: Tensor) -> tuple[Tensor, Tensor]:
    n, m = values.shape
    values = values if values.stride(1) == 1 else values.contiguous()
    steps = torch.empty(n, m, dtype=torch.int8, device=values.device)
    scale = torch.empty(n, dtype=torch.float32, device=values.device)
    launch(quantize_rows_kernel, (n,), values.device, values, steps, scale, m, values.stride(0))
    return steps, scale
