# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Snapshots of a memory while it is being written: what changes, and what never changes again.

:meth:`LatentSpatialMemory.save` writes everything. Most of it are past latents of the history, which never change; who
saves a memory again and again, such as ``mirage generate`` after each chunk, writes each of them once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import VoxelCache

from .frames import check_settings
from .latent_memory import LatentSpatialMemory


class MemorySnapshot(NamedTuple):
    """The state of a memory.

    Attributes:
        changing: tensors that every write may change.
        fixed: the latent (C, h, w) of each frame of the history. Within one life of a memory, a name always stands for
            the same values.
        settings: JSON values.
    """

    changing: dict[str, Tensor]
    fixed: dict[str, Tensor]
    settings: dict[str, Any]


def take_snapshot(memory: LatentSpatialMemory) -> MemorySnapshot:
    """Return the state of a memory without copying it: the tensors may change when the memory does.

    Args:
        memory: any memory.

    Example:
        >>> import torch
        >>> from mirage.memory import LatentSpatialMemory
        >>> from mirage_kernels import Cameras
        >>> camera = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> memory = LatentSpatialMemory(channels=4)
        >>> memory.write(torch.ones(4, 1, 6, 8), camera, torch.full((1, 96, 128), 2.0), stamps=[8])
        [48]
        >>> snapshot = take_snapshot(memory)
        >>> list(snapshot.fixed)
        ['history.0.8']
        >>> len(restore_snapshot(snapshot))
        48
    """
    with memory.lock:
        return _take_snapshot(memory)


def _take_snapshot(memory: LatentSpatialMemory) -> MemorySnapshot:
    history = memory.history
    frames = history.version
    changing = {f"cache.{name}": tensor for name, tensor in memory.cache.state_dict().items()}
    changing |= {f"layers.{name}": tensor for name, tensor in memory._layers.tensors(len(memory)).items()}
    if history.cameras is not None:
        changing |= {
            **{f"history.{name}": tensor for name, tensor in history.cameras.matrices().items()},
            **{f"history.{name}": tensor for name, tensor in history.scales().items()},
            "history.surface": history.surface,
            "history.stamps": history.stamps,
        }
    settings = {
        "cache": memory.cache.settings,
        "codec": memory.codec,
        **history.settings,
        "frames": list(frames.names),
    }
    names = _latent_names(frames.names, frames.stamps)
    fixed = {name: latent.values for name, latent in zip(names, frames.latents, strict=True)}
    return MemorySnapshot(changing, fixed, settings)


def _latent_names(frames: Sequence[int], stamps: Tensor) -> list[str]:
    return [f"history.{frame}.{stamp}" for frame, stamp in zip(frames, stamps.tolist(), strict=True)]


def restore_snapshot(snapshot: MemorySnapshot, device: torch.device | str = "cpu") -> LatentSpatialMemory:
    """Make the memory that a snapshot was taken of.

    Args:
        snapshot: the state.
        device: device of the memory.

    Returns:
        The memory. It goes on exactly as the other one would.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: the tensors do not fit together.
    """
    settings, notes = snapshot.settings, check_settings(snapshot.settings)
    tensors = {name: tensor.to(device) for name, tensor in snapshot.changing.items()}
    cache = VoxelCache.from_state_dict(settings["cache"], _part("cache", tensors), device)
    memory = LatentSpatialMemory(
        cache.channels,
        dtype=cache.dtype,
        device=device,
        extent_scale=cache.extent_scale,
        **notes,
    )
    memory._use(cache)
    memory._layers.load(_part("layers", tensors), len(cache))
    # Earlier versions numbered the places of latents, and not frames.
    frames = _check_frames(settings["frames"] if "frames" in settings else settings["slots"])
    if frames:
        latents = [snapshot.fixed[name] for name in _latent_names(frames, tensors["history.stamps"])]
        memory.history.load(_part("history", tensors) | {"latents": torch.stack(latents, 1).to(device)})
        memory.history.rename(frames)
    return memory


def _part(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{part}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _check_frames(frames: Any) -> list[int]:
    """Check the numbers of the frames of a history.

    Raises:
        ValueError: they are no numbers, or one is there twice.
    """
    if not isinstance(frames, list) or any(type(frame) is not int or frame < 0 for frame in frames):
        raise ValueError(f"frames: expected integers of at least 0, got {str(frames)[:60]}")
    if len(set(frames)) < len(frames):
        raise ValueError("frames: expected each once, got duplicates")
    return frames
