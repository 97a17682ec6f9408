# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Noise levels of the denoising steps, and the scheduler that they are set on."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor

__all__ = ["check_timesteps", "make_scheduler", "set_timesteps", "shifted_scheduler", "unshifted_sigmas"]


def make_scheduler(flow_shift: float) -> UniPCMultistepScheduler:
    """Make the sampler of Wan2.2, UniPC (arXiv 2302.04867) for the flow, with a shift of the noise levels."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=flow_shift, num_train_timesteps=1000
    )


def unshifted_sigmas(steps: int, num_train_timesteps: int = 1000) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Noise levels of the released sampler before the scheduler applies its shift.

    They go from 1 - 1 / num_train_timesteps in equal steps toward 0, without 0 itself. The default sigmas of diffusers
    go from 1 to 1 / num_train_timesteps instead; the timesteps differ by up to 3.

    Args:
        steps: number of denoising steps.
        num_train_timesteps: of the scheduler.

    Returns:
        (steps,) float64.
    """
    return np.linspace(1 - 1 / num_train_timesteps, 0, steps + 1)[:-1]


def _takes(scheduler: Any, name: str) -> bool:
    return name in inspect.signature(scheduler.set_timesteps).parameters


def check_timesteps(scheduler: Any, timesteps: Sequence[float] | None, sigmas: Sequence[float] | None) -> None:
    """Check custom timesteps and sigmas.

    Args:
        scheduler: a scheduler of diffusers.
        timesteps: timesteps of the denoising steps, descending; or None.
        sigmas: noise levels of the denoising steps before the scheduler's shift, descending; or None.

    Raises:
        ValueError: both are passed, the scheduler does not take them, or they are not finite and descending.
    """
    if timesteps is not None and sigmas is not None:
        raise ValueError("timesteps, sigmas: expected at most one of them, got both")
    for name, values in (("timesteps", timesteps), ("sigmas", sigmas)):
        if values is None:
            continue
        is_flow = name != "sigmas" or scheduler.config.get("use_flow_sigmas", True)
        if not _takes(scheduler, name) or not is_flow:
            raise ValueError(f"{name}: expected None with {type(scheduler).__name__}, which does not take them")
        numbers = [float(value) for value in values]
        is_descending = all(a > b for a, b in itertools.pairwise(numbers))
        if not numbers or not all(map(math.isfinite, numbers)) or not is_descending or numbers[-1] < 0:
            raise ValueError(f"{name}: expected at least one finite number, descending toward 0, got {numbers}")


def set_timesteps(
    scheduler: Any,
    steps: int,
    device: torch.device,
    timesteps: Sequence[float] | None = None,
    sigmas: Sequence[float] | None = None,
) -> Tensor:
    """Set the noise levels of a scheduler: the custom ones, or else those of the released sampler.

    Args:
        scheduler: a scheduler of diffusers.
        steps: number of denoising steps, without custom ones.
        device: of the result.
        timesteps, sigmas: as for :func:`check_timesteps`.

    Returns:
        The timesteps, (steps,).
    """
    if timesteps is not None:
        scheduler.set_timesteps(timesteps=[float(value) for value in timesteps], device=device)
    elif sigmas is not None:
        scheduler.set_timesteps(sigmas=np.array([float(value) for value in sigmas]), device=device)
    elif _takes(scheduler, "sigmas") and scheduler.config.get("use_flow_sigmas", True):
        scheduler.set_timesteps(sigmas=unshifted_sigmas(steps, scheduler.config.num_train_timesteps), device=device)
    else:
        scheduler.set_timesteps(steps, device=device)
    if hasattr(scheduler, "set_begin_index"):  # otherwise every run reads a timestep back from the device
        scheduler.set_begin_index(0)
    result: Tensor = scheduler.timesteps
    return result


def shifted_scheduler(scheduler: Any, flow_shift: float | None) -> Any:
    """Copy a scheduler with another shift of its noise levels.

    Args:
        scheduler: a scheduler of diffusers.
        flow_shift: the shift; None returns the scheduler itself.

    Raises:
        ValueError: the shift is not finite and positive, or the scheduler has none.
    """
    if flow_shift is None:
        return scheduler
    if not (math.isfinite(flow_shift) and flow_shift > 0):
        raise ValueError(f"flow_shift: expected a finite number above 0, got {flow_shift}")
    name = next((name for name in ("flow_shift", "shift") if name in scheduler.config), None)
    if name is None:
        raise ValueError(f"flow_shift: expected None with {type(scheduler).__name__}, which has no shift")
    return type(scheduler).from_config(scheduler.config, **{name: float(flow_shift)})
