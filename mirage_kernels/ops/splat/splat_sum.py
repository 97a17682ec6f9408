# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Forward splatting of features at known positions of a grid, without a z-buffer."""

from __future__ import annotations

from torch import Tensor

from ... import _inputs, check
from ..._results import SplatSum
from .splat_sum_operators import sum_taps


def splat_sum(
    uv: Tensor, features: Tensor, size: tuple[int, int], *, weights: Tensor | None = None, integer_centers: bool = False
) -> SplatSum:
    """Add the features of points to the four cells around their positions.

    This is the forward splatting of warped images: "summation splatting" of Niklaus & Liu, "Softmax Splatting for Video
    Frame Interpolation" (CVPR 2020). With ``weights``, ``features / weight`` of the result is their linear splatting
    (weights of your own, such as 1 / depth) or softmax splatting (exp(importance - importance.max())). Unlike
    :func:`splat` in mode "bilinear" it has no z-buffer: all points of a cell count.

    With a = u - 0.5, s = a - floor(a), b = v - 0.5 and t = b - floor(b), the shares of a point are (1 - s) (1 - t),
    s (1 - t), (1 - s) t and s t; cells outside the grid and shares of 0 are skipped, as are points with a position that
    is not finite. Sums are float32, with one rounding per operation, in the order of the points: the
    same, bit for bit, on every backend and number of threads.

    Gradients flow to ``uv``, ``features`` and ``weights``, with the four cells of a point taken as constant: at the
    center of a cell, that of ``uv`` is one-sided, towards larger u and v. Operations of PyTorch compute them.

    The function does not wait for the device (no synchronization).

    Args:
        uv: (N, 2) float32, or float64 that is rounded to float32 once; columns and rows: the center of cell (i, j) is
            at (j + 0.5, i + 0.5), as in :meth:`Cameras.project`. Fewer than 2^30 points.
        features: (N, C) float32, bfloat16 or float16. Without a copy: the transpose of an image,
            ``image.flatten(1).T``; so for ``uv``.
        size: (h, w) of the grid.
        weights: (N,) float32 or float64; None for ones.
        integer_centers: whether the center of cell (i, j) is at (j, i) instead.

    Returns:
        :class:`SplatSum`: features (C, h, w) and weight (h, w).

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value.

    Example:
        >>> import torch
        >>> from mirage_kernels import splat_sum
        >>> sums = splat_sum(torch.tensor([[1.25, 0.5]]), torch.tensor([[8.0]]), (1, 3))
        >>> sums.features.tolist(), sums.weight.tolist()
        ([[[2.0, 6.0, 0.0]]], [[0.25, 0.75, 0.0]])
    """
    dims: check.Dims = {}
    uv = _inputs.geometry("uv", uv, ("N", 2), dims)
    like = ("uv", uv)
    check.tensor("features", features, ("N", "C"), dims, check.FEATURE_DTYPES, like)
    if weights is not None:
        weights = _inputs.geometry("weights", weights, ("N",), dims, like)
    if dims["N"] >= 1 << 30:
        raise check.value_error("uv", "fewer than 2^30 points", dims["N"])
    grid = check.size("size", size)
    center = 0.0 if check.flag("integer_centers", integer_centers) else 0.5
    sums = sum_taps(uv.T, features.float().T, weights, grid, center)
    return SplatSum(sums[:-1], sums[-1])
