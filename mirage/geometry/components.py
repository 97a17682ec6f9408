# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Connected components of a depth map."""

from __future__ import annotations

import torch
from torch import Tensor


def complete(marked: Tensor, depth: Tensor, share: float, tolerance: float = 0.05) -> Tensor:
    """Marked cells (h, w), with the whole of every thing of which more than a share is marked.

    A thing is what hangs together in depth (h, w): neighbours within a share ``tolerance`` of one another.
    """
    count = depth.numel()
    label = torch.arange(count, device=depth.device).reshape(depth.shape)
    down = (depth[1:] - depth[:-1]).abs() <= tolerance * torch.minimum(depth[1:], depth[:-1])
    right = (depth[:, 1:] - depth[:, :-1]).abs() <= tolerance * torch.minimum(depth[:, 1:], depth[:, :-1])
    while True:  # every cell takes the lowest number that its neighbours know, and that of the cell of that number
        low = label.clone()
        low[1:] = torch.where(down, torch.minimum(low[1:], label[:-1]), low[1:])
        low[:-1] = torch.where(down, torch.minimum(low[:-1], label[1:]), low[:-1])
        low[:, 1:] = torch.where(right, torch.minimum(low[:, 1:], label[:, :-1]), low[:, 1:])
        low[:, :-1] = torch.where(right, torch.minimum(low[:, :-1], label[:, 1:]), low[:, :-1])
        low = low.flatten()[low]
        if torch.equal(low, label):
            break
        label = low
    of_thing = torch.bincount(label.flatten(), weights=marked.flatten().double(), minlength=count)
    size = torch.bincount(label.flatten(), minlength=count)
    return marked | (of_thing > share * size)[label]
