# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Image metrics."""

from __future__ import annotations

import math

from torch import Tensor

MS_SSIM_BORDER = 160  # pixels: five scales of a window of 11
MAX_PSNR, MIN_SIDE = 100.0, 11  # dB; pixels: the window of SSIM


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


def stored_psnr(a: Tensor, b: Tensor) -> float:
    """PSNR for means and files: at most 100 dB, so that equal images count."""
    return min(psnr(a, b), MAX_PSNR)


def image_scores(image: Tensor, truth: Tensor) -> dict[str, float]:
    """Compare an image with the truth by measures that need no weights.

    Args:
        image, truth: (3, H, W), values 0 to 1.

    Returns:
        ``psnr`` in dB, at most 100, and ``ssim`` (Wang et al. 2004); with piq also ``ms_ssim`` (Wang et al. 2003; both
        sides at least 161 pixels) and ``haarpsi`` (Reisenhofer et al. 2018), for which larger is better, and ``gmsd``
        (Xue et al. 2014), for which smaller is better.

    Raises:
        ImportError: scikit-image is not installed.
    """
    from skimage.metrics import structural_similarity

    a, b = (values.detach().float().clamp(0, 1).cpu() for values in (image, truth))
    ssim = structural_similarity(  # type: ignore[no-untyped-call]
        a.numpy(), b.numpy(), data_range=1.0, channel_axis=0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    scores = {"psnr": stored_psnr(a, b), "ssim": float(ssim)}
    try:
        import piq  # type: ignore[import-not-found, unused-ignore]
    except (ImportError, RuntimeError):  # torchvision of another torch raises the latter
        return scores
    if min(a.shape[1:]) > MS_SSIM_BORDER:
        scores["ms_ssim"] = float(piq.multi_scale_ssim(a[None], b[None]))
    return {**scores, "haarpsi": float(piq.haarpsi(a[None], b[None])), "gmsd": float(piq.gmsd(a[None], b[None]))}
