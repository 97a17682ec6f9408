# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Compositing of the nearest points of every cell."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import check
from ..._modes import COMPOSITE_MODES, CompositeMode
from ..._results import Layers
from .splat_composite_operators import composite_layers


def composite(features: Tensor, layers: Layers, weights: Tensor, *, mode: CompositeMode = "alpha") -> Tensor:
    """Blend the features of the nearest points of every cell.

    With the weights w_1 .. w_k of a cell's layers and the features f_1 .. f_k of their points:

    * mode "alpha": the sum of w_i (1 - w_1) .. (1 - w_{i-1}) f_i, what is seen through layers of opacity w_i;
    * mode "weighted": the sum of w_i f_i;
    * mode "normalized": the sum of w_i f_i, divided by max(sum of w_i, 1e-4).

    Layers without a point count nothing, whatever their weight. The modes are those of PyTorch3D's ``alpha_composite``,
    ``weighted_sum`` and ``norm_weighted_sum``.

    Layers are added from the nearest to the farthest, in float32 with one rounding per operation, and the result is
    rounded once to the dtype of the features. It is the same, bit for bit, on every backend.

    Gradients flow to ``features`` and ``weights``. That of the features is summed in (view, layer, cell) order, in
    float32, and rounded once.

    The function does not wait for the device (no synchronization).

    Args:
        features: (N, C) float32, bfloat16 or float16.
        layers: the result of :func:`splat` with ``k`` for these N points, V views and a grid (h, w).
        weights: (V, k, h, w) float32, the weight of every layer, for example
            ``(1 - layers.distance2 / radius**2).clamp(min=0)``, with ``radius[layers.index]`` for discs of their own.
        mode: "alpha", "weighted" or "normalized".

    Returns:
        (V, C, h, w), in the dtype of the features; zeros in cells without a point.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras, composite, splat
        >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 1], [0, 0, 1]]), torch.eye(4), size=(2, 4))
        >>> xyz = torch.tensor([[0.1, 0.1, 2.0], [0.1, 0.1, 1.0]])
        >>> layers = splat(xyz, None, camera, k=3)
        >>> layers.index[0, :, 1, 2].tolist()
        [1, 0, -1]
        >>> half = torch.full_like(layers.depth, 0.5)
        >>> composite(torch.tensor([[10.0], [20.0]]), layers, half)[0, 0, 1, 2].item()
        12.5
    """
    if not isinstance(layers, Layers):
        raise check.type_error("layers", "Layers, the result of splat with k", layers)
    dims: check.Dims = {}
    check.tensor("features", features, ("N", "C"), dims, check.FEATURE_DTYPES)
    like = ("features", features)
    check.tensor("layers.index", layers.index, ("V", "k", "h", "w"), dims, (torch.int64,), like)
    if dims["k"] == 0:
        raise check.value_error("layers", "at least 1 layer", 0)
    check.tensor("weights", weights, ("V", "k", "h", "w"), dims, like=like)
    return composite_layers(features, layers.index, weights, check.choice("mode", mode, COMPOSITE_MODES))
