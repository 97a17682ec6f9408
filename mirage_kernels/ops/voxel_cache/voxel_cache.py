# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A voxel-hashed cache of point features that cameras can render."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ... import _inputs, _memory, check
from ..._camera_operators import is_recorded
from ..._locks import writes
from ..._modes import AUTOMATIC_EVICTIONS, FUSIONS, STORAGES, AutomaticEviction, Fusion, Storage
from ..._pickling import copies, parts
from . import voxel_cache_operators as operators
from .voxel_cache_checks import check_voxel_size, largest_magnitude
from .voxel_cache_files import CacheFiles
from .voxel_cache_index_reference import LIMIT
from .voxel_cache_reference import MAX_AVERAGED
from .voxel_cache_removal import CacheRemoval
from .voxel_cache_state import MAX_QUANTIZED, MAX_ROWS, InsertInput, Layout
from .voxel_cache_store import InsertCounts, Store
from .voxel_cache_views import CacheViews


class VoxelCache(CacheRemoval, CacheViews, CacheFiles):
    """A voxel-hashed cache of point features, with one row per occupied voxel.

    A row stores one observation of its voxel: position, footprint (width) and features. All state is in plain tensors
    (:attr:`state`), with the same bits on every backend. Every mutation is atomic: on error the state is unchanged.
    Reads do not modify the cache and do not wait for the device (no synchronization), so they can be compiled and
    captured in a CUDA graph. Inserting, carving, evicting and saving run eagerly and wait for the device once per call;
    only the first insert with voxel size ``"auto"`` waits more than once.

    Threads may share a cache: a method waits for the one that another thread is running. To call several methods on one
    version of the cache, hold :attr:`lock`. Three things are not covered: compiled functions and CUDA graphs take no
    lock; tensors that a property returns are views, which later inserts modify; and on a GPU, threads that use
    different streams have to synchronize them.

    Args:
        voxel_size: side of a voxel, world units, or ``"auto"``: ``auto_scale`` times the median footprint of the first
            insert.
        channels: C, number of channels of the features.
        dtype: dtype of the features, in and out: float32, bfloat16 or float16.
        device: device of all tensors.
        fusion: what happens when a point falls into a voxel that has a row. ``"best"``: the smaller footprint wins,
            which is the closer observation. Ties: the existing row wins, then the lower point index. ``"latest"``: the
            last point wins. ``"mean"``: features are averaged (float32 sums in input order, rounded when read), the
            position is that of the smallest footprint.
        storage: None to store features as they are; ``"int8"`` to store them in int8 with one scale per row, a quarter
            of the size of float32 (not with fusion ``"mean"``).
        max_rows, max_bytes: budget. An insert that would exceed it first evicts rows down to 7/8 of the budget.
        eviction: which rows to evict first: ``"oldest"`` by stamp, or ``"untouched"`` by the last :meth:`touch`.
        extent_scale: :meth:`splat` renders a row as a square of half-size ``extent_scale * max(footprint,
            voxel_size)``. A little over 0.5 closes the gaps between neighbors; 0 renders points.
        auto_scale: see ``voxel_size``.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument has a wrong value, or ``max_bytes`` has no room for a row.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras, VoxelCache
        >>> cache = VoxelCache(0.1, channels=2)
        >>> xyz = torch.tensor([[0.0, 0.0, 1.0], [0.01, 0.0, 1.0], [0.0, 0.0, 2.0]])
        >>> counts = cache.insert(xyz, torch.tensor([[1.0, 0], [2, 0], [3, 0]]), torch.tensor([0.2, 0.1, 0.2]))
        >>> counts.added, counts.merged
        (2, 1)
        >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 1], [0, 0, 1]]), torch.eye(4), size=(2, 4))
        >>> view = cache.splat(camera)
        >>> view.features[0, 0, 1].tolist()
        [0.0, 0.0, 2.0, 0.0]
    """

    def __init__(
        self,
        voxel_size: float | Literal["auto"],
        channels: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        fusion: Fusion = "best",
        storage: Storage | None = None,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        eviction: AutomaticEviction = "oldest",
        extent_scale: float = 0.6,
        auto_scale: float = 0.5,
    ) -> None:
        is_auto = isinstance(voxel_size, str) and voxel_size == "auto"
        size = None if is_auto else check_voxel_size("voxel_size", voxel_size)
        self.auto_scale = check.number("auto_scale", auto_scale, 1e-6)
        self.dtype = check.dtype("dtype", dtype)
        self.fusion: Fusion = check.choice("fusion", fusion, FUSIONS)
        self.storage: Storage | None = None if storage is None else check.choice("storage", storage, STORAGES)
        if storage is not None and fusion == "mean":
            raise check.value_error("storage", "None with fusion 'mean'", repr(storage))
        self.max_rows = None if max_rows is None else check.integer("max_rows", max_rows, 1, MAX_ROWS)
        self.max_bytes = None if max_bytes is None else check.integer("max_bytes", max_bytes, 1)
        self.eviction: AutomaticEviction = check.choice("eviction", eviction, AUTOMATIC_EVICTIONS)
        self.extent_scale = check.number("extent_scale", extent_scale, 0)
        layout = Layout(
            check.integer("channels", channels, 0, 1 << 24),
            torch.int8 if storage else torch.float32 if fusion == "mean" else dtype,
            scaled=storage == "int8",
            counted=fusion == "mean",
            # A budget of bytes must include the tensor from the start.
            touched=eviction == "untouched" or max_bytes is not None,
            device=check.device("device", device),
        )
        self._store = Store(layout, max_rows, max_bytes, size)
        if self._store.row_limit < 1:
            raise check.value_error("max_bytes", f"at least {layout.nbytes(1)} bytes, the size of a row", max_bytes)
        self._like = torch.empty(0, dtype=self.dtype, device=layout.device)

    def insert(
        self,
        xyz: Tensor,
        features: Tensor,
        footprint: Tensor | None = None,
        *,
        valid: Tensor | None = None,
        stamp: int = 0,
    ) -> InsertCounts:
        """Insert points. New voxels get rows after the existing ones, in ascending Morton order within the call.

        An insert counts the new voxels, allocates memory for all of them at once if necessary, and then writes the
        points. On any error the cache is unchanged. An interrupt leaves it unchanged, or with all of the points.

        Args:
            xyz: (N, 3) float32, or float64 that is rounded to float32 once; world units.
            features: (N, C) in the dtype of the cache. Points with features that are not finite are rejected, and with
                features beyond 2^127 if the storage is ``"int8"``, beyond 2^107 if they are averaged.
            footprint: (N,) float32 or float64, width of each point, world units; None uses the voxel size.
            valid: (N,) bool; points where it is False are skipped. It may also be uint8 or floating point, where
                whatever is not 0 is True.
            stamp: a number that is stored with every row that changes, for example the number of a frame.

        Returns:
            :class:`InsertCounts`: the numbers of added rows, merged points, rejected points and evicted rows, and, if
            rows were evicted, the new index of every row.

        Raises:
            TypeError: an argument has the wrong type or dtype.
            ValueError: an argument has the wrong shape or device; the points of this call alone occupy more voxels than
                the budget allows; or ``footprint`` is None in the first insert with voxel size ``"auto"``.
        """
        if not self._are_points(xyz, features) or footprint is not None or valid is not None:
            xyz, footprint, valid = self._check_points(xyz, features, footprint, valid)
        stamp = check.integer("stamp", stamp, -(1 << 63), (1 << 63) - 1)
        footprint = None if footprint is None else _detached(footprint)
        points = InsertInput(_detached(xyz), _detached(features), footprint, valid)
        with self._store.lock:
            if xyz._is_view() or features._is_view() or (footprint is not None and footprint._is_view()):
                points = self._copy_of_own(points)
            try:
                return self._insert(points, stamp)
            except (RuntimeError, MemoryError) as error:
                _memory.raise_explained(error, "insert", xyz=xyz, features=features)

    def _copy_of_own(self, points: InsertInput) -> InsertInput:
        """Copy tensors that are views of the cache's own state, which an insert reads after it has written to it."""
        s = self.state
        own = {t.untyped_storage().data_ptr() for t in (s.xyz, s.footprint, s.features)}

        def apart(tensor: Tensor) -> Tensor:
            return tensor.clone() if tensor.untyped_storage().data_ptr() in own else tensor

        footprint = None if points.footprint is None else apart(points.footprint)
        return InsertInput(apart(points.xyz), apart(points.features), footprint, points.valid)

    def _in_range(self, features: Tensor) -> Tensor:
        """Replace features by NaN, which is rejected, that a row of this cache would turn into infinity."""
        if not self._store.layout.scaled or features.dtype is torch.float16 or not features.numel():
            return features
        if features.is_cpu and not is_recorded() and largest_magnitude(features) <= MAX_QUANTIZED:
            return features  # on a GPU this would wait
        return features.masked_fill(features.abs() > MAX_QUANTIZED, torch.nan)

    def _are_points(self, xyz: Any, features: Any) -> bool:
        """Return whether :meth:`_check_points` accepts these."""
        return (
            check.are_points(xyz, features)
            and features.dtype == self.dtype
            and features.shape[1] == self.channels
            and xyz.device == self.device
        )

    def _check_points(
        self, xyz: Any, features: Any, footprint: Any, valid: Any
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Check points, and return xyz and footprint in float32 and the mask as bool."""
        dims: check.Dims = {"C": self.channels}
        like = ("the cache", self.state.keys)
        xyz = _inputs.geometry("xyz", xyz, ("N", 3), dims, like)
        check.tensor("features", features, ("N", "C"), dims, (self.dtype,), like)
        if footprint is not None:
            footprint = _inputs.geometry("footprint", footprint, ("N",), dims, like)
        if valid is not None:
            valid = _inputs.mask("valid", valid, ("N",), dims, like)
        if dims["N"] > MAX_ROWS:
            raise check.value_error("xyz", "fewer than 2^31 points", dims["N"])
        return xyz, footprint, valid

    def _insert(self, points: InsertInput, stamp: int) -> InsertCounts:
        store = self._store
        points = points._replace(features=self._in_range(points.features))
        size = self._automatic_voxel_size(points) if store.voxel_size is None else store.voxel_size
        if size is None:
            rejected = len(points.xyz) if points.valid is None else int(points.valid.sum())
            store.totals = {**store.totals, "rejected": store.totals["rejected"] + rejected}
            return InsertCounts(0, 0, rejected, 0, None)
        return store.insert(points, voxel_size=size, stamp=stamp, fusion=self.fusion, eviction=self.eviction)

    def _automatic_voxel_size(self, points: InsertInput) -> float | None:
        """Compute the voxel size "auto" from the points that it does not reject; None if there are none."""
        xyz, features, footprint, valid = points
        if footprint is None:
            raise check.value_error("footprint", "(N,) on the first insert, because voxel_size is 'auto'", None)
        kept = (footprint > 0) & (footprint < torch.inf)
        if valid is not None:
            kept &= valid
        farthest = largest_magnitude(xyz)
        if not math.isfinite(farthest):
            kept &= xyz.isfinite().all(1)
        if not largest_magnitude(features) <= MAX_AVERAGED:
            kept &= operators.are_in_range(features, self.fusion)
        while bool(kept.any()):
            size = check_voxel_size("footprint", footprint[kept].median().item() * self.auto_scale)
            if farthest < (LIMIT - 2) * size:  # as nearly always
                return size
            in_range = operators.voxels_of(xyz, size)[1]
            if bool((in_range | ~kept).all()):
                return size
            kept &= in_range  # and again, because points out of range are rejected
        return None

    def _with(self, store: Store) -> VoxelCache:
        other = self.__class__.__new__(self.__class__)
        other.__dict__.update(self.__dict__)
        other._store = store
        other._like = self._like.to(store.layout.device)
        return other

    def to(self, device: torch.device | str) -> VoxelCache:
        """Return a copy of the cache on another device, or the cache itself if it is on this device already.

        Args:
            device: a ``torch.device`` or its name.

        Raises:
            TypeError, ValueError: ``device`` is not a device.
        """
        device = check.device("device", device)
        return self if device == self.device else self._map(lambda t: t.to(device))

    def clone(self) -> VoxelCache:
        """Return a copy of the cache. ``copy.copy`` and ``copy.deepcopy`` return one as well."""
        return self._map(torch.clone)

    __copy__ = clone

    def __deepcopy__(self, memo: dict[int, Any]) -> VoxelCache:
        return self.clone()

    @writes
    def __getstate__(self) -> dict[str, Any]:
        tensors = copies(self.state_dict())
        return {"settings": self.settings, "tensors": tensors, "totals": dict(self._store.totals)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        settings, tensors, counted = parts("VoxelCache", state, "settings", "tensors", "totals")
        loaded = VoxelCache.from_state_dict(settings, tensors, tensors["keys"].device)
        totals = loaded._store.totals
        loaded._store.totals = {name: check.integer(name, counted[name], 0) for name in totals}
        self.__dict__.update(loaded.__dict__)

    @writes
    def _map(self, function: Callable[[Tensor], Tensor]) -> VoxelCache:
        self._store.recover()
        return self._with(self._store.map(function))


def _detached(tensor: Tensor) -> Tensor:
    return tensor.detach() if tensor.requires_grad else tensor
