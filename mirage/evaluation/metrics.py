# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Measures of images."""

from __future__ import annotations

import math

from torch import Tensor


def psnr(a: Tensor, b: Tensor, mask: Tensor | None = None) -> float:
    """Peak signal-to-noise ratio in dB of images (3, H, W) with values 0 to 1; over ``mask`` (H, W) where given.

    Infinite for equal images, NaN over nothing.
    """
    error = (a - b).square()
    if mask is not None:
        error = error[:, mask]
    if error.numel() == 0:
        return math.nan
    mean = error.double().mean().item()
    return math.inf if mean == 0 else -10 * math.log10(mean)
