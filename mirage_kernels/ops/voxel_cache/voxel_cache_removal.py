# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Removal of rows of a voxel cache: carving and eviction."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ... import _inputs, check
from ..._locks import writes
from ..._modes import EVICTIONS, AutomaticEviction, Eviction
from ...cameras import Cameras, check_cameras_of_maps
from . import voxel_cache_operators as operators
from .voxel_cache_rows import CacheRows


class CacheRemoval(CacheRows):
    """The methods of a voxel cache that remove rows."""

    eviction: AutomaticEviction

    @writes
    def carve(self, depth: Tensor, cameras: Cameras, tolerance: float = 0.05) -> Tensor:
        """Remove the rows that depth maps see through. It waits for the device once.

        Args:
            depth: (V, H, W) float32 or float64 z-depth, world units; pixels without valid depth remove nothing.
            cameras: V cameras over (H, W), on the device of the cache.
            tolerance: a row at depth z is removed if a map has more than ``(1 + tolerance) * z`` at its pixel.

        Returns:
            remap: (rows before,) int64, new index of every row, -1 if it was removed. The order of rows is kept.

        Raises:
            TypeError, ValueError: an argument has the wrong type, dtype, shape, device or value.

        Example:
            >>> import torch
            >>> from mirage_kernels import Cameras, VoxelCache
            >>> cache = VoxelCache(0.1, channels=1)
            >>> counts = cache.insert(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]]), torch.zeros(2, 1))
            >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 1], [0, 0, 1]]), torch.eye(4), size=(2, 4))
            >>> cache.carve(torch.full((1, 2, 4), 3.0), camera).tolist()
            [-1, 0]
        """
        s = self.state
        dims: check.Dims = {}
        depth = _inputs.geometry("depth", depth, ("V", "H", "W"), dims, ("the cache", s.keys))
        check_cameras_of_maps(cameras, dims, "V", "the cache", s.keys)
        factor = 1 + check.number("tolerance", tolerance, 0)
        return self._store.compact(operators.carve(s, depth, cameras, factor=factor), "carved")

    @writes
    def evict(
        self,
        *,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        eviction: Eviction | None = None,
        position: Tensor | None = None,
    ) -> Tensor:
        """Remove rows until a budget is met; ties go to the lower row. It waits for the device once.

        Args:
            max_rows, max_bytes: the budget; give one of them. Bytes are those of :attr:`nbytes`.
            eviction: which rows to remove first: ``"oldest"`` by stamp, ``"untouched"`` by the last :meth:`touch`, or
                ``"farthest"`` from ``position``. None for the ``eviction`` of the cache.
            position: (3,) float32, world units, with ``"farthest"`` only.

        Returns:
            remap: (rows before,) int64, new index of every row, -1 if it was removed. The order of rows is kept.

        Raises:
            TypeError, ValueError: an argument has the wrong type, dtype, shape, device or value. Whether ``position``
                is finite is checked on a CPU.

        Example:
            >>> import torch
            >>> from mirage_kernels import VoxelCache
            >>> cache = VoxelCache(0.1, channels=1)
            >>> counts = cache.insert(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 3.0]]), torch.zeros(2, 1))
            >>> cache.evict(max_rows=1, eviction="farthest", position=torch.zeros(3)).tolist()
            [0, -1]
        """
        mode: Eviction = self.eviction if eviction is None else check.choice("eviction", eviction, EVICTIONS)
        if (max_rows is None) == (max_bytes is None):
            got = "neither" if max_rows is None else "both"
            raise check.value_error("max_rows", "either max_rows or max_bytes", got)
        if mode == "farthest":
            check.tensor("position", position, (3,), {}, like=("the cache", self.state.keys))
            if position is not None and position.is_cpu and not all(map(math.isfinite, position.tolist())):
                raise check.value_error("position", "finite coordinates", position.tolist())
        elif position is not None:
            raise check.value_error("position", f"None with eviction {mode!r}", type(position).__name__)
        self._store.recover()
        if max_bytes is not None:
            max_bytes = check.integer("max_bytes", max_bytes, self._store.layout.nbytes(0))
            return self._store.evict_to_bytes(max_bytes, mode, position)
        return self._store.evict_to(check.integer("max_rows", max_rows, 0), mode, position)

    @writes
    def touch(self, index: Tensor, stamp: int) -> None:
        """Record that rows were used, for the eviction ``"untouched"``. It waits for the device once.

        A row that was never touched counts as touched by the insert that changed it last.

        Args:
            index: int64 of any shape: rows, for example the ``index`` of :meth:`VoxelCache.splat`; -1 is skipped.
            stamp: the new stamp of the rows, such as the number of a frame.

        Raises:
            TypeError: an argument has the wrong type or dtype.
            ValueError: ``index`` is on another device or names a row that does not exist.
        """
        s = self.state
        check.tensor(
            "index", index, tuple(check.dense("index", index).shape), {}, (torch.int64,), ("the cache", s.keys)
        )
        stamp = check.integer("stamp", stamp, -(1 << 63), (1 << 63) - 1)
        rows = index[index >= 0]
        if rows.numel() and int(rows.max()) >= s.rows:
            first = int((index.flatten() >= s.rows).nonzero()[0])
            got = f"{int(index.flatten()[first])} at position {first} of the flattened index"
            raise check.value_error("index", f"rows below {s.rows}", got)
        self._store.touch(rows, stamp)
