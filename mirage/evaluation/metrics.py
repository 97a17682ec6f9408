# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Image metrics."""

from __future__ import annotations

import math

from torch import Tensor


def psnr(a: Tensor, b: Tensor, mask: Tensor | None = None) -> float:
    """Compute the peak signal-to-noise ratio of two images.

    Args:
        a, b: (3, H, W), values 0 to 1.
        mask: (H, W) bool, the pixels to compare; None compares all.

    Returns:
        The ratio in dB: infinite for equal images, NaN if no pixel is compared.

    Example:
        >>> import torch
        >>> round(psnr(torch.zeros(3, 4, 6), torch.full((3, 4, 6), 0.1)), 2)
        20.0
    """
    error = (a - b).square()
    if mask is not None:
        error = error[:, mask]
    if error.numel() == 0:
        return math.nan
    mean = error.double().mean().item()
    return math.inf if mean == 0 else -10 * math.log10(mean)
