# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""How a memory renders its rows, and writes one frame."""

from __future__ import annotations

import torch
from torch import Tensor

from mirage_kernels import Cameras, InsertCounts, Splat, associate

from ..geometry.grids import masked_cells
from ..geometry.hole_filling import fill_from_far_side
from .changes import AtomicMemory
from .frames import NewFrame, UnprojectedFrame, unproject_frames
from .view_rule import CLOSER_LOOK, SAME_SURFACE

TOUCHING = 0.5  # half-size, in footprints, of squares that just touch their neighbors


class FrameWriting(AtomicMemory):
    """Rendering of the rows, and the frames that are written where they leave something to write."""

    def _render(self, cameras: Cameras, *, filled: bool, finer: bool = False, near: float = 1e-6) -> Splat:
        current, superseded, guessed = self._layers.split(len(self))
        return self.cache.splat_surface(
            cameras,
            valid=current,
            behind=superseded,
            below=guessed if filled else None,
            first_scale=min(TOUCHING, self.cache.extent_scale) if finer else 0.0,
            tolerance=SAME_SURFACE,
            near=near,
        )

    def _write_frame(self, frame: NewFrame, fill_depth: bool) -> int:
        if frame.unprojected is None:
            added, surface = self._write_holes(frame, frame.mask)
        else:
            added, surface = self._write_surface(frame.unprojected, frame.local, frame.stamp)
            if fill_depth:
                cells, mask = surface.isfinite(), frame.mask
                if mask is not None:
                    cells = cells | (mask if mask.shape == cells.shape else masked_cells(mask, frame.local.size))
                added += self._write_holes(frame, cells)[0]
        if frame.past is not None:
            self.history.add(frame.past, frame.camera, surface, frame.stamp, self.cache.xyz, self._seen)
        return added

    def _write_surface(self, unprojected: UnprojectedFrame, camera: Cameras, stamp: int) -> tuple[int, Tensor]:
        """Write a frame with depth by the view rule; return the number of points added, and the surface observed."""
        is_written, superseded = self._decide(unprojected, camera)
        points = unprojected[0]
        counts = self._layers.insert(
            self.cache, (points.xyz, points.features, points.footprint), is_written, stamp, superseded
        )
        self._follow(counts)
        return counts.added, unprojected[2]

    def _decide(self, unprojected: UnprojectedFrame, camera: Cameras) -> tuple[Tensor, Tensor]:
        """Return the cells that the view rule writes, (h * w,) bool, and the rows that they supersede, int64."""
        points, valid, depth = unprojected
        if not len(self):  # nothing is rendered
            return valid.flatten(), torch.zeros(0, dtype=torch.int64, device=valid.device)
        rendered = self._render(camera, filled=False)
        surfaces, past_cameras = self.history.observed()
        number = associate(
            *(points.xyz, depth.flatten(), points.footprint, rendered, self.cache.footprint),
            valid=valid.flatten(),
            past=surfaces,
            past_cameras=past_cameras,
            tolerance=SAME_SURFACE,
            closer=CLOSER_LOOK,
        )
        return number > 0, rendered.index.flatten()[number == 2]

    def _write_holes(self, frame: NewFrame, mask: Tensor | None) -> tuple[int, Tensor]:
        """Write a frame without depth where the memory renders holes; return as :meth:`_write_surface`."""
        view = self._render(frame.local, filled=True)
        depth, masks = fill_from_far_side(view.depth), None if mask is None else mask[None]
        placement = self.history.placement
        points, valid, cell_depth = unproject_frames(frame.latent[:, None], frame.local, depth, masks, placement)[0]
        # None of them may occlude what a frame has observed.
        holes, extent = valid & ~view.mask[0], self.cache.extent_scale * points.footprint
        is_written = holes.flatten() & ~self.history.find_occluders(points.xyz, extent, holes.flatten())
        operands = (points.xyz, points.features, points.footprint)
        counts = self._layers.insert_filled(self.cache, operands, is_written, frame.stamp)
        self._follow(counts)
        if counts.rejected:
            is_written &= points.features.isfinite().all(1)
        return counts.added, torch.where(is_written.reshape(holes.shape), cell_depth, view.depth[0])

    def _follow(self, counts: InsertCounts) -> None:
        if counts.remap is not None:
            self._seen.remap(counts.remap)
