# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``quantize`` in pure PyTorch; all backends return the same bits."""

from __future__ import annotations

import torch
from torch import Tensor

MOST = 127  # steps on each side of 0


def quantize(values: Tensor) -> tuple[Tensor, Tensor]:
    """Compute in float32: scale = largest / 127, steps = values / scale to nearest, ties to even.

    A scale that has lost bits to underflow can leave a quotient above 127.
    """
    exact = values.float().nan_to_num(0.0, 0.0, 0.0)
    largest = exact.abs().amax(1) if exact.shape[1] else exact.new_zeros(len(exact))
    scale = largest / MOST
    steps = (exact / scale[:, None]).round().clamp(-MOST, MOST)
    return torch.where(scale[:, None] > 0, steps, 0.0).to(torch.int8), scale
