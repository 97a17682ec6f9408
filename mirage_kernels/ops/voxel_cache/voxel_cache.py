# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""voxel_cache: a voxel-hashed feature cache, deduplicated on the way in and z-buffered on the way out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ... import check
from ...cameras import Cameras
from ...views import Splat
from . import voxel_cache_schemas as schemas  # noqa: F401 (defines the operations)
from .voxel_cache_files import CacheFiles
from .voxel_cache_reference import FUSIONS
from .voxel_cache_state import MOST_ROWS, Layout, State
from .voxel_cache_store import InsertCounts, Points, Store

EVICTIONS = ("oldest", "untouched", "farthest")


class VoxelCache(CacheFiles):
    """Point features at the places in the world they belong to, at most one row a voxel.

    A row keeps one observation: where the point was, how wide it was, its features. All state is plain tensors
    (:attr:`state`), the same bits on every backend. Reading changes nothing. Inserting, carving, evicting and saving
    are eager and wait for the device once (the first insert of a cache whose voxel size is ``"auto"`` more often);
    reading does not, and can be compiled and captured.

    Args:
        voxel_size: world units, or ``"auto"``: ``auto_scale`` times the median footprint of the first insert.
        channels: C of the features.
        dtype: of the features that go in and come out: float32, bfloat16 or float16.
        device: where.
        fusion: what happens to a voxel that is seen again. ``"best"``: the smaller footprint wins, the closest look;
            of equals the one that is there, and within a call the lower point. ``"latest"``: the last point wins.
            ``"mean"``: features are averaged (float32 sums in input order, rounded when read), the place is the
            closest look's.
        storage: None to keep features as they are, ``"int8"`` for a quarter of float32 (one scale a row; not with
            mean).
        max_rows, max_bytes: a budget. When an insert would exceed it, rows are evicted first, down to 7/8 of it.
        eviction: which rows go first: ``"oldest"`` stamp, or ``"untouched"`` for longest (see :meth:`touch`).
        extent_scale: a row is drawn as a square of half-size ``extent_scale * max(footprint, voxel_size)``: a little
            over half closes the gaps between neighbours; 0 draws points.
        auto_scale: see ``voxel_size``.

    Raises:
        TypeError, ValueError: ``name: expected X, got Y``.
    """

    def __init__(
        self,
        voxel_size: float | str,
        channels: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        fusion: str = "best",
        storage: str | None = None,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        eviction: str = "oldest",
        extent_scale: float = 0.6,
        auto_scale: float = 0.5,
    ) -> None:
        self.voxel_size = None if voxel_size == "auto" else _size("voxel_size", voxel_size)
        self.auto_scale = check.number("auto_scale", auto_scale, 1e-6)
        self.dtype = check.dtype("dtype", dtype)
        self.fusion = check.choice("fusion", fusion, FUSIONS)
        self.storage = None if storage is None else check.choice("storage", storage, ("int8",))
        if storage is not None and fusion == "mean":
            raise check.value_error("storage", "None with fusion 'mean'", repr(storage))
        self.max_rows = None if max_rows is None else check.integer("max_rows", max_rows, 1, MOST_ROWS)
        self.max_bytes = None if max_bytes is None else check.integer("max_bytes", max_bytes, 1)
        self.eviction = check.choice("eviction", eviction, EVICTIONS[:2])
        self.extent_scale = check.number("extent_scale", extent_scale, 0)
        layout = Layout(
            check.integer("channels", channels, 0),
            torch.int8 if storage else torch.float32 if fusion == "mean" else dtype,
            scaled=storage == "int8",
            counted=fusion == "mean",
            # with a budget of bytes there must be room for it from the start
            touched=eviction == "untouched" or max_bytes is not None,
            device=check.device("device", device),
        )
        self._store = Store(layout, max_rows, max_bytes)
        if self._store.most < 1:
            raise check.value_error("max_bytes", f"room for a row ({layout.nbytes(1)} bytes)", max_bytes)
        self._like = torch.empty(0, dtype=self.dtype, device=layout.device)
        self._totals = {"added": 0, "merged": 0, "rejected": 0, "evicted": 0, "carved": 0}

    def __len__(self) -> int:
        """How many rows there are."""
        return self.state.rows

    def __repr__(self) -> str:
        size = "auto" if self.voxel_size is None else f"{self.voxel_size:g}"
        return f"VoxelCache({len(self)} voxels of {size}, {self.channels} channels, {self.nbytes / 2**20:.1f} MiB)"

    @property
    def state(self) -> State:
        """Every tensor there is. To be read, not written."""
        return self._store.state

    @property
    def channels(self) -> int:
        return self._store.layout.channels

    @property
    def device(self) -> torch.device:
        return self.state.keys.device

    @property
    def xyz(self) -> Tensor:
        """(rows, 3) float32, where each row's observation was. A view of the state, as the next ones are."""
        return self.state.xyz[: self.state.rows]

    @property
    def footprint(self) -> Tensor:
        """(rows,) float32, how wide it was."""
        return self.state.footprint[: self.state.rows]

    @property
    def stamp(self) -> Tensor:
        """(rows,) int64, the stamp of the insert that changed the row last."""
        return self.state.stamp[: self.state.rows]

    @property
    def nbytes(self) -> int:
        """Every allocated byte of every tensor, room to grow included."""
        return self.state.nbytes

    def features(self, index: Tensor | None = None) -> Tensor:
        """(rows, C) features as :attr:`dtype`, or those of ``index`` (N,) int64, where -1 gives zeros."""
        if index is None:
            index = torch.arange(len(self), device=self.device)
        check.tensor("index", index, ("N",), {}, (torch.int64,), ("the cache", self.state.keys))
        decoded = self._decode(index.reshape(1, 1, -1))
        return decoded[0, :, 0].T.contiguous()

    def feature_maps(self, index: Tensor) -> Tensor:
        """(V, C, h, w) features as :attr:`dtype` of the rows that ``index`` (V, h, w) int64 names; -1 gives zeros.

        They are those that :meth:`splat` hands out with its own index; an index may also merge several drawings.
        """
        check.tensor("index", index, ("V", "h", "w"), {}, (torch.int64,), ("the cache", self.state.keys))
        return self._decode(index)

    def insert(
        self,
        xyz: Tensor,
        features: Tensor,
        footprint: Tensor | None = None,
        *,
        valid: Tensor | None = None,
        stamp: int = 0,
    ) -> InsertCounts:
        """Take in points. New voxels get rows behind those there are, in ascending Morton order within the call.

        The new voxels are counted first, then the cache grows once, then it is written: an insert that cannot have its
        memory leaves the cache as it was.

        Args:
            xyz: (N, 3) float32, world units.
            features: (N, C) of the cache's dtype.
            footprint: (N,) float32, how wide each point is, world units; a voxel each where None.
            valid: (N,) bool; points that are False are left out.
            stamp: noted on every row that changes, such as the number of a frame.

        Raises:
            TypeError, ValueError: ``name: expected X, got Y``; so too when a call alone brings more new voxels than the
                budget allows.
        """
        if not self._takes(xyz, features) or footprint is not None or valid is not None:
            self._check_points(xyz, features, footprint, valid)
        check.integer("stamp", stamp, -(1 << 63), (1 << 63) - 1)
        footprint = None if footprint is None else _detached(footprint)
        return self._insert(Points(_detached(xyz), _detached(features), footprint, valid), stamp)

    def _takes(self, xyz: Any, features: Any) -> bool:
        """Whether :meth:`_check_points` would accept these."""
        return (
            check.are_points(xyz, features)
            and features.dtype == self.dtype
            and features.shape[1] == self.channels
            and xyz.device == self.device
        )

    def _check_points(self, xyz: Any, features: Any, footprint: Any, valid: Any) -> None:
        dims: check.Dims = {"C": self.channels}
        here = ("the cache", self.state.keys)
        check.tensor("xyz", xyz, ("N", 3), dims, like=here)
        check.tensor("features", features, ("N", "C"), dims, (self.dtype,), here)
        if footprint is not None:
            check.tensor("footprint", footprint, ("N",), dims, like=here)
        if valid is not None:
            check.tensor("valid", valid, ("N",), dims, (torch.bool,), here)
        if dims["N"] > MOST_ROWS:
            raise check.value_error("xyz", "fewer than 2^31 points", dims["N"])

    def _insert(self, points: Points, stamp: int) -> InsertCounts:
        xyz, features, footprint, valid = points
        if self.voxel_size is None and not self._choose_size(footprint, valid):
            return self._count(InsertCounts(0, 0, len(xyz) if valid is None else int(valid.sum()), 0, None))
        if self.storage == "int8":
            # refused with its place, so that the plan counts it: to count it here would read from the device again
            points = points._replace(xyz=xyz.masked_fill(~features.isfinite().all(1, keepdim=True), torch.nan))
        size = self.voxel_size
        assert size is not None
        return self._count(self._store.insert(points, size, stamp, FUSIONS.index(self.fusion), self.eviction))

    def _choose_size(self, footprint: Tensor | None, valid: Tensor | None) -> bool:
        """Settle what "auto" stands for; False where no footprint tells."""
        if footprint is None:
            raise check.value_error("footprint", "(N,) on the first insert, because voxel_size is 'auto'", None)
        usable = footprint.isfinite() & (footprint > 0)
        known = footprint[usable if valid is None else usable & valid]
        if known.numel() == 0:
            return False
        self.voxel_size = _size("footprint", known.median().item() * self.auto_scale)
        return True

    def _count(self, counts: InsertCounts) -> InsertCounts:
        totals = self._totals
        totals["added"] += counts.added
        totals["merged"] += counts.merged
        totals["rejected"] += counts.rejected
        totals["evicted"] += counts.evicted
        return counts

    def splat(
        self,
        cameras: Cameras,
        *,
        valid: Tensor | None = None,
        extent_scale: float | None = None,
        features: bool = True,
        cull: bool = True,
    ) -> Splat:
        """What cameras see of the cache, as :func:`mirage_kernels.splat` draws it; ``index`` names rows.

        Rows that no camera can see are passed over in runs, so the cost follows what is visible. (On the backends
        ``triton`` and ``reference`` it follows the number of rows.)

        Args:
            cameras: V cameras over a grid (h, w), on the cache's device.
            valid: (rows,) bool; rows that are False are not drawn.
            extent_scale: instead of the cache's own.
            features: False hands out none, (V, 0, h, w); see :meth:`feature_maps`.
            cull: False looks at every row; the result is the same, bit for bit. The backends ``triton`` and
                ``reference`` always do.
        """
        s, rows = self.state, self.state.rows
        if not isinstance(cameras, Cameras):
            raise check.type_error("cameras", "Cameras", cameras)
        if cameras.intrinsics.device != s.keys.device:
            raise check.value_error("cameras", f"cameras on {s.keys.device} like the cache", cameras.device)
        if valid is not None:
            check.tensor("valid", valid, ("rows",), {"rows": rows}, (torch.bool,), ("the cache", s.keys))
        h, w = cameras.size
        views = (cameras.intrinsics, cameras.world2cam)
        scale = self.extent_scale if extent_scale is None else check.number("extent_scale", extent_scale, 0)
        least = self.voxel_size or 0.0
        stored = s.features[:rows]
        encoded = s.scale is not None or s.count is not None
        if encoded or not features:
            stored = stored[:, :0].to(self.dtype)
        extents = s.footprint[:rows] if scale > 0 else None
        drawn, depth, index = self._store.call(
            "splat",
            *(s.xyz[:rows], stored, *views, h, w, valid),
            *(extents, scale, least, 0.0),
            *(s.boxes if cull else (None, None, None)),
            kind="inference",
        )
        return Splat(self._decode(index) if encoded and features else drawn, depth, index)

    def _decode(self, index: Tensor) -> Tensor:
        s, rows = self.state, self.state.rows
        scale, count = (None if tensor is None else tensor[:rows] for tensor in (s.scale, s.count))
        drawn: Tensor = self._store.call("voxel_cache_decode", s.features[:rows], scale, count, index, self._like)
        return drawn

    def carve(self, depth: Tensor, cameras: Cameras, tolerance: float = 0.05) -> Tensor:
        """Drop the rows that depth maps see through: what they show lies farther by more than the tolerance.

        Args:
            depth: (V, H, W) float32 z-depth, world units; invalid depth says nothing.
            cameras: V cameras over (H, W).
            tolerance: a row at depth z is dropped where the map shows more than ``(1 + tolerance) z``.

        Returns:
            remap: (rows before,) int64, where each row went, -1 = gone. Rows keep their order.
        """
        s = self.state
        dims: check.Dims = {}
        check.tensor("depth", depth, ("V", "H", "W"), dims, like=("the cache", s.keys))
        if not isinstance(cameras, Cameras):
            raise check.type_error("cameras", "Cameras", cameras)
        if len(cameras) != dims["V"] or cameras.size != (dims["H"], dims["W"]):
            expected = f"V={dims['V']} cameras of depth's size (H={dims['H']}, W={dims['W']})"
            raise check.value_error("cameras", expected, f"{len(cameras)} of {cameras.size}")
        if cameras.intrinsics.device != s.keys.device:
            raise check.value_error("cameras", f"cameras on {s.keys.device} like the cache", cameras.device)
        factor = 1 + check.number("tolerance", tolerance, 0)
        views = (cameras.intrinsics, cameras.world2cam)
        keep = self._store.call("voxel_cache_carve", s.xyz, depth, *views, *s.boxes, s.rows, factor)
        before = s.rows
        remap = self._store.compact(keep)
        self._totals["carved"] += before - s.rows
        return remap

    def evict(
        self,
        *,
        max_rows: int | None = None,
        max_bytes: int | None = None,
        by: str | None = None,
        position: Tensor | None = None,
    ) -> Tensor:
        """Give rows up until a budget holds; of equals the lower row goes first.

        Args:
            max_rows, max_bytes: the budget; one of them. Bytes count as :attr:`nbytes` does.
            by: ``"oldest"`` stamp, ``"untouched"`` for longest, ``"farthest"`` from ``position`` (3,); the cache's
                ``eviction`` where None.

        Returns:
            remap: (rows before,) int64, where each row went, -1 = gone. Rows keep their order.
        """
        by = self.eviction if by is None else check.choice("by", by, EVICTIONS)
        if (max_rows is None) == (max_bytes is None):
            got = "neither" if max_rows is None else "both"
            raise check.value_error("max_rows", "either max_rows or max_bytes", got)
        if by == "farthest":
            check.tensor("position", position, (3,), {}, like=("the cache", self.state.keys))
        elif position is not None:
            raise check.value_error("position", "none unless by is 'farthest'", "a position")
        before = len(self)
        if max_bytes is not None:
            check.integer("max_bytes", max_bytes, self._store.layout.nbytes(0))
            remap = self._store.evict_to(self._store.rows_within(max_bytes), by, position)
            if self.nbytes > max_bytes:
                self._store.shrink_to_fit()
        else:
            remap = self._store.evict_to(check.integer("max_rows", max_rows, 0), by, position)
        self._totals["evicted"] += before - len(self)
        return remap

    def touch(self, index: Tensor, stamp: int) -> None:
        """Note that rows were of use. Rows that never were count as touched by the insert that changed them last.

        Args:
            index: any shape, int64: rows, as :meth:`splat` returns them; -1 is passed over.
            stamp: from now on the rows'.
        """
        s = self.state
        if not isinstance(index, Tensor):
            raise check.type_error("index", "a tensor", index)
        check.tensor("index", index, tuple(index.shape), {}, (torch.int64,), ("the cache", s.keys))
        check.integer("stamp", stamp, -(1 << 63), (1 << 63) - 1)
        rows = index[index >= 0]
        if rows.numel() and int(rows.max()) >= s.rows:
            raise check.value_error("index", f"rows below {s.rows}", int(rows.max()))
        self._store.keep_track_of_touches()
        assert s.touched is not None
        s.touched[rows] = stamp

    def shrink_to_fit(self) -> None:
        """Give up the room to grow."""
        self._store.shrink_to_fit()

    def memory_stats(self) -> dict[str, Any]:
        """Rows, capacity, bytes in all and by tensor, how full the table is, and what was ever added, merged, rejected,
        evicted and carved."""
        s = self.state
        return {
            "rows": s.rows,
            "capacity": s.capacity,
            "nbytes": self.nbytes,
            "nbytes_by_tensor": {name: t.untyped_storage().nbytes() for name, t in s.tensors()},
            "table_load": s.rows / len(s.table),
            **self._totals,
        }

    def _with(self, store: Store) -> VoxelCache:
        other = VoxelCache.__new__(VoxelCache)
        other.__dict__.update(self.__dict__)
        other._store, other._totals = store, dict(self._totals)
        other._like = self._like.to(store.layout.device)
        return other

    def to(self, device: torch.device | str) -> VoxelCache:
        """The cache on a device; itself where it is there already."""
        device = check.device("device", device)
        return self if device == self.device else self._with(self._store.map(lambda t: t.to(device)))

    def clone(self) -> VoxelCache:
        """A cache of its own with the same state."""
        return self._with(self._store.map(torch.clone))


def _detached(tensor: Tensor) -> Tensor:
    """The tensor without its gradient; a cache keeps values."""
    return tensor.detach() if tensor.requires_grad else tensor


def _size(name: str, value: Any) -> float:
    """A voxel size as the float32 it is used as."""
    size = float(torch.tensor(check.number(name, value), dtype=torch.float32).item())
    if not 1e-18 < size < 1e18:
        raise check.value_error(name, "between 1e-18 and 1e18", value)
    return size
