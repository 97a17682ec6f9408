# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The memories that :mod:`.novel_view` compares: the latent spatial memory with one thing changed at a time, simpler
maps of latents, and colored points."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, Points, Pooling, VoxelCache, pool_depth, splat, unproject

from ..filters import ConsistencyFilter, EdgeFilter, Filters, MotionFilter
from ..memory import LatentSpatialMemory
from ..rollout import Codec, MemoryWriter
from .baselines.rgb_cloud import RgbCloud, as_bytes
from .colored_memory import render_colored

__all__ = ["MEMORIES", "Seen", "Shown", "ViewMemory"]

MARKS = 4  # channels: the true point (x, y, z), and whether it moves


class Seen(NamedTuple):
    """A frame that memories are given.

    Attributes:
        latents: (C, 1, h, w).
        image: (3, H, W), values 0 to 1.
        depth: (H, W) float32 z-depth, 0 where unknown.
        camera: one camera over (H, W).
        exclude: (H, W) bool, pixels that are not remembered; None remembers all.
        stamp: number of the frame.
        marks: (4, 1, h, w) float32, for each cell the true point that it shows, and 1 if it moves.
    """

    latents: Tensor
    image: Tensor
    depth: Tensor
    camera: Cameras
    exclude: Tensor | None
    stamp: int
    marks: Tensor


class Shown(NamedTuple):
    """What a memory shows of a grid (h, w).

    Attributes:
        latents: (C, h, w), zeros in holes.
        mask: (h, w) bool, False in holes.
        depth: (h, w), +inf in holes.
    """

    latents: Tensor
    mask: Tensor
    depth: Tensor


class ViewMemory(Protocol):
    """A memory of frames."""

    def write(self, seen: Seen) -> None:
        """Remember a frame."""

    def read(self, camera: Cameras) -> Shown:
        """Render it for a camera over the grid."""

    def read_marks(self, camera: Cameras) -> tuple[Tensor, Tensor] | None:
        """Tell what the cells show, of N that are not in holes.

        Returns:
            (N,) the distance in the image, in cells, of their points from the true ones; and (N,) bool, whether they
            move. None if the memory cannot tell.
        """

    @property
    def points(self) -> int:
        """Number of points."""

    @property
    def nbytes(self) -> int:
        """Bytes of the points."""


class _Spatial:
    """:class:`mirage.memory.LatentSpatialMemory`, and another one of marks that is written in the same way."""

    def __init__(
        self,
        codec: Codec,
        *,
        pooling: Pooling = "median",
        filters: Filters | None = None,
        masked: bool = True,
        reading: Literal["nearest", "blended", "rendered"] = "nearest",
        **options: Any,
    ) -> None:
        self._codec, self._pooling, self._reading, self._masked = codec, pooling, reading, masked
        self._memory = LatentSpatialMemory(codec.channels, codec=codec.name, **options)
        self._marks = LatentSpatialMemory(MARKS, **{**options, "storage": None})
        self._writers = [MemoryWriter(memory, filters=filters) for memory in (self._memory, self._marks)]

    def write(self, seen: Seen) -> None:
        depth = seen.depth
        if self._pooling != "median":  # the memory takes the median of equal values
            pooled = pool_depth(depth[None], grid_of(seen), pooling=self._pooling)
            depth = nnf.interpolate(pooled[None], seen.camera.size, mode="nearest-exact")[0, 0]
        exclude = None if seen.exclude is None or not self._masked else seen.exclude[None]
        for writer, latents in zip(self._writers, (seen.latents, seen.marks), strict=True):
            writer.write(
                latents, seen.image[:, None], seen.camera, depth=depth[None], exclude=exclude, stamps=[seen.stamp]
            )

    def read(self, camera: Cameras) -> Shown:
        if self._reading == "rendered":
            view = self._codec.render(self._memory, camera)  # type: ignore[attr-defined]
        else:
            view = self._memory.read(camera, blend=self._reading == "blended")
        return Shown(view.latents[:, 0], view.mask[0], view.depth[0])

    def read_marks(self, camera: Cameras) -> tuple[Tensor, Tensor]:
        view, memory = self._marks.read(camera), self._marks
        shown = memory.cache.xyz[view.row[0][view.mask[0]]], memory.history.to_local(camera)
        return _compare_marks(*shown, view.latents[:, 0][:, view.mask[0]], camera)

    @property
    def points(self) -> int:
        return len(self._memory)

    @property
    def nbytes(self) -> int:
        return bytes_of(self._memory.cache)


class _Voxels:
    """Voxels of a fixed size, and others of marks. Every cell with depth is written."""

    def __init__(self, codec: Codec, voxel_size: float, fusion: Literal["best", "latest", "mean"] = "best") -> None:
        self._cache = VoxelCache(voxel_size, codec.channels, fusion=fusion)
        self._marks = VoxelCache(voxel_size, MARKS, fusion=fusion)

    def write(self, seen: Seen) -> None:
        for cache, latents in ((self._cache, seen.latents), (self._marks, seen.marks)):
            p = unproject_seen(seen, latents)
            cache.insert(p.xyz, p.features, p.footprint, valid=p.valid, stamp=seen.stamp)

    def read(self, camera: Cameras) -> Shown:
        made = self._cache.splat(camera)
        return Shown(made.features[0], made.mask[0], made.depth[0])

    def read_marks(self, camera: Cameras) -> tuple[Tensor, Tensor]:
        made = self._marks.splat(camera)
        shown = self._marks.xyz[made.index[0][made.mask[0]]]
        return _compare_marks(shown, camera, made.features[0][:, made.mask[0]], camera)

    @property
    def points(self) -> int:
        return len(self._cache)

    @property
    def nbytes(self) -> int:
        return bytes_of(self._cache)


class _AppendOnly:
    """All cells with depth as points, as the released code keeps them, but with exact placement and z-buffer."""

    def __init__(self, codec: Codec) -> None:
        self._channels = codec.channels
        self._xyz = torch.zeros(0, 3, dtype=torch.float32, device="cpu")
        self._features = torch.zeros(0, codec.channels + MARKS, dtype=torch.float32, device="cpu")

    def write(self, seen: Seen) -> None:
        p = unproject_seen(seen, torch.cat([seen.latents, seen.marks]))
        self._xyz = torch.cat([self._xyz, p.xyz[p.valid]])
        self._features = torch.cat([self._features, p.features[p.valid]])

    def read(self, camera: Cameras) -> Shown:
        made = splat(self._xyz, self._features, camera)
        return Shown(made.features[0, : self._channels], made.mask[0], made.depth[0])

    def read_marks(self, camera: Cameras) -> tuple[Tensor, Tensor]:
        made = splat(self._xyz, self._features[:, self._channels :], camera)
        return _compare_marks(self._xyz[made.index[0][made.mask[0]]], camera, made.features[0][:, made.mask[0]], camera)

    @property
    def points(self) -> int:
        return len(self._xyz)

    @property
    def nbytes(self) -> int:
        return self.points * 4 * (3 + self._channels)


class _Colored:
    """All pixels with depth as colored points, rendered as images and encoded again."""

    def __init__(self, codec: Codec) -> None:
        self._codec, self._cloud = codec, RgbCloud(0)

    def write(self, seen: Seen) -> None:
        depth = seen.depth if seen.exclude is None else torch.where(seen.exclude, 0, seen.depth)
        self._cloud.reserve(len(self._cloud) + int((depth > 0).sum()))
        self._cloud.write(as_bytes(seen.image)[None], depth[None], seen.camera)

    def read(self, camera: Cameras) -> Shown:
        latents, mask, depth = render_colored(self._cloud, self._codec, camera)
        return Shown(latents[:, 0], mask[0], depth[0])

    def read_marks(self, camera: Cameras) -> None:  # noqa: ARG002
        return None

    @property
    def points(self) -> int:
        return len(self._cloud)

    @property
    def nbytes(self) -> int:
        return self._cloud.nbytes


def grid_of(seen: Seen) -> tuple[int, int]:
    """The grid (h, w) of a frame's latents."""
    return seen.latents.shape[2], seen.latents.shape[3]


def unproject_seen(seen: Seen, latents: Tensor) -> Points:
    """The cells of a frame as points, with latents (C, 1, h, w)."""
    exclude = None if seen.exclude is None else seen.exclude[None]
    return unproject(seen.depth[None], latents.movedim(1, 0), seen.camera, mask=exclude)


def bytes_of(cache: VoxelCache) -> int:
    """Bytes of the rows, without spare capacity."""
    small = cache.clone()
    small.shrink_to_fit()
    return small.nbytes


def _compare_marks(xyz: Tensor, local: Cameras, marks: Tensor, camera: Cameras) -> tuple[Tensor, Tensor]:
    """See :meth:`ViewMemory.read_marks`.

    Args:
        xyz: (N, 3), the points that the cells show.
        local: the camera where those lie.
        marks: (4, N) of them.
        camera: the camera in the world.
    """
    shown, true = local.project(xyz)[0][0], camera.project(marks[:3].T.contiguous())[0][0]
    return (shown - true).norm(dim=1), marks[3] > 0.5


FILTERS = Filters([EdgeFilter(), ConsistencyFilter()])
WITH_MOTION = Filters([EdgeFilter(), ConsistencyFilter(), MotionFilter()])
# What is changed, by name. The first one is the memory of `mirage remember`.
MEMORIES: dict[str, Callable[[Codec], ViewMemory]] = {
    "default": partial(_Spatial, filters=FILTERS),
    "blended": partial(_Spatial, filters=FILTERS, reading="blended"),
    "rendered": partial(_Spatial, filters=FILTERS, reading="rendered"),
    "points": partial(_Spatial, filters=FILTERS, extent_scale=0.0),
    "int8": partial(_Spatial, filters=FILTERS, storage="int8"),
    "no-filters": _Spatial,
    "motion-filter": partial(_Spatial, filters=WITH_MOTION),
    "no-masks": partial(_Spatial, filters=FILTERS, masked=False),
    "no-masks-motion-filter": partial(_Spatial, filters=WITH_MOTION, masked=False),
    "nearest-depth": partial(_Spatial, filters=FILTERS, pooling="nearest"),
    "minimum-depth": partial(_Spatial, filters=FILTERS, pooling="min"),
    "bilinear-depth": partial(_Spatial, filters=FILTERS, pooling="bilinear"),
    "release-placement": partial(_Spatial, filters=FILTERS, placement="release"),
    "voxels-2cm": partial(_Voxels, voxel_size=0.02),
    "voxels-5cm": partial(_Voxels, voxel_size=0.05),
    "voxels-10cm": partial(_Voxels, voxel_size=0.10),
    "voxels-5cm-mean": partial(_Voxels, voxel_size=0.05, fusion="mean"),
    "voxels-5cm-latest": partial(_Voxels, voxel_size=0.05, fusion="latest"),
    "append-only": _AppendOnly,
    "colored": _Colored,
}
