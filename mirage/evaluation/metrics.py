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


def image_scores(image: Tensor, truth: Tensor) -> dict[str, float]:
    """Compare an image with the truth by measures that need no weights.

    Args:
        image, truth: (3, H, W), values 0 to 1, both sides at least 161 pixels.

    Returns:
        ``psnr`` in dB, ``ssim`` (Wang et al. 2004), ``ms_ssim`` (Wang et al. 2003) and ``haarpsi`` (Reisenhofer et al.
        2018), for which larger is better, and ``gmsd`` (Xue et al. 2014), for which smaller is better.

    Raises:
        ImportError: piq is not installed.
    """
    try:
        import piq  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError("image_scores needs piq: pip install --no-deps piq, beside torchvision") from error
    a, b = (values[None].float().clamp(0, 1) for values in (image, truth))
    return {
        "psnr": psnr(a[0], b[0]),
        "ssim": float(piq.ssim(a, b)),
        "ms_ssim": float(piq.multi_scale_ssim(a, b)),
        "haarpsi": float(piq.haarpsi(a, b)),
        "gmsd": float(piq.gmsd(a, b)),
    }
