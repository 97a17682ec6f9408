# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Snapshots of a memory while it is being written: what changes, and what never changes again.

:meth:`LatentSpatialMemory.save` writes everything. Most of it are past latents of the history, which never change; who
saves a memory again and again, such as ``mirage generate`` after each chunk, writes each of them once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import VoxelCache

from .frames import check_settings
from .history import INITIAL_CAPACITY
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
    # A slot is used again after its frame was evicted, and then with another stamp.
    names = [f"history.{slot}.{stamp}" for slot, stamp in zip(history._slots, history.stamps.tolist(), strict=True)]
    changing = {f"cache.{name}": tensor for name, tensor in memory.cache.state_dict().items()}
    changing |= {f"layers.{name}": tensor for name, tensor in memory._layers.tensors(len(memory)).items()}
    if history.cameras is not None:
        changing |= {
            **{f"history.{name}": tensor for name, tensor in history.cameras.matrices().items()},
            "history.surface": history.surface,
            "history.stamps": history.stamps,
        }
    settings = {
        "cache": memory.cache.settings,
        "codec": memory.codec,
        **history.settings,
        "slots": list(history._slots),
    }
    fixed = {name: history._latents[slot] for name, slot in zip(names, history._slots, strict=True)}
    return MemorySnapshot(changing, fixed, settings)


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
    slots = _check_slots(settings["slots"])
    if slots:
        stamps = tensors["history.stamps"].tolist()
        latents = [snapshot.fixed[f"history.{slot}.{stamp}"] for slot, stamp in zip(slots, stamps, strict=True)]
        memory.history.load(_part("history", tensors) | {"latents": torch.stack(latents, 1).to(device)})
        _move_to_slots(memory, slots)
    return memory


def _part(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{part}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def _check_slots(slots: Any) -> list[int]:
    """Check numbers of slots, up to the largest of which memory is allocated.

    Raises:
        ValueError: they are others than a history has.
    """
    # A history grows by half, and evicts a sixteenth of its frames.
    most = 2 * len(slots) + INITIAL_CAPACITY if isinstance(slots, list) else 0
    if not isinstance(slots, list) or any(type(slot) is not int or not 0 <= slot < most for slot in slots):
        raise ValueError(f"slots: expected integers of 0 to {most - 1}, got {str(slots)[:60]}")
    if len(set(slots)) < len(slots):
        raise ValueError("slots: expected each once, got duplicates")
    return slots


def _move_to_slots(memory: LatentSpatialMemory, slots: list[int]) -> None:
    """Move the history's latents to the slots that they had, because their names contain the slots."""
    history = memory.history
    frames = history.version
    capacity = max(slots) + 1  # of both tensors
    latents = frames.latents.new_zeros(capacity, *frames.latents.shape[1:])
    surface = frames.surface.new_zeros(capacity, *frames.surface.shape[1:])
    latents[slots], surface[: len(slots)] = frames.latents, frames.surface
    history.version = frames._replace(slots=list(slots), latents=latents, surface=surface)
