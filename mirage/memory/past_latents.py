# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How the latents of past frames are stored: each in a tensor of its own, so that none moves when one comes or goes."""

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


def store_latents(latents: Tensor, dtype: torch.dtype, storage: Storage | None) -> list[PastLatent]:
    """Store T latents (C, T, h, w). Values that are not finite are stored as 0.

    Args:
        latents: of any dtype; they are copied.
        dtype: dtype of the history.
        storage: "int8" for steps of 1/127 of the largest magnitude of a channel of a latent, or None for values in
            ``dtype``.
    """
    values, count = latents.to(dtype), latents.shape[1]
    if storage is None:
        # On a CPU, a sum takes a small part of the time of nan_to_num. On a GPU, it would wait for the device.
        if not values.is_cpu or not math.isfinite(values.sum().item()):
            values = values.nan_to_num(0.0, 0.0, 0.0)
        return [PastLatent(_apart(values, t), None) for t in range(count)]
    exact = values.to(torch.float32, copy=True)
    if exact.numel() == 0:
        return [PastLatent(_apart(exact, t).to(torch.int8), exact.new_zeros(0)) for t in range(count)]
    if not exact.is_cpu:
        exact.nan_to_num_(0.0, 0.0, 0.0)
    largest = _largest(exact)
    if exact.is_cpu and not math.isfinite(largest.sum(dtype=torch.float64).item()):
        largest = _largest(exact.nan_to_num_(0.0, 0.0, 0.0))
    steps = exact.mul_((STEPS / largest.clamp(min=TINY))[:, :, None, None]).round_().to(torch.int8)
    scales = (largest / STEPS).T.contiguous()
    return [PastLatent(_apart(steps, t), scales[t]) for t in range(count)]


def _largest(values: Tensor) -> Tensor:
    """(C, T), the largest magnitude in each channel of T latents (C, T, h, w)."""
    return torch.maximum(values.amax((2, 3)), -values.amin((2, 3)))


def _apart(values: Tensor, frame: int) -> Tensor:
    return values[:, frame].clone(memory_format=torch.contiguous_format)


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
