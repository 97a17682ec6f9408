# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A memory as colored points."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from mirage_kernels import check

from ..memory import LatentSpatialMemory
from ..rollout import Codec
from .colors import ComponentColors, decode_cells, stamp_colors

Coloring = Literal["image", "components", "frame"]
COLORINGS: tuple[Coloring, ...] = get_args(Coloring)


class PointCloud(NamedTuple):
    """Colored points of a memory, in the order of their rows.

    Attributes:
        xyz: (M, 3) float32, world units relative to the memory's ``history.origin``.
        colors: (M, 3) uint8.
        size: (M,) float32, side of the square that a point stands for, world units.
        stamp: (M,) int64, stamp of the frame that wrote the point.
    """

    xyz: Tensor
    colors: Tensor
    size: Tensor
    stamp: Tensor

    def select(self, chosen: Tensor) -> PointCloud:
        """Select points.

        Args:
            chosen: (M,) bool, or indices.
        """
        return PointCloud(*(part[chosen] for part in self))


def make_point_cloud(
    memory: LatentSpatialMemory, codec: Codec | None = None, *, color: Coloring = "image", detail: int = 1
) -> PointCloud:
    """Convert the rows of a memory to colored points.

    Args:
        memory: the memory.
        codec: decodes single cells, see :func:`mirage.viewer.colors.decode_cells`; needed for ``"image"``.
        color: ``"image"`` decodes the latents, ``"components"`` shows their three principal components, and ``"frame"``
            when a row was written.
        detail: points per side of a cell, at most the codec's ``spatial_stride``: a cell is a square that faces the
            camera of its frame. For a frame that has left the history, the camera of the one nearest to it in time is
            taken.

    Returns:
        ``len(memory) * detail**2`` points on the CPU.

    Raises:
        TypeError, ValueError: an argument has the wrong type or value.

    Example:
        >>> from mirage import DctCodec
        >>> from mirage_kernels import Cameras
        >>> camera = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> codec = DctCodec(block=16)
        >>> memory = LatentSpatialMemory(codec.channels, codec=codec.name)
        >>> red = torch.tensor([1.0, 0, 0])[None, :, None, None, None].expand(1, 3, 1, 96, 128)
        >>> memory.write(codec.encode(red)[0], camera, torch.full((1, 96, 128), 2.0))
        [48]
        >>> cloud = make_point_cloud(memory, codec, detail=2)
        >>> len(cloud.xyz), cloud.colors[0].tolist(), cloud.size[0].item()
        (192, [255, 0, 0], 0.25)
    """
    check.choice("color", color, COLORINGS)
    check.integer("detail", detail, 1, 64 if codec is None else codec.spatial_stride)
    if color == "image" and codec is None:
        raise check.value_error("codec", "a codec for color 'image'", None)
    with memory.lock:
        cache = memory.cache
        latents = cache.features()
        xyz, footprint, stamp = (part.cpu() for part in (cache.xyz, cache.footprint, cache.stamp))
        axes = _image_axes(memory, stamp)
    if color == "image":
        assert codec is not None
        colors = decode_cells(latents, codec, detail).reshape(-1, 3).cpu()
    else:
        whole = ComponentColors(latents)(latents) if color == "components" else stamp_colors(stamp)
        colors = whole.repeat_interleave(detail**2, 0)
    place = (torch.arange(detail, dtype=torch.float32, device="cpu") + 0.5) / detail - 0.5
    v, u = (part.flatten() for part in torch.meshgrid(place, place, indexing="ij"))
    offset = axes[:, None, :, 0] * u[:, None] + axes[:, None, :, 1] * v[:, None]  # (N, detail^2, 3)
    points = xyz[:, None] + footprint[:, None, None] * offset
    return PointCloud(
        points.reshape(-1, 3),
        (colors.clamp(0, 1) * 255).round().to(torch.uint8),
        (footprint / detail).repeat_interleave(detail**2),
        stamp.repeat_interleave(detail**2),
    )


def _image_axes(memory: LatentSpatialMemory, stamp: Tensor) -> Tensor:
    """The directions (N, 3, 2) of the columns and rows of the image that each point was seen in."""
    history = memory.history
    if history.cameras is None:
        return torch.eye(3, dtype=torch.float32, device="cpu")[:, :2].expand(len(stamp), 3, 2)
    axes = history.cameras.cam2world[:, :3, :2].cpu()
    stamps, order = history.stamps.cpu().sort()
    after = torch.searchsorted(stamps, stamp).clamp(max=len(stamps) - 1)
    before = (after - 1).clamp(min=0)
    nearest = torch.where(stamp - stamps[before] < (stamps[after] - stamp).abs(), before, after)
    return axes[order[nearest]]
