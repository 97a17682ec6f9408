# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Connected components of a depth map."""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_kernels import check


def complete_objects(marked: Tensor, depth: Tensor, fraction: float, tolerance: float = 0.05) -> Tensor:
    """Extend a mask to whole objects.

    An object is a connected component of the depth map: neighboring cells are connected if their depths differ by at
    most a fraction ``tolerance`` of the smaller one.

    Args:
        marked: (h, w) bool.
        depth: (h, w) float32; +inf where there is none.
        fraction: an object is marked as a whole if more than this fraction of its cells is marked, 0 to 1.
        tolerance: relative difference of depths.

    Returns:
        (h, w) bool, the marked cells and all cells of such objects.

    Raises:
        TypeError, ValueError: a number is not finite or out of range.
    """
    fraction, tolerance = check.number("fraction", fraction, 0), check.number("tolerance", tolerance, 0)
    count = depth.numel()
    label = torch.arange(count, device=depth.device, dtype=torch.int64).reshape(depth.shape)
    down = (depth[1:] - depth[:-1]).abs() <= tolerance * torch.minimum(depth[1:], depth[:-1])
    right = (depth[:, 1:] - depth[:, :-1]).abs() <= tolerance * torch.minimum(depth[:, 1:], depth[:, :-1])
    while True:  # take the lowest label of all connected neighbors, then the label of the cell of that number
        low = label.clone()
        low[1:] = torch.where(down, torch.minimum(low[1:], label[:-1]), low[1:])
        low[:-1] = torch.where(down, torch.minimum(low[:-1], label[1:]), low[:-1])
        low[:, 1:] = torch.where(right, torch.minimum(low[:, 1:], label[:, :-1]), low[:, 1:])
        low[:, :-1] = torch.where(right, torch.minimum(low[:, :-1], label[:, 1:]), low[:, :-1])
        low = low.flatten()[low]
        if torch.equal(low, label):
            break
        label = low
    marked_cells = torch.bincount(label.flatten(), weights=marked.flatten().double(), minlength=count)
    cells = torch.bincount(label.flatten(), minlength=count)
    return marked | (marked_cells > fraction * cells)[label]
