# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The latent spatial memory: latents stored at 3D points, rendered from any camera."""

from .history import History, References
from .latent_memory import LatentSpatialMemory
from .view import MemoryView

__all__ = ["History", "LatentSpatialMemory", "MemoryView", "References"]
