# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Moving objects, detected by comparison with other frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from ..geometry.components import complete_objects
from ..geometry.grids import cells_of, flat_index, grow, masked_cells, unproject_depth, valid_depth
from .observation import FrameObservation, Observation, Reason
from .settings import FRACTION, MAX_PIXELS, check_settings


class _Warp(NamedTuple):
    """N pixels of a frame, projected to another frame.

    Attributes:
        depth: (N,) depth of the pixel in the other camera.
        surface: (N,) smallest depth that the other frame has in the window around the projection; NaN if the pixel
            projects outside the frame or on an invalid depth.
        change: (N,) largest distance over the channels to the range of colors in that window, 0 within the range.
    """

    depth: Tensor
    surface: Tensor
    change: Tensor


@dataclass(frozen=True)
class MotionFilter:
    """Marks moving objects: pixels that contradict other frames after the camera motion is compensated.

    Each pixel is unprojected with its depth and projected to every other frame. In a frame it is one of:

    * **seen through**: the frame saw a surface behind the pixel's position. The position was free, so the pixel is
      marked;
    * **occluded**: the frame saw a nearer surface; the frame is ignored for this pixel;
    * **visible**: the depths agree. The pixel is marked if its color changed in more than half of these frames.

    A color is compared with the range of colors within ``window`` pixels of the projection, so that small errors of
    pose or depth at an edge are not a change. A change counts if it exceeds both ``sigmas`` robust standard deviations
    of the changes in that frame (1.4826 times the median absolute deviation; Rousseeuw and Croux 1993) and
    ``min_change``.

    Attributes:
        tolerance: fraction of the depth by which a surface must lie behind a pixel that is seen through.
        sigmas: threshold of a color change, in robust standard deviations.
        min_change: smallest color change that counts, 0 to 1.
        window: radius of the window, in pixels.
        step: only every ``step``-th pixel along each axis is tested; it decides for the pixels around it.
        component_fraction: a connected component of the depth map is marked entirely if more than this fraction of its
            cells is marked.
        max_masked: largest fraction of marked pixels in a cell that is kept; above 0, because single pixels are often
            wrong.

    Raises:
        DataError: a setting is out of range.
    """

    reason: ClassVar[Reason] = Reason.MOVING
    tolerance: float = 0.1
    sigmas: float = 6.0
    min_change: float = 0.15
    window: int = 3
    step: int = 2
    component_fraction: float = 0.3
    max_masked: float = 0.25

    def __post_init__(self) -> None:
        check_settings(
            self,
            tolerance=FRACTION,
            sigmas=(0.0, 1e6),
            min_change=FRACTION,
            window=(0, MAX_PIXELS),
            step=(1, MAX_PIXELS),
            component_fraction=FRACTION,
        )

    def __call__(self, observation: Observation) -> Tensor:
        size, depth, step = observation.size, observation.depth, self.step
        moving = torch.zeros(size, dtype=torch.bool, device=observation.frame.device)
        if depth is None or not observation.others:
            return masked_cells(moving, observation.grid)
        points = unproject_depth(depth[None], observation.camera, size)
        valid = points.valid.reshape(size)[::step, ::step]
        index = valid.nonzero()
        xyz = points.xyz.reshape(*size, 3)[::step, ::step][valid]
        color = observation.frame[:, ::step, ::step][:, valid]
        seen_through = torch.zeros(len(xyz), dtype=torch.bool, device=xyz.device)
        visible, changed = torch.zeros(2, len(xyz), dtype=torch.int32, device=xyz.device)
        for other in observation.others:
            warp = self._warp(xyz, color, other)
            # An unknown surface is NaN and compares False.
            seen_through |= warp.depth < warp.surface * (1 - self.tolerance)
            agrees = (warp.depth - warp.surface).abs() <= self.tolerance * warp.surface
            visible += agrees
            changed += agrees & self._has_changed(warp.change, agrees)
        row, column = (index[seen_through | (2 * changed > visible)] * step).unbind(1)
        moving[row, column] = True
        cells = masked_cells(grow(moving, step // 2), observation.grid, self.max_masked)
        cell_depth = cells_of(depth, observation.camera, observation.grid).depth
        return complete_objects(cells, cell_depth, self.component_fraction)

    def _warp(self, xyz: Tensor, color: Tensor, other: FrameObservation) -> _Warp:
        height, width = other.camera.size
        uv, z, in_bounds = other.camera.project(xyz)
        pixel = flat_index(uv[0], in_bounds[0], width)
        depth = torch.where(valid_depth(other.depth), other.depth, torch.inf).reshape(1, 1, height, width)
        surface = -self._window_max(-depth).flatten()[pixel]
        valid = in_bounds[0] & depth.flatten()[pixel].isfinite()
        high, low = (s * self._window_max(s * other.frame[None]).reshape(3, -1)[:, pixel] for s in (1, -1))
        change = torch.maximum(color - high, low - color).clamp(min=0).amax(0)
        return _Warp(z[0], torch.where(valid, surface, torch.nan), change)

    def _window_max(self, planes: Tensor) -> Tensor:
        """Largest value (1, C, H, W) within the window."""
        side, radius = 2 * self.window + 1, self.window
        rows = nnf.max_pool2d(planes, (1, side), 1, (0, radius))
        return nnf.max_pool2d(rows, (side, 1), 1, (radius, 0))

    def _has_changed(self, change: Tensor, visible: Tensor) -> Tensor:
        if not visible.any():
            return visible
        deviation = 1.4826 * change[visible].median().item()
        return change > max(self.sigmas * deviation, self.min_change)
