# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The loss: flow matching (arXiv 2210.02747) with a noise level per latent frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as nnf

__all__ = ["TrainingSequence", "draw_sigmas", "flow_matching_loss"]

NUM_TRAIN_TIMESTEPS = 1000  # a noise level s is timestep 1000 s, as for the schedulers of Wan


@dataclass(frozen=True)
class TrainingSequence:
    """Clean latents and conditions of B samples. R, T and P are the same for all of them.

    The order of the sequence is references, targets, preceding latents, as in
    :class:`mirage.models.wan.generator.WanChunkModel`.

    Attributes:
        references: (B, C, R, h, w), R >= 0.
        targets: (B, C, T, h, w), T >= 2. The first one is a condition: it stays clean.
        preceding: (B, C, P, h, w), P >= 0.
        control: (B or 1, control channels, T + P, h, w), the adapter's input; None trains without the adapter.
        text: (B, words, text dim), prompt embeddings.

    Raises:
        ValueError: a shape is wrong.
    """

    references: Tensor
    targets: Tensor
    preceding: Tensor
    control: Tensor | None
    text: Tensor

    def __post_init__(self) -> None:
        if self.targets.ndim != 5 or self.targets.shape[2] < 2 or self.targets.numel() == 0:
            raise ValueError(f"targets: expected (B, C, T >= 2, h, w), got {tuple(self.targets.shape)}")
        b, c, t, h, w = self.targets.shape
        for name, latents in (("references", self.references), ("preceding", self.preceding)):
            if latents.ndim != 5 or latents.shape[:2] != (b, c) or latents.shape[3:] != (h, w):
                expected = f"(B={b}, C={c}, any, h={h}, w={w}), as targets have"
                raise ValueError(f"{name}: expected {expected}, got {tuple(latents.shape)}")
        if self.text.ndim != 3 or len(self.text) != b:
            raise ValueError(f"text: expected (B={b}, words, text dim), got {tuple(self.text.shape)}")
        frames = t + self.preceding.shape[2]
        shape = None if self.control is None else tuple(self.control.shape)
        if shape is not None and (len(shape) != 5 or shape[0] not in (1, b) or shape[2:] != (frames, h, w)):
            raise ValueError(f"control: expected (B={b} or 1, channels, T + P={frames}, h={h}, w={w}), got {shape}")


def draw_sigmas(
    samples: int,
    targets: int,
    generator: torch.Generator,
    *,
    shift: float = 5.0,
    shared: bool = False,
) -> Tensor:
    """Draw noise levels: s = shift u / (1 + (shift - 1) u) with u uniform in [0, 1); 0 for the first target.

    The shift is that of the flow-matching schedulers of Wan (arXiv 2403.03206, section 5.3.2).

    Args:
        samples: B.
        targets: T.
        generator: of random numbers; the result is on its device.
        shift: above 0; 1 leaves u as it is.
        shared: whether all samples have the same levels, as in the released trainer, instead of each its own.

    Returns:
        (B, T) float32.

    Raises:
        ValueError: a number is out of range.
    """
    if samples < 1 or targets < 2:
        raise ValueError(f"samples, targets: expected at least 1 and 2, got {samples} and {targets}")
    if not (math.isfinite(shift) and shift > 0):
        raise ValueError(f"shift: expected a finite number above 0, got {shift}")
    rows = 1 if shared else samples
    u = torch.rand(rows, targets, generator=generator, device=generator.device, dtype=torch.float64)
    sigmas = (shift * u / (1 + (shift - 1) * u)).float()
    sigmas[:, 0] = 0
    return sigmas.expand(samples, -1).contiguous()


def flow_matching_loss(
    transformer: Any,
    sequence: TrainingSequence,
    sigmas: Tensor,
    noise: Tensor,
    *,
    min_sigma: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Compute the loss of a transformer that predicts the flow.

    A target z with noise n is given as (1 - s) z + s n, and its flow is n - z. The mean square error is taken over
    targets 1 to T - 1, in float32. References, preceding latents and the first target are clean, at timestep 0.

    Args:
        transformer: a :class:`~mirage.models.wan.transformer.MirageTransformer3DModel`, or what wraps one. It gets
            latents in the dtype of ``sequence.targets``; autocast is the caller's.
        sequence: latents and conditions.
        sigmas: (B, T) in [0, 1], see :func:`draw_sigmas`; that of the first target is not used.
        noise: (B, C, T, h, w), standard normal; that of the first target is not used.
        min_sigma: errors at lower noise levels s are multiplied by s / min_sigma. A transformer that predicts the
            sample makes errors there that are divided by s, and that a sampler with few steps never meets.
        weights: (B, T, h, w), of the targets' cells in the mean; those of the first target are not used. None weighs
            all alike.

    Returns:
        The loss, () float32.

    Raises:
        ValueError: a shape is wrong.
    """
    targets, (b, _, t) = sequence.targets, sequence.targets.shape[:3]
    if tuple(sigmas.shape) != (b, t):
        raise ValueError(f"sigmas: expected (B={b}, T={t}), got {tuple(sigmas.shape)}")
    if noise.shape != targets.shape:
        raise ValueError(f"noise: expected {tuple(targets.shape)}, as targets have, got {tuple(noise.shape)}")
    if weights is not None and weights.shape != (b, *targets.shape[2:]):
        expected = f"(B={b}, T={t}, h={targets.shape[3]}, w={targets.shape[4]})"
        raise ValueError(f"weights: expected {expected}, got {tuple(weights.shape)}")
    sigmas = nnf.pad(sigmas[:, 1:].float(), (1, 0))
    z, n, s = targets.float(), noise.float(), sigmas[:, None, :, None, None]
    noisy = torch.where(s > 0, (1 - s) * z + s * n, z).to(targets.dtype)  # whatever the noise of the first target
    start, end = sequence.references.shape[2], sequence.references.shape[2] + t
    latents = torch.cat([sequence.references, noisy, sequence.preceding], 2)
    timestep = torch.zeros(b, latents.shape[2], dtype=torch.float32, device=latents.device)
    timestep[:, start:end] = NUM_TRAIN_TIMESTEPS * sigmas
    flow = transformer(
        hidden_states=latents,
        timestep=timestep,
        encoder_hidden_states=sequence.text,
        control_hidden_states=sequence.control,
        num_references=start,
        return_dict=False,
    )[0]
    error = flow[:, :, start + 1 : end].float() - (n - z)[:, :, 1:]
    if min_sigma > 0:
        error = error * (s[:, :, 1:] / min_sigma).clamp(max=1)
    loss: Tensor = error.square().mean()
    if weights is not None:
        counted = weights[:, None, 1:].float()
        loss = (error.square() * counted).sum() / (counted.sum() * error.shape[1]).clamp(min=1e-6)
    return loss
