# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Compute and memory of the full size."""

from __future__ import annotations

import pytest

from mirage.models.wan.parameter_counts import parameter_sizes
from mirage.training.full_size import training_flops, training_memory

TOKENS, ADAPTER_TOKENS, DIM = 15 * 22 * 40, 11 * 22 * 40, 3072


def test_flops_of_a_sample() -> None:
    forward, both = training_flops("release", "adapter", checkpointing=False)
    # Each token of the backbone: six projections of attention to itself and to text, and a feed-forward network.
    linear = 30 * (TOKENS * (6 * DIM**2 + 2 * DIM * 14336) + 512 * 2 * DIM**2)
    attention = 30 * 2 * TOKENS * (TOKENS + 512) * DIM
    adapter = 15 * ADAPTER_TOKENS * (7 * DIM**2 + 2 * DIM * 14336 + 2 * (ADAPTER_TOKENS + 512) * DIM)
    assert forward == pytest.approx(2 * (linear + attention + adapter), rel=0.02)
    assert round(forward / 1e12) == 245
    assert 2 * forward < both < 3 * forward  # the backbone's weights have no gradient


def test_memory_of_a_stage() -> None:
    one, eight = training_memory("release", "adapter"), training_memory("release", "adapter", gpus=8)
    trained = parameter_sizes()["memory adapter, `release`"].parameters
    assert (one.trained, one.gradients, one.moments) == (4 * trained, 4 * trained, 8 * trained)
    assert eight.moments == trained
    hidden = 2 * DIM * (30 * TOKENS + 15 * TOKENS + 15 * ADAPTER_TOKENS)  # of blocks, their hints, the adapter's blocks
    assert hidden <= one.inputs < hidden + 1.2 * 2**30  # and what all blocks share
    assert 2 * 10 * TOKENS * DIM < one.block < 2 * 24 * TOKENS**2  # no matrix of all pairs of tokens
    assert (eight.inputs, eight.block) == (one.inputs, one.block)
    assert sum(one) < 80 * 2**30
    with pytest.raises(ValueError, match="gpus: expected at least 1, got 0"):
        training_memory("release", "adapter", gpus=0)
