# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How the latents of past frames are stored: each in tensors of its own, so that none moves when one comes or goes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Storage

STEPS = 127  # of int8 on each side of 0
TINY = 1e-30  # channels whose largest magnitude is smaller lose precision: the inverse of a step must be finite


class PastLatent(NamedTuple):
    """The latent of a past frame.

    Attributes:
        values: (C, h, w) in the dtype of the history, or int8 steps.
        scales: (C,) float32, value of a step in each channel; None without steps.
    """

    values: Tensor
    scales: Tensor | None

    @property
    def nbytes(self) -> int:
        """Bytes of both tensors."""
        return self.values.nbytes + (0 if self.scales is None else self.scales.nbytes)


def store_latent(latent: Tensor, dtype: torch.dtype, storage: Storage | None) -> PastLatent:
    """Store a latent (C, h, w). Values that are not finite are stored as 0.

    Args:
        latent: of any dtype; it is copied.
        dtype: dtype of the history.
        storage: "int8" for steps of 1/127 of the largest magnitude of a channel, or None for values in ``dtype``.
    """
    values = latent.to(dtype)
    if storage is None:
        values = values.clone(memory_format=torch.contiguous_format)
        # On a CPU, a sum takes a small part of the time of nan_to_num. On a GPU, it would wait for the device.
        if not values.is_cpu or not math.isfinite(values.sum().item()):
            values.nan_to_num_(0.0, 0.0, 0.0)
        return PastLatent(values, None)
    exact = values.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    if exact.numel() == 0:
        return PastLatent(exact.to(torch.int8), exact.new_zeros(len(exact)))
    if not exact.is_cpu:
        exact.nan_to_num_(0.0, 0.0, 0.0)
    largest = exact.abs().amax((1, 2))
    if exact.is_cpu and not math.isfinite(largest.sum(dtype=torch.float64).item()):
        largest = exact.nan_to_num_(0.0, 0.0, 0.0).abs().amax((1, 2))
    steps_per_unit = STEPS / largest.clamp(min=TINY)
    return PastLatent(exact.mul_(steps_per_unit[:, None, None]).round_().to(torch.int8), largest / STEPS)


def read_latents(latents: Sequence[PastLatent], like: Tensor) -> Tensor:
    """Return stored latents as (C, R, h, w).

    Args:
        latents: R latents of one history.
        like: (0, C, h, w) of the dtype of the result; its shape is that of no latents.
    """
    if not latents:
        return like.movedim(0, 1)
    values = torch.stack([latent.values for latent in latents], 1)
    if latents[0].scales is None:
        return values
    scales = torch.stack([latent.scales for latent in latents if latent.scales is not None], 1)
    most = torch.finfo(like.dtype).max  # rounding goes beyond it where a channel has it
    return (values * scales[:, :, None, None]).clamp_(-most, most).to(like.dtype)
