# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``splat_sum`` in pure PyTorch; all backends return the same bits.

It is also what runs where the operation is differentiated. N points, C channels, grid (h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..._ordered_sums import add_in_order
from ..._transforms import is_in_functorch

_VALUES_BATCH = 1 << 22  # values of points in cells that are held in memory


def splat_sum(uv: Tensor, features: Tensor, weights: Tensor | None, h: int, w: int, center: float) -> Tensor:
    """Add the features of points to the four cells around each, in the order of the points.

    Args:
        uv: (2, N).
        features: (C, N).
        weights: (N,), or None for ones.
        center: u and v of the center of cell (0, 0).

    Returns:
        (C + 1, h, w): the sums of weighted features, and of the weights.
    """
    cell, scale = _taps(uv[0] - center, uv[1] - center, weights, h, w)  # (N, 4)
    values = torch.cat([features, torch.ones_like(features[:1]) if len(features) else uv.new_ones(1, uv.shape[1])]).T
    sums = values.new_zeros(h * w + 1, values.shape[1])  # the last takes what has no cell
    # torch.func.vmap takes nothing that works in place.
    add = (lambda sums, *rows: sums.index_add(0, *rows)) if is_in_functorch() else add_in_order
    step = max(1, _VALUES_BATCH // (4 * values.shape[1]))
    for first in range(0, len(values), step):
        some = slice(first, first + step)
        rows = scale[some, :, None] * values[some, None, :]
        sums = add(sums, cell[some].flatten(), rows.flatten(0, 1))
    return sums[:-1].T.reshape(-1, h, w).contiguous()


def _taps(a: Tensor, b: Tensor, weights: Tensor | None, h: int, w: int) -> tuple[Tensor, Tensor]:
    """Return the cells of the four taps of every point, h w for none, and their weights, (N, 4) each."""
    some = (a >= -1) & (a < w) & (b >= -1) & (b < h)
    a, b = torch.where(some, a, 0), torch.where(some, b, 0)
    j, i = a.detach().floor(), b.detach().floor()
    s, t = a - j, b - i
    cells, scales = [], []
    for low in (0, 1):
        for right in (0, 1):
            weight = (s if right else 1 - s) * (t if low else 1 - t)
            row, column = i.long() + low, j.long() + right
            touches = some & (row >= 0) & (row < h) & (column >= 0) & (column < w) & (weight > 0)
            cells.append(torch.where(touches, row * w + column, h * w))
            scales.append(torch.where(touches, weight if weights is None else weight * weights, 0))
    return torch.stack(cells, 1), torch.stack(scales, 1)
