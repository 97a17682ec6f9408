# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Changes of a memory that an error or an interrupt cannot leave half done."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from mirage_kernels import VoxelCache

from ..errors import DataError
from .frames import Frames
from .history import History
from .locks import locked
from .row_layers import RowLayers
from .seen_voxels import SeenVersion, SeenVoxels

_Memory = TypeVar("_Memory", bound="AtomicMemory")
_Result = TypeVar("_Result")


class AtomicMemory:
    """The rows of a memory, their layers and its history, which change together or not at all."""

    cache: VoxelCache
    history: History
    _layers: RowLayers
    _seen: SeenVoxels
    _codec: str

    def _use(self, cache: VoxelCache) -> None:
        """Set the rows, with whose lock all methods and those of the history wait for each other."""
        self.cache = self.history.lock_owner = cache

    @property
    def codec(self) -> str:
        """Name of the codec that made the latents; empty if none was given."""
        return self._codec

    @property
    def channels(self) -> int:
        """Channels C of the latents."""
        return self.cache.channels

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self.cache.xyz.device

    @locked
    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.cache)

    @property
    @locked
    def rejected(self) -> int:
        """Cells that were not written because their latents were not finite or their points out of range."""
        return self._layers.rejected

    @property
    @locked
    def nbytes(self) -> int:
        """Allocated bytes, including the history and the room that tensors have to grow."""
        return self.cache.nbytes + self._layers.nbytes + self.history.nbytes + self._seen.nbytes

    @property
    def lock(self) -> Any:
        """The ``threading.RLock`` that every method holds. Hold it to call several methods on one version."""
        return self.cache.lock

    @locked
    def atomic(self, change: Callable[[], _Result], undo: Callable[[], None] | None = None) -> _Result:
        """Run a function that changes the memory. If it fails or is interrupted, the memory is as it was before.

        The changes of several methods, such as :meth:`LatentSpatialMemory.write`, become one. An error in one of them
        must leave the function, because what it has done is undone only with all of the others.

        Args:
            change: the function. Other threads cannot use the memory meanwhile.
            undo: undoes what the function changes besides the memory. It must be right to call it twice.

        Returns:
            What the function returns.
        """
        if self.cache.in_transaction:
            return change()  # a part of the change that is running
        try:
            versions = (self.history.version, self._seen.version)
            self.cache.begin(functools.partial(self._return_to, self._layers.begin(), versions, undo))
            result = change()
            self.cache.end()
        except BaseException:
            self.cache.roll_back()
            raise
        return result

    def _return_to(
        self, undo_layers: Callable[[], None], versions: tuple[Frames, SeenVersion], undo: Callable[[], None] | None
    ) -> None:
        undo_layers()
        self.history.version, self._seen.version = versions
        if undo is not None:
            undo()

    def _tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name."""
        tensors = {f"cache.{name}": tensor for name, tensor in self.cache.state_dict().items()}
        tensors |= {f"history.{name}": tensor for name, tensor in self.history.tensors().items()}
        return tensors | self._layers.tensors(len(self))

    def _settings(self) -> dict[str, Any]:
        """Return the settings, as JSON values."""
        return {"cache": self.cache.settings, "codec": self.codec, **self.history.settings}

    @locked
    def __getstate__(self) -> dict[str, Any]:
        # Copies, because a pickled tensor carries its whole storage, and two processes share it.
        tensors = {name: tensor.clone() for name, tensor in self._tensors().items()}
        return {"settings": self._settings(), "tensors": tensors}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "tensors" not in state:
            raise DataError("memory: expected a pickle of this version, got another one; files of save() are read")
        tensors = state["tensors"]
        loaded = type(self)._from_tensors(tensors, state["settings"], tensors["cache.keys"].device)
        self.__dict__.update(loaded.__dict__)

    @classmethod
    def _from_tensors(
        cls: type[_Memory], tensors: dict[str, Tensor], settings: dict[str, Any], device: torch.device | str
    ) -> _Memory:
        """Make the memory that has these tensors and settings."""
        raise NotImplementedError
