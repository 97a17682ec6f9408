# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The latent spatial memory: what was generated, stored at 3D points, to be read through any camera."""

from .history import History, References
from .latent_memory import LatentSpatialMemory
from .view import MemoryView

__all__ = ["History", "LatentSpatialMemory", "MemoryView", "References"]
