# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The state of a rollout session between two steps, as tensors and JSON values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor

from mirage_kernels import Cameras

from ..filters import FrameObservation


class SessionState(NamedTuple):
    """What a :class:`mirage.rollout.RolloutSession` keeps from one step to the next, without its memory.

    Attributes:
        tensors: tensors by name.
        values: numbers and texts, as JSON can hold them.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]


def pack_observations(observations: Iterable[FrameObservation]) -> dict[str, Tensor]:
    """Name the tensors of frames, for :func:`unpack_observations`.

    Args:
        observations: frames with depth and camera.
    """
    tensors: dict[str, Tensor] = {}
    for number, past in enumerate(observations):
        parts = {"frame": past.frame, "depth": past.depth, **past.camera.matrices()}
        tensors |= {f"past.{number}.{name}": tensor for name, tensor in parts.items()}
    return tensors


def unpack_observations(tensors: dict[str, Tensor]) -> list[FrameObservation]:
    """Collect the frames that :func:`pack_observations` has named.

    Args:
        tensors: named tensors; others among them are ignored.
    """
    frames: list[FrameObservation] = []
    while f"past.{len(frames)}.frame" in tensors:
        part = f"past.{len(frames)}."
        get = {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
        camera = Cameras.from_tensors({**get, "size": get["depth"].shape})
        frames.append(FrameObservation(get["frame"], get["depth"], camera))
    return frames
