# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Access to the rows of a voxel cache: the properties of ``VoxelCache`` and the reading of features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ... import check
from ..._locks import reads, writes
from . import voxel_cache_operators as operators
from .voxel_cache_checks import check_voxel_size
from .voxel_cache_index_reference import LIMIT
from .voxel_cache_state import State
from .voxel_cache_store import Store


class CacheRows:
    """Properties of a voxel cache."""

    dtype: torch.dtype
    _store: Store
    _like: Tensor  # (0,) of the dtype of the features, on the device of the cache

    @reads
    def __len__(self) -> int:
        """Return the number of rows."""
        return self.state.rows

    def __repr__(self) -> str:
        size = "auto" if self.voxel_size is None else f"{self.voxel_size:g}"
        return f"VoxelCache({len(self)} voxels of {size}, {self.channels} channels, {self.nbytes / 2**20:.1f} MiB)"

    @property
    def state(self) -> State:
        """All tensors of the cache. Do not modify them."""
        store = self._store
        if store.unfinished is not None:
            store.recover()
        return store.state

    @property
    def lock(self) -> Any:
        """The ``threading.RLock`` that every method holds. Hold it to call several methods on one version."""
        return self._store.lock

    @property
    def voxel_size(self) -> float | None:
        """Side of a voxel, world units; None before the first insert with voxel size ``"auto"``.

        It can be set while the cache has no rows.

        Raises:
            TypeError, ValueError: it is set to something else than a voxel size, or while there are rows.
        """
        return self._store.voxel_size

    @voxel_size.setter
    def voxel_size(self, value: float | None) -> None:
        self._set_voxel_size(None if value is None else check_voxel_size("voxel_size", value))

    @writes
    def _set_voxel_size(self, value: float | None) -> None:
        self._store.recover()
        if self.state.rows and value != self.voxel_size:
            raise check.value_error("voxel_size", f"{self.voxel_size}, because the cache has rows", value)
        self._store.voxel_size = value

    @property
    def channels(self) -> int:
        """Number of channels of the features."""
        return self._store.layout.channels

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return self.state.keys.device

    @property
    def xyz(self) -> Tensor:
        """(rows, 3) float32, position of the observation of each row, world units. A view of the state."""
        s = self.state
        return s.xyz[: s.rows]

    @property
    def footprint(self) -> Tensor:
        """(rows,) float32, width of the observation of each row, world units. A view of the state."""
        s = self.state
        return s.footprint[: s.rows]

    @property
    def stamp(self) -> Tensor:
        """(rows,) int64, stamp of the insert that changed each row last. A view of the state."""
        s = self.state
        return s.stamp[: s.rows]

    @property
    def nbytes(self) -> int:
        """Size in bytes of all allocated tensors, including unused capacity."""
        return self.state.nbytes

    @reads
    def features(self, index: Tensor | None = None) -> Tensor:
        """Read the features of rows. It does not wait for the device.

        Args:
            index: (N,) int64, rows; -1 gives zeros. None reads all rows.

        Returns:
            (N, C), or (rows, C), in :attr:`dtype`.

        Raises:
            TypeError, ValueError: ``index`` has another dtype, shape or device.
            IndexError: on a CPU, ``index`` names a row that does not exist.
        """
        if index is None:
            index = torch.arange(len(self), device=self.device, dtype=torch.int64)
        check.tensor("index", index, ("N",), {}, (torch.int64,), ("the cache", self.state.keys))
        decoded = operators.decode(self.state, index.reshape(1, 1, -1), self._like)
        return decoded[0, :, 0].T.contiguous()

    @reads
    def feature_maps(self, index: Tensor) -> Tensor:
        """Read the features of the rows in index maps. It does not wait for the device.

        With the ``index`` of :meth:`VoxelCache.splat` the result is its ``features``. The index maps of several calls
        can be merged first, so that features are read once.

        Args:
            index: (V, h, w) int64, rows; -1 gives zeros.

        Returns:
            (V, C, h, w) in :attr:`dtype`.

        Raises:
            TypeError, ValueError: ``index`` has another dtype, shape or device.
            IndexError: on a CPU, ``index`` names a row that does not exist.
        """
        check.tensor("index", index, ("V", "h", "w"), {}, (torch.int64,), ("the cache", self.state.keys))
        return operators.decode(self.state, index, self._like)

    @writes
    def shrink_to_fit(self) -> None:
        """Release unused capacity."""
        self._store.recover()
        self._store.shrink_to_fit()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._store.in_transaction

    def begin(self, undo: Callable[[], None] | None = None) -> None:
        """Begin a transaction. Hold :attr:`lock` until :meth:`end` or :meth:`roll_back`.

        Call this inside the ``try`` whose ``except BaseException`` calls :meth:`roll_back`. An error in a change must
        end the transaction: what that change has done is undone only with all of it. Transactions do not nest: one that
        is open already, as in a function of :meth:`mirage.LatentSpatialMemory.atomic`, is rolled back first.

        Args:
            undo: called by :meth:`roll_back` to undo what the transaction changed besides the cache. It must be right
                to call it twice.

        Example:
            >>> import torch
            >>> from mirage_kernels import VoxelCache
            >>> cache = VoxelCache(0.1, channels=1)
            >>> with cache.lock:
            ...     cache.begin()
            ...     counts = cache.insert(torch.rand(10, 3), torch.rand(10, 1))
            ...     cache.roll_back()
            >>> len(cache)
            0
        """
        self._store.begin(undo)

    def end(self) -> None:
        """Complete the transaction, so that its changes are kept."""
        self._store.end()

    def roll_back(self) -> None:
        """Undo all changes since :meth:`begin`. Without an open transaction, nothing happens."""
        self._store.roll_back()

    @writes
    def memory_stats(self) -> dict[str, Any]:
        """Return numbers about the memory and the history of the cache. It waits for the device once.

        Returns:
            ``rows``, ``capacity``, ``nbytes``, ``nbytes_by_tensor``, ``table_load`` (fraction of used slots of the hash
            table), ``imprecise`` (rows more than 2^20 of their footprints from the origin), and the totals ``added``,
            ``merged``, ``rejected``, ``evicted`` and ``carved`` of all calls. Float32 rounds the positions of imprecise
            rows, and those of cameras there, by a noticeable part of a footprint, so that cells may not read back
            themselves: subtract a local origin from both (:meth:`mirage_kernels.Cameras.translate`).
        """
        s = self.state
        return {
            "rows": s.rows,
            "capacity": s.capacity,
            "nbytes": self.nbytes,
            "nbytes_by_tensor": {name: t.untyped_storage().nbytes() for name, t in s.tensors()},
            "table_load": s.rows / len(s.table),
            "imprecise": int((self.xyz.abs().amax(1) > LIMIT * self.footprint).sum()),
            **self._store.totals,
        }
