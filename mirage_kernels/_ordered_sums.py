# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Sums in a defined order, in pure PyTorch, for the reference implementations."""

from __future__ import annotations

import torch
from torch import Tensor


def add_in_order(sums: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Add rows (K, ...) to ``sums[index]`` in place. Rows with the same index are added in their order."""
    # On a CPU, index_add_ adds the rows in order.
    return sums.index_add_(0, index, rows) if sums.is_cpu else add_in_rounds(sums, index, rows)


def add_in_rounds(sums: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Do the same as :func:`add_in_order` on any device, in one round for each repetition of the most frequent index.

    It waits for the device. On a GPU no function of torch adds in order: index_add_ and scatter_add_ use atomics, and
    index_put_, which sorts, splits runs of 32 and more rows of one index among the lanes of a warp.
    """
    sorted_index, order = index.sort(stable=True)
    positions = torch.arange(len(sorted_index), device=sorted_index.device, dtype=torch.int64)
    repetition = positions - torch.searchsorted(sorted_index, sorted_index)
    by_round = order[repetition.argsort(stable=True)]
    for rows_of_round in torch.split_with_sizes(by_round, repetition.bincount().tolist()):
        sums[index[rows_of_round]] += rows[rows_of_round]  # no index repeats within a round
    return sums
