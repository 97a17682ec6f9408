# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Views of a voxel cache: what cameras see of its rows."""

from __future__ import annotations

import torch
from torch import Tensor

from ... import _inputs, _memory, check
from ..._results import Splat
from ...cameras import NEAR, Cameras, check_cameras
from ..splat.splat_operators import check_near, splat_nearest
from ..splat.splat_surface_operators import surface_of_points
from . import voxel_cache_operators as operators
from .voxel_cache_rows import CacheRows

MAX_TOLERANCE = 1e18  # its products with depths of any scene are finite


class CacheViews(CacheRows):
    """The methods of a voxel cache that render rows."""

    extent_scale: float

    def splat(
        self,
        cameras: Cameras,
        *,
        valid: Tensor | None = None,
        extent_scale: float | None = None,
        features: bool = True,
        cull: bool = True,
        near: float = NEAR,
    ) -> Splat:
        """Render the rows into cameras, as :func:`mirage_kernels.splat` does. It does not wait for the device.

        Runs of rows that no camera can see are skipped, so the cost follows the visible part of the cache. (The
        backends ``triton`` and ``reference`` read all rows.)

        Args:
            cameras: V cameras over a grid (h, w), on the device of the cache.
            valid: (rows,), a mask as :meth:`insert` takes it; rows that are False are skipped.
            extent_scale: replaces the ``extent_scale`` of the cache for this call.
            features: False returns features of shape (V, 0, h, w); read them later with :meth:`feature_maps`.
            cull: False reads every row. The result is the same, bit for bit.
            near: world units, 1e-6 to 3e38; rows up to this depth are skipped. A row just in front of a camera covers
                the whole grid.

        Returns:
            :class:`Splat`: features (V, C, h, w) in :attr:`dtype`, depth (V, h, w), index (V, h, w): the row of every
            cell, -1 in holes.

        Raises:
            TypeError, ValueError: an argument has the wrong type, dtype, shape, device or value.
        """
        if torch.compiler.is_dynamo_compiling():  # it cannot trace a lock
            return self._splat(cameras, valid, extent_scale, features, cull, near)
        with self._store.lock:
            try:
                return self._splat(cameras, valid, extent_scale, features, cull, near)
            except (RuntimeError, MemoryError) as error:
                _memory.raise_explained(error, "splat", rows=self.state.rows, cameras=cameras)

    def _splat(
        self,
        cameras: Cameras,
        valid: Tensor | None,
        extent_scale: float | None,
        features: bool,
        cull: bool,
        near: float,
    ) -> Splat:
        s = self.state
        rows = s.rows
        check_cameras(cameras, "the cache", s.keys)
        valid, scale = self._mask("valid", valid), self._scale(extent_scale)
        stored = s.features[:rows]
        encoded = s.scale is not None or s.count is not None
        if encoded or not features:
            stored = stored[:, :0].to(self.dtype)
        maps, depth, index = splat_nearest(
            s.xyz[:rows],
            stored,
            cameras,
            valid=valid,
            extents=s.footprint[:rows] if scale > 0 else None,
            extent_scale=scale,
            min_extent=self.voxel_size or 0.0,
            boxes=s.boxes if cull else (None, None, None),
            near=near if near is NEAR else check_near(near),
            differentiable=False,
        )
        return Splat(operators.decode(s, index, self._like) if encoded and features else maps, depth, index)

    def splat_surface(
        self,
        cameras: Cameras,
        *,
        valid: Tensor | None = None,
        behind: Tensor | None = None,
        below: Tensor | None = None,
        first_scale: float = 0.0,
        extent_scale: float | None = None,
        tolerance: float = 0.05,
        near: float = NEAR,
    ) -> Splat:
        """Render the rows as a surface without gaps, and without what would show through gaps.

        Rows are rendered as points, and as the squares of :meth:`splat` where the points leave holes or lie behind a
        square by more than ``tolerance``. So a cell shows the row that lies in it, if that is not occluded, and else
        one whose square covers it. The method does not wait for the device.

        Args:
            cameras: V cameras over a grid (h, w), on the device of the cache.
            valid: (rows,), a mask as :meth:`insert` takes it; rows that are False are skipped.
            behind: (rows,), rows rendered as squares, only where all of the above leaves holes or lies farther.
            below: (rows,), rows rendered as a surface of their own, only in the holes that are left.
            first_scale: half-size of the squares in place of points, in footprints. On a grid finer than that of the
                rows' latents, 0.5 lets a cell show the row that covers it.
            extent_scale: replaces the ``extent_scale`` of the cache for this call.
            tolerance: relative difference of depths of one surface, 0 to 1e18: a surface is behind another one where
                its depth is more than ``1 + tolerance`` times as large.
            near: world units, 1e-6 to 3e38; rows up to this depth are skipped.

        Returns:
            :class:`Splat` without features (V, 0, h, w): depth (V, h, w) and index (V, h, w), the row of every cell, -1
            in holes. :meth:`feature_maps` reads the features.

        Raises:
            TypeError, ValueError: an argument has the wrong type, dtype, shape, device or value.

        Example:
            >>> import torch
            >>> from mirage_kernels import Cameras, VoxelCache
            >>> cache = VoxelCache(0.1, channels=1, extent_scale=0.6)
            >>> xyz = torch.tensor([[-0.5, 0.0, 2.0], [0.5, 0.0, 2.0]])
            >>> counts = cache.insert(xyz, torch.zeros(2, 1), torch.tensor([1.0, 1.0]))
            >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 0.5], [0, 0, 1]]), torch.eye(4), size=(1, 4))
            >>> cache.splat(camera, extent_scale=0).index.tolist()
            [[[-1, 0, -1, 1]]]
            >>> cache.splat_surface(camera).index.tolist()
            [[[0, 0, 1, 1]]]
        """
        if torch.compiler.is_dynamo_compiling():  # it cannot trace a lock
            return self._splat_surface(cameras, valid, behind, below, first_scale, extent_scale, tolerance, near)
        with self._store.lock:
            return self._splat_surface(cameras, valid, behind, below, first_scale, extent_scale, tolerance, near)

    def _splat_surface(
        self,
        cameras: Cameras,
        valid: Tensor | None,
        behind: Tensor | None,
        below: Tensor | None,
        first_scale: float,
        extent_scale: float | None,
        tolerance: float,
        near: float,
    ) -> Splat:
        s = self.state
        check_cameras(cameras, "the cache", s.keys)
        xyz = s.xyz[: s.rows]
        depth, index = surface_of_points(
            xyz,
            s.footprint[: s.rows],
            cameras,
            valid=self._mask("valid", valid),
            behind=self._mask("behind", behind),
            below=self._mask("below", below),
            first_scale=check.number("first_scale", first_scale, 0),
            scale=self._scale(extent_scale),
            min_extent=self.voxel_size or 0.0,
            tolerance=check.number("tolerance", tolerance, 0, MAX_TOLERANCE),
            boxes=s.boxes,
            near=near if near is NEAR else check_near(near),
        )
        views, h, w = depth.shape
        return Splat(self._like.new_empty(views, 0, h, w), depth, index)

    def _mask(self, name: str, mask: Tensor | None) -> Tensor | None:
        s = self.state
        return None if mask is None else _inputs.mask(name, mask, ("rows",), {"rows": s.rows}, ("the cache", s.keys))

    def _scale(self, extent_scale: float | None) -> float:
        return self.extent_scale if extent_scale is None else check.number("extent_scale", extent_scale, 0)
