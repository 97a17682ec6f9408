# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading a memory for a codec."""

from __future__ import annotations

import functools
from collections.abc import Callable

from mirage_kernels import Cameras

from ..memory import LatentSpatialMemory, MemoryView
from .protocols import Codec


def find_reader(memory: LatentSpatialMemory, codec: Codec) -> Callable[[Cameras], MemoryView]:
    """Return what renders a memory for a codec: the codec's ``render``, or else the memory's ``read``."""
    render = getattr(codec, "render", None)
    return memory.read if render is None else functools.partial(render, memory)


def read_memory(memory: LatentSpatialMemory, cameras: Cameras, codec: Codec) -> MemoryView:
    """Render a memory as the codec of its latents does it best.

    Args:
        memory: the memory.
        cameras: T cameras over the grid (h, w) of the result.
        codec: its ``render``, if it has that method, instead of :meth:`mirage.memory.LatentSpatialMemory.read`.

    Returns:
        The view.
    """
    return find_reader(memory, codec)(cameras)
