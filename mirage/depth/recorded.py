# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Depth estimators that need no network: recorded depth maps, and the memory's own depth."""

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
    """Returns recorded depth maps in order: each call gives the maps of the next T frames.

    Args:
        depth: (F, H, W) float32 z-depth, for example from :func:`mirage.recordings.hololens.read_rgbd` or
            :func:`mirage.data.geometry.read_geometry`; invalid where not finite or not positive.
        metric: whether it is in the unit of the camera poses.

    Attributes:
        frame: index of the next frame; may be set.

    Raises:
        ValueError: ``depth`` has another shape or is not a float tensor.
    """

    name = "recorded"

    def __init__(self, depth: Tensor, *, metric: bool = True) -> None:
        if depth.dim() != 3 or not depth.is_floating_point():
            raise ValueError(f"depth: expected float (F, H, W), got {depth.dtype} {tuple(depth.shape)}")
        self.depth, self.metric, self.frame = depth, metric, 0

    @classmethod
    def from_files(cls, paths: Sequence[str | Path], *, metric: bool = True) -> RecordedDepth:
        """Read one depth map per frame; see :func:`mirage.io.files.read_depth`.

        Args:
            paths: one file per frame, all of the same size.
            metric: whether the depth is in the unit of the camera poses.

        Raises:
            DataError: there are no files, or one is missing, damaged, or of another size than the first.
        """
        maps: list[Tensor] = []
        for path in paths:
            maps.append(read_depth(path))
            if maps[-1].shape != maps[0].shape:
                raise DataError(
                    f"{path}: expected size {tuple(maps[0].shape)} as in {paths[0]}, got {tuple(maps[-1].shape)}"
                )
        if not maps:
            raise DataError("depth: expected at least one file, got none")
        return cls(torch.stack(maps), metric=metric)

    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """Return the depth of the next T frames, resized to their size by nearest-neighbor sampling.

        Args:
            frames: (3, T, H, W); only their number and size matter.
            cameras: not used.

        Raises:
            ValueError: fewer than T depth maps are left.
        """
        count, size = check_frames(frames, cameras)
        left = len(self.depth) - self.frame
        if count > left:
            raise ValueError(f"frames: expected at most {left} (the number of depth maps left), got {count}")
        depth = self.depth[self.frame : self.frame + count].to(frames.device)
        self.frame += count
        return make_estimate(resize_depth(depth, size), metric=self.metric)


class MemoryDepth:
    """Renders depth from the memory; holes are filled with the depth of the background beside them.

    It needs no network, and agrees with the memory by construction. The depth of holes is a guess, and a call marks it
    as valid like the rest. :meth:`mirage.memory.LatentSpatialMemory.write` without depth uses the same guess, but never
    lets guessed points hide observed ones.

    Args:
        memory: the memory to read.
        stride: side of a latent cell, in pixels.
    """

    name = "memory"

    def __init__(self, memory: LatentSpatialMemory, stride: int) -> None:
        self.memory, self.stride = memory, stride

    def __call__(self, frames: Tensor, cameras: Cameras | None = None) -> DepthEstimate:
        """Render the depth of T frames; see :meth:`mirage.depth.DepthEstimator.__call__`. Cameras are required. A frame
        with no point of the memory in view has no valid depth.

        Raises:
            ValueError: there are no cameras, or H or W is not a multiple of the stride.
        """
        _, (h, w) = check_frames(frames, cameras)
        if cameras is None:
            raise ValueError("cameras: expected one per frame, got None")
        if h % self.stride or w % self.stride:
            raise ValueError(f"frames: expected H and W to be multiples of {self.stride}, got {(h, w)}")
        depth = self.memory.read(cameras.rescale((h // self.stride, w // self.stride))).depth
        return make_estimate(resize_depth(fill_from_far_side(depth), (h, w)).to(frames.device), metric=True)
