# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Storage of the latents of past frames: one tensor per frame, so that adding or evicting a frame copies no other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Storage, quantize

STEPS = 127  # of int8 on each side of 0


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
    values = latents.to(dtype).movedim(1, 0)  # (T, C, h, w)
    if storage is None:
        # On a CPU, a sum takes a small part of the time of nan_to_num. On a GPU, it would wait for the device.
        if not values.is_cpu or not math.isfinite(values.sum().item()):
            values = values.nan_to_num(0.0, 0.0, 0.0)
        return [PastLatent(latent.clone(memory_format=torch.contiguous_format), None) for latent in values]
    count, channels, h, w = values.shape
    steps, scales = quantize(values.reshape(count * channels, h * w))
    frames = zip(steps.view(values.shape), scales.view(count, channels), strict=True)
    return [PastLatent(latent.clone(), scale) for latent, scale in frames]


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
