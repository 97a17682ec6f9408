# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Depth that is there already: recorded, or remembered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..errors import DataError
from ..geometry.grids import resize_depth
from ..geometry.hole_filling import fill_from_far_side
from ..io.files import read_depth
from .estimator import DepthEstimate, check_frames, make_estimate

if TYPE_CHECKING:
    from ..memory import LatentSpatialMemory


class RecordedDepth:
    """Hands out recorded depth maps in order, as many as it is shown frames.

    Args:
        depth: (F, H, W) float32 z-depth, such as that of :func:`mirage.recordings.hololens.read_rgbd` or
            :func:`mirage.data.geometry.read_geometry`; not finite or not positive where there is none.
        metric: whether it is in the unit of the poses.

    Attributes:
        frame: number of the next frame; may be set.
    """

    name = "given"

    def __init__(self, depth: Tensor, *, metric: bool = True) -> None:
        if depth.dim() != 3 or not depth.is_floating_point():
            raise ValueError(f"depth: expected floats (F, H, W), got {depth.dtype} {tuple(depth.shape)}")
        self.depth, self.metric, self.frame = depth, metric, 0

    @classmethod
    def from_files(cls, paths: Sequence[str | Path], *, metric: bool = True) -> RecordedDepth:
        """Read a depth map a frame; see :func:`mirage.io.files.read_depth`.

        Raises:
            DataError: naming the file that is missing, damaged, or of another size than the first.
        """
        maps: list[Tensor] = []
        for path in paths:
            maps.append(read_depth(path))
            if maps[-1].shape != maps[0].shape:
                raise DataError(f"{path}: expected {tuple(maps[0].shape)} like {paths[0]}, got {tuple(maps[-1].shape)}")
        if not maps:
            raise DataError("depth: expected at least one file, got none")
        return cls(torch.stack(maps), metric=metric)

    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """The depth of the next T frames, brought to their size.

        Raises:
            ValueError: more frames are shown than are left.
        """
        count, size = check_frames(frames, cameras)
        left = len(self.depth) - self.frame
        if count > left:
            raise ValueError(f"frames: expected at most {left}, for which depth is given, got {count}")
        depth = self.depth[self.frame : self.frame + count].to(frames.device)
        self.frame += count
        return make_estimate(resize_depth(depth, size), metric=self.metric)


class MemoryDepth:
    """The memory's own depth: what it shows to the cameras, and in holes the depth of the far side.

    It needs no network, and agrees with the memory by construction. What comes from holes is imagined: left to
    :meth:`mirage.memory.LatentSpatialMemory.write` without depth, nothing of it hides what a view saw.

    Args:
        memory: is read.
        stride: pixels a latent cell is wide and high.
    """

    name = "memory"

    def __init__(self, memory: LatentSpatialMemory, stride: int) -> None:
        self.memory, self.stride = memory, stride

    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """See :class:`mirage.depth.DepthEstimator`. A frame whose camera sees nothing has no valid depth."""
        _, (h, w) = check_frames(frames, cameras)
        if cameras is None:
            raise ValueError("cameras: expected one for each frame, got none")
        if h % self.stride or w % self.stride:
            raise ValueError(f"frames: expected H and W in steps of {self.stride}, got {(h, w)}")
        shown = self.memory.read(cameras.rescale((h // self.stride, w // self.stride))).depth
        return make_estimate(resize_depth(fill_from_far_side(shown), (h, w)).to(frames.device), metric=True)
