# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Change from frame to frame that the camera does not explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import unproject

from ..geometry.components import complete_objects
from ..geometry.grids import cells_of, grow, masked_cells, valid_depth
from .observation import FrameObservation, Observation, Reason


class _Warp(NamedTuple):
    """Where N pixels of a frame stand in another one, (N,) each.

    ``depth`` is the pixel's, to the other camera; ``surface`` the nearest that one saw around the place, NaN
    where unknown; ``change`` how far the colour lies outside of those around the place.
    """

    depth: Tensor
    surface: Tensor
    change: Tensor


@dataclass(frozen=True)
class MotionFilter:
    """Marks what other frames contradict, once the camera's own motion is taken out.

    Every pixel is lifted by its depth and looked up in every other frame. There it is

    * **seen through**, if that frame saw a surface behind it: it was not there, so it moves;
    * **hidden**, if that frame saw something nearer: excused, whatever its colour;
    * **seen**, if the depths agree: then it moves if the colour has changed in most of the frames that see it.

    Colours are held against all those within ``window`` pixels of the place, so that a small error of pose or depth
    along an edge is no change. A change is large by comparison with the frame's own: more than ``sigmas`` robust
    standard deviations (1.4826 times the median absolute one; Rousseeuw and Croux 1993), and no less than ``least``.

    Attributes:
        tolerance: share of the depth by which a surface must lie behind.
        sigmas: see above.
        least: see above, of a range of 0 to 1.
        window: pixels.
        step: one pixel in so many, along each axis, is looked at and stands for those around it.
        whole: of something that hangs together in depth, all is marked when more than this share is.
        max_masked: single pixels are often wrong, so it takes a share of a cell.
    """

    reason: ClassVar[Reason] = Reason.MOVING
    tolerance: float = 0.1
    sigmas: float = 6.0
    least: float = 0.15
    window: int = 3
    step: int = 2
    whole: float = 0.3
    max_masked: float = 0.25

    def __call__(self, observation: Observation) -> Tensor:
        size, depth, step = observation.size, observation.depth, self.step
        moving = torch.zeros(size, dtype=torch.bool, device=observation.frame.device)
        if depth is None or not observation.others:
            return masked_cells(moving, observation.grid)
        points = unproject(depth[None].contiguous(), depth.new_zeros(1, 0, *size), observation.camera)
        valid = points.valid.reshape(size)[::step, ::step]
        at = valid.nonzero()
        xyz = points.xyz.reshape(*size, 3)[::step, ::step][valid]
        colour = observation.frame[:, ::step, ::step][:, valid]
        through = torch.zeros(len(xyz), dtype=torch.bool, device=xyz.device)
        seen, changed = torch.zeros(2, len(xyz), dtype=torch.int32, device=xyz.device)
        for other in observation.others:
            warp = self._warp(xyz, colour, other)
            # NaN, where nothing is known, compares False
            through |= warp.depth < warp.surface * (1 - self.tolerance)
            agrees = (warp.depth - warp.surface).abs() <= self.tolerance * warp.surface
            seen += agrees
            changed += agrees & self._has_changed(warp.change, agrees)
        row, column = (at[through | (2 * changed > seen)] * step).unbind(1)
        moving[row, column] = True
        cells = masked_cells(grow(moving, step // 2), observation.grid, self.max_masked)
        return complete_objects(cells, cells_of(depth, observation.camera, observation.grid).depth, self.whole)

    def _warp(self, xyz: Tensor, colour: Tensor, other: FrameObservation) -> _Warp:
        height, width = other.camera.size
        uv, z, inside = other.camera.project(xyz)
        column, row = torch.where(inside[0, :, None], uv[0], 0).long().unbind(-1)
        place = row * width + column
        before = torch.where(valid_depth(other.depth), other.depth, torch.inf).reshape(1, 1, height, width)
        surface = -self._highest(-before).flatten()[place]
        known = inside[0] & before.flatten()[place].isfinite()
        high, low = (s * self._highest(s * other.frame[None]).reshape(3, -1)[:, place] for s in (1, -1))
        change = torch.maximum(colour - high, low - colour).clamp(min=0).amax(0)
        return _Warp(z[0], torch.where(known, surface, torch.nan), change)

    def _highest(self, planes: Tensor) -> Tensor:
        """The highest value (1, C, H, W) within the window."""
        side, reach = 2 * self.window + 1, self.window
        rows = nnf.max_pool2d(planes, (1, side), 1, (0, reach))
        return nnf.max_pool2d(rows, (side, 1), 1, (reach, 0))

    def _has_changed(self, change: Tensor, among: Tensor) -> Tensor:
        if not among.any():
            return among
        spread = 1.4826 * change[among].median().item()
        return change > max(self.sigmas * spread, self.least)
