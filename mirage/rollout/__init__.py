# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Video generation chunk by chunk: read the memory, generate, write back."""

from .chunk import Chunk
from .loop import RolloutSession, Source, rollout
from .plan import CHUNK, plan_chunks
from .protocols import ChunkModel, Codec
from .reading import read_memory
from .session_state import SessionState
from .write_back import MemoryWriter, WriteResult

__all__ = [
    "CHUNK",
    "Chunk",
    "ChunkModel",
    "Codec",
    "MemoryWriter",
    "RolloutSession",
    "SessionState",
    "Source",
    "WriteResult",
    "plan_chunks",
    "read_memory",
    "rollout",
]
