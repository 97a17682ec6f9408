# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reference implementation of ``composite`` in pure PyTorch; all backends return the same bits.

N points, V views, k layers, C channels, grid (h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..._modes import COMPOSITE_MODES
from ..._ordered_sums import add_in_order

MIN_TOTAL = 1e-4  # mode "normalized" divides by at least this
SUM_LANES = 16
ALPHA, WEIGHTED, NORMALIZED = range(len(COMPOSITE_MODES))


def composite(features: Tensor, index: Tensor, weights: Tensor, mode: int) -> Tensor:
    """Add the layers from the nearest to the farthest, in float32 (float64 for float64), and round once."""
    views, _, h, w = index.shape
    dtype = torch.promote_types(features.dtype, torch.float32)
    hit, scales = index >= 0, _scales(index, weights.to(dtype), mode)
    out = torch.zeros(views, h, w, features.shape[1], dtype=dtype, device=features.device)
    if features.shape[0] == 0:  # the first row cannot stand for a hole
        features, index = out.new_zeros(1, features.shape[1]).to(features.dtype), index + hit
    for layer in range(index.shape[1]):
        rows = features[index[:, layer].clamp(min=0)].to(dtype)
        out = torch.where(hit[:, layer, ..., None], out + scales[:, layer, ..., None] * rows, out)
    if mode == NORMALIZED:
        out = out / _divisors(index, weights.to(dtype))[..., None]
    return out.to(features.dtype).movedim(-1, 1).contiguous()


def _scales(index: Tensor, weights: Tensor, mode: int) -> Tensor:
    """Return what the features of every layer are multiplied with, before the division of mode "normalized"."""
    if mode != ALPHA:
        return weights
    return _transmittance(index, weights) * weights


def _transmittance(index: Tensor, weights: Tensor) -> Tensor:
    """Return the product of 1 - weight of the layers in front of every layer, from the nearest to the farthest."""
    through, layers = torch.ones_like(weights[:, :1])[:, 0], []
    for layer in range(index.shape[1]):
        layers.append(through)
        through = torch.where(index[:, layer] >= 0, through * (1 - weights[:, layer]), through)
    return torch.stack(layers, 1)


def _divisors(index: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of the weights of every cell (V, h, w), or the smallest divisor if that is larger."""
    total = _total(index, weights)
    return torch.where(total > MIN_TOTAL, total, MIN_TOTAL)


def _total(index: Tensor, weights: Tensor) -> Tensor:
    total = torch.zeros_like(weights[:, 0])
    for layer in range(index.shape[1]):
        total = torch.where(index[:, layer] >= 0, total + weights[:, layer], total)
    return total


def composite_backward_features(grad: Tensor, index: Tensor, weights: Tensor, num_points: int, mode: int) -> Tensor:
    """Sum the gradients of every point in (view, layer, cell) order, in float32 (float64 for float64); round once."""
    dtype = torch.promote_types(grad.dtype, torch.float32)
    hit, scales = index >= 0, _scales(index, weights.to(dtype), mode)
    if mode == NORMALIZED:
        scales = scales / _divisors(index, weights.to(dtype))[:, None]
    rows = grad.movedim(1, -1)[:, None].expand(*index.shape, -1)[hit].to(dtype) * scales[hit][:, None]
    sums = torch.zeros(num_points, grad.shape[1], dtype=dtype, device=grad.device)
    return add_in_order(sums, index[hit], rows).to(grad.dtype)


def composite_backward_weights(grad: Tensor, features: Tensor, index: Tensor, weights: Tensor, mode: int) -> Tensor:
    """Compute the gradient of the weights from the products of the gradient with the features of every layer.

    Sums run in float32 (float64 for float64): over layers from the nearest to the farthest, over channels as
    :func:`_sum_in_order` does.
    """
    dtype = torch.promote_types(grad.dtype, torch.float32)
    hit, w = index >= 0, weights.to(dtype)
    if not features.shape[0]:
        return torch.zeros_like(weights)
    maps = grad.to(dtype).movedim(1, -1)
    products = [_sum_in_order(maps * features[layer.clamp(min=0)].to(dtype)) for layer in index.unbind(1)]
    by_layer = torch.stack(products, 1)
    if mode == ALPHA:
        by_layer = _transmittance(index, w) * (by_layer - _behind(hit, w, by_layer))
    if mode == NORMALIZED:
        total, divisor = _total(index, w)[:, None], _divisors(index, w)[:, None]
        mean = _total(index, w * by_layer)[:, None] / divisor
        by_layer = torch.where(total > MIN_TOTAL, by_layer - mean, by_layer) / divisor
    return torch.where(hit, by_layer, 0).to(weights.dtype)


def _sum_in_order(terms: Tensor) -> Tensor:
    """Sum over the last dimension in the order that native kernels can divide between lanes.

    Lane l adds the terms l, l + 16, ... as far as there are 16 of them; then come the terms that are left, and then the
    lanes, both in ascending order.
    """
    rounds = terms.shape[-1] // SUM_LANES
    lanes = terms.new_zeros(*terms.shape[:-1], SUM_LANES)
    for i in range(rounds):
        lanes = lanes + terms[..., i * SUM_LANES : (i + 1) * SUM_LANES]
    total = terms.new_zeros(terms.shape[:-1])
    for part in (*terms[..., rounds * SUM_LANES :].unbind(-1), *lanes.unbind(-1)):
        total = total + part
    return total


def _behind(hit: Tensor, weights: Tensor, by_layer: Tensor) -> Tensor:
    """Return, for every layer, what the layers behind it add up to, as seen through none in front."""
    behind, layers = torch.zeros_like(by_layer[:, 0]), []
    for layer in range(by_layer.shape[1] - 1, -1, -1):
        layers.append(behind)
        w = weights[:, layer]
        behind = torch.where(hit[:, layer], w * by_layer[:, layer] + (1 - w) * behind, behind)
    return torch.stack(layers[::-1], 1)
