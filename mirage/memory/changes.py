# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Changes of a memory that an error or an interrupt cannot leave half done."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from mirage_kernels import VoxelCache

from .history import Frames, History
from .locks import locked
from .row_layers import RowLayers

_Result = TypeVar("_Result")


class AtomicMemory:
    """The rows of a memory, their layers and its history, which change together or not at all."""

    cache: VoxelCache
    history: History
    _layers: RowLayers

    @property
    def channels(self) -> int:
        """Channels C of the latents."""
        return self.cache.channels

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self.cache.xyz.device

    @property
    def nbytes(self) -> int:
        """Allocated bytes, including the history and the room that tensors have to grow."""
        return self.cache.nbytes + self._layers.nbytes + self.history.nbytes

    @property
    def lock(self) -> Any:
        """The ``threading.RLock`` that every method holds. Hold it to call several methods on one version."""
        return self.cache.lock

    @locked
    def _change(self, change: Callable[[], _Result]) -> _Result:
        """Change the memory; if that fails or is interrupted, return to the state before."""
        try:
            self.cache.begin(functools.partial(self._return_to, self._layers.begin(), self.history.version))
            result = change()
            self.cache.end()
        except BaseException:
            self.cache.roll_back()
            raise
        return result

    def _return_to(self, undo_layers: Callable[[], None], version: Frames) -> None:
        undo_layers()
        self.history.version = version
