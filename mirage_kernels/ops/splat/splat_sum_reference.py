# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``splat_sum`` in pure PyTorch; all backends return the same bits.

Its gradient, which needs no sums over points, is computed by these functions on every backend. N points, C channels,
grid (h, w).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..._ordered_sums import add_in_order

_VALUES_BATCH = 1 << 22  # values of points in cells that are held in memory
_COLUMN_OF_TAP, _ROW_OF_TAP = (0, 1, 0, 1), (0, 0, 1, 1)  # in the order of their cells


class _Taps(NamedTuple):
    """The four taps of every point, (N, 4) each: cell, h w off the grid; and the point's share, by column and row."""

    cell: Tensor
    across: Tensor
    down: Tensor

    def scale(self, weights: Tensor | None) -> Tensor:
        share = self.across * self.down
        return share if weights is None else share * weights[:, None]


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
    taps, values = _taps(uv, h, w, center), _with_ones(features, uv).T
    touches = (taps.cell < h * w) & (taps.across * taps.down > 0)
    cell, scale = torch.where(touches, taps.cell, h * w), torch.where(touches, taps.scale(weights), 0)
    sums = values.new_zeros(h * w + 1, values.shape[1])  # the last takes what has no cell
    step = max(1, _VALUES_BATCH // (4 * values.shape[1]))
    for first in range(0, len(values), step):
        some = slice(first, first + step)
        rows = scale[some, :, None] * values[some, None, :]
        add_in_order(sums, cell[some].flatten(), rows.flatten(0, 1))
    return sums[:-1].T.reshape(-1, h, w).contiguous()


def splat_sum_backward(
    grad: Tensor, uv: Tensor, features: Tensor, weights: Tensor | None, center: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of ``uv``, ``features`` and the weights from that of the sums, ``grad`` (C + 1, h, w).

    A tap with the share 0 counts too: a point that lies on the center of a cell has one-sided derivatives.
    """
    _, h, w = grad.shape
    taps, values = _taps(uv, h, w, center), _with_ones(features, uv)
    touches, scale = taps.cell < h * w, taps.scale(weights)
    maps = torch.cat([grad.flatten(1), grad.new_zeros(len(grad), 1)], 1)
    by_features, by_tap = torch.zeros_like(features), torch.zeros_like(scale)
    for tap in range(4):
        rows = maps[:, taps.cell[:, tap]]  # (C + 1, N)
        by_features += torch.where(touches[:, tap], scale[:, tap] * rows[:-1], 0)
        by_tap[:, tap] = torch.where(touches[:, tap], (values * rows).sum(0), 0)
    by_share = by_tap if weights is None else by_tap * weights[:, None]
    signs = [[2 * side - 1 for side in sides] for sides in (_COLUMN_OF_TAP, _ROW_OF_TAP)]
    right, low = (torch.tensor(sign, dtype=uv.dtype, device=uv.device) for sign in signs)
    by_u = torch.where(touches, right * taps.down * by_share, 0).sum(1)
    by_v = torch.where(touches, low * taps.across * by_share, 0).sum(1)
    by_weights = torch.where(touches, taps.across * taps.down * by_tap, 0).sum(1)
    return torch.stack([by_u, by_v]), by_features, by_weights


def _with_ones(features: Tensor, like: Tensor) -> Tensor:
    return torch.cat([features, like.new_ones(1, like.shape[1])])


def _taps(uv: Tensor, h: int, w: int, center: float) -> _Taps:
    a, b = uv[0] - center, uv[1] - center
    some = (a >= -1) & (a < w) & (b >= -1) & (b < h)
    a, b = torch.where(some, a, 0), torch.where(some, b, 0)
    j, i = a.floor(), b.floor()
    s, t = a - j, b - i
    across = torch.stack([s if side else 1 - s for side in _COLUMN_OF_TAP], 1)
    down = torch.stack([t if side else 1 - t for side in _ROW_OF_TAP], 1)
    column = torch.stack([j.long() + side for side in _COLUMN_OF_TAP], 1)
    row = torch.stack([i.long() + side for side in _ROW_OF_TAP], 1)
    on_grid = some[:, None] & (row >= 0) & (row < h) & (column >= 0) & (column < w)
    return _Taps(torch.where(on_grid, row * w + column, h * w), across, down)
