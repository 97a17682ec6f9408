# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Values in 8 bits."""

from __future__ import annotations

from torch import Tensor

from ... import check
from ..._results import Quantized
from .quantize_operators import quantize_rows


def quantize(values: Tensor) -> Quantized:
    """Quantize rows of values to 8 bits, each with a scale of its own, as a store of past latents does.

    ``steps * scale[:, None]`` is off by at most half a scale, which is 1/254 of the largest magnitude of the row.

    The result is the same on every backend, device and number of threads: scale = largest magnitude / 127 and steps =
    values / scale, rounded to nearest, ties to even, in float32. It has no gradient, and the function does not wait for
    the device.

    Args:
        values: (N, M) float32, bfloat16 or float16. Values that are not finite become 0.

    Returns:
        :class:`Quantized`: steps (N, M) int8, -127 to 127, and scale (N,) float32.

    Raises:
        TypeError, ValueError: ``values`` has another dtype or shape.

    Example:
        >>> import torch
        >>> from mirage_kernels import quantize
        >>> steps, scale = quantize(torch.tensor([[1.0, -2.0, 0.5], [0.0, 254.0, 3.0]]))
        >>> steps.tolist()
        [[64, -127, 32], [0, 127, 2]]
        >>> scale.tolist()
        [0.015748031437397003, 2.0]
    """
    check.tensor("values", values, ("N", "M"), {}, check.FEATURE_DTYPES)
    return Quantized(*quantize_rows(values.detach()))
