# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Sums whose order is stated, in pure PyTorch: what the references add up with."""

from __future__ import annotations

import torch
from torch import Tensor


def add_in_order(sums: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Add rows (K, ...) to ``sums[index]`` in place, those of one place one after the other."""
    # On a CPU index_add_ walks the rows in order.
    return sums.index_add_(0, index, rows) if sums.is_cpu else add_in_turns(sums, index, rows)


def add_in_turns(sums: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """The same on any device, in as many steps as one place has rows; waits for the device.

    On a GPU no call of torch adds in order: index_add_ and scatter_add_ are atomics, and index_put_, which sorts, hands
    runs of 32 and more of one column to a whole warp, whose lanes add up parts of them.
    """
    place, order = index.sort(stable=True)
    turn = torch.arange(len(place), device=place.device) - torch.searchsorted(place, place)
    by_turn = order[turn.argsort(stable=True)]
    for step in torch.split_with_sizes(by_turn, turn.bincount().tolist()):
        sums[index[step]] += rows[step]  # every place at most once
    return sums
