# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What a transformer's output stands for."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

__all__ = ["Prediction", "flow_of_sample"]

# "flow" is noise - latents, as Wan2.2 has it; "sample" the latents themselves.
Prediction = Literal["flow", "sample"]
NUM_TRAIN_TIMESTEPS = 1000
MIN_SIGMA = 1e-3


def flow_of_sample(sample: Tensor, latents: Tensor, timestep: Tensor) -> Tensor:
    """Convert predicted latents to a flow.

    With x = (1 - s) z + s n, the flow n - z is (x - z) / s. A small network, whose tokens have hardly more channels
    than a patch, predicts z better than n - z, because it need not carry the noise through (arXiv 2511.13720).

    Args:
        sample: (B, C, T, h, w), the prediction of z.
        latents: (B, C, T, h, w), x.
        timestep: (B,), (B, T) or (B, tokens), 1000 s. Below s = 0.001, the flow is computed for s = 0.001.

    Returns:
        The flow (B, C, T, h, w), float32.
    """
    frames = latents.shape[2]
    if timestep.ndim == 1:
        timestep = timestep[:, None]
    elif timestep.shape[1] != frames:
        timestep = timestep[:, :: timestep.shape[1] // frames]
    sigma = (timestep.float() / NUM_TRAIN_TIMESTEPS).clamp(min=MIN_SIGMA)[:, None, :, None, None]
    return (latents.float() - sample.float()) / sigma
