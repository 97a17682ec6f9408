# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading a memory for a codec."""

from __future__ import annotations

from mirage_kernels import Cameras

from ..memory import LatentSpatialMemory, MemoryView
from .protocols import Codec


def read_memory(memory: LatentSpatialMemory, cameras: Cameras, codec: Codec) -> MemoryView:
    """Render a memory as the codec of its latents does it best.

    Args:
        memory: the memory.
        cameras: T cameras over the grid (h, w) of the result.
        codec: its ``render``, if it has that method, instead of :meth:`mirage.memory.LatentSpatialMemory.read`.

    Returns:
        The view.
    """
    render = getattr(codec, "render", None)
    view: MemoryView = memory.read(cameras) if render is None else render(memory, cameras)
    return view
