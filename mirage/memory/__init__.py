# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The latent spatial memory: latents stored at 3D points, rendered from any camera."""

from torch.serialization import add_safe_globals

from .history import History, References
from .latent_memory import LatentSpatialMemory
from .view import MemoryView

__all__ = ["History", "LatentSpatialMemory", "MemoryView", "References"]

# Unpickling these checks what it reads, so torch.load(weights_only=True) may do it.
add_safe_globals([History, LatentSpatialMemory, MemoryView, References])
