# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A model whose memory holds colored points, as in published world models: rendered as images, and encoded again."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, pool_depth

from ..memory import LatentSpatialMemory, MemoryView
from ..rollout import Chunk, Codec
from .baselines.rgb_cloud import RgbCloud, as_bytes

__all__ = ["ColoredCodec"]

MIN_COVERAGE = 0.5  # share of a cell's pixels that points must cover for the cell to count as known
AROUND = 5  # pixels: side of the square whose colors fill a hole between points


class ColoredCodec:
    """A codec whose :meth:`render` shows colored points instead of the latents of a memory.

    A :class:`mirage.rollout.RolloutSession` with it conditions its model on images of the points, encoded by the codec.
    The memory goes on beside them: it gives the depth of new frames, and references. Pixels become points where the
    points leave holes.

    Args:
        codec: encodes the images.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec, self.cloud = codec, RgbCloud(0)
        self.name, self.channels = codec.name, codec.channels
        self.spatial_stride, self.temporal_stride = codec.spatial_stride, codec.temporal_stride
        self.encode, self.decode = codec.encode, codec.decode

    def start(self, image: Tensor, depth: Tensor, camera: Cameras, exclude: Tensor | None) -> None:
        """Write the image that a walk starts from; see :class:`mirage.rollout.RolloutSession`."""
        known = depth if exclude is None else torch.where(exclude, 0, depth)
        self._write(image, known, camera)

    def add(self, chunk: Chunk, memory: LatentSpatialMemory) -> None:
        """Write the frames of a chunk's latents, at the depth that the memory renders now, where points leave holes."""
        # The frames of a chunk that is not the first one begin after the last latent of the chunk before.
        of_latents = slice(self.temporal_stride - 1 if chunk.start else 0, None, self.temporal_stride)
        frames, cameras = chunk.frames[:, of_latents], chunk.cameras[of_latents].to("cpu")
        for t in range(len(cameras)):
            holes = ~self.cloud.render(cameras[t]).depth.isfinite()
            depth = memory.read(self._over_cells(cameras[t]).to(memory.device), latents=False).depth.cpu()
            full = nnf.interpolate(depth[None], cameras.size, mode="nearest-exact")[0]
            written = torch.where(holes & full.isfinite(), full, 0)
            self._write(frames[:, t], written[0], cameras[t])

    def _write(self, image: Tensor, depth: Tensor, camera: Cameras) -> None:
        self.cloud.reserve(len(self.cloud) + int((depth > 0).sum()))
        self.cloud.write(as_bytes(image)[None].cpu(), depth[None].cpu(), camera.to("cpu"))

    def _over_cells(self, cameras: Cameras) -> Cameras:
        return cameras.rescale((cameras.size[0] // self.spatial_stride, cameras.size[1] // self.spatial_stride))

    def render(self, memory: LatentSpatialMemory, cameras: Cameras) -> MemoryView:
        """Render the points for cameras over the grid of latents; see :class:`mirage.rollout.Codec`."""
        view = memory.read(cameras, latents=False)
        latents, mask, depth = render_colored(self.cloud, self._codec, cameras)
        device = memory.device
        return view._replace(latents=latents.to(device), mask=mask.to(device), depth=depth.to(device))


def render_colored(cloud: RgbCloud, codec: Codec, cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Render colored points and encode the images.

    Args:
        cloud: the points.
        codec: encodes the images.
        cameras: V cameras over the grid (h, w) of latents.

    Returns:
        Latents (C, V, h, w), zeros in holes; mask (V, h, w) bool, False in holes; depth (V, h, w), +inf in holes.
    """
    h, w = cameras.size
    rendered = cloud.render(cameras.to("cpu").rescale((h * codec.spatial_stride, w * codec.spatial_stride)))
    shown = rendered.depth.isfinite()
    mask = nnf.avg_pool2d(shown.float(), codec.spatial_stride) >= MIN_COVERAGE
    images = fill_small_holes(rendered.images, shown)
    latents = codec.encode(images[:, :, None].to(cameras.device))[:, :, 0].movedim(1, 0)
    mask = mask.to(latents.device)
    depth = pool_depth(torch.where(shown, rendered.depth, 0), cameras.size).to(latents.device)
    return torch.where(mask, latents, 0), mask, torch.where(mask, depth, torch.inf)


def fill_small_holes(images: Tensor, shown: Tensor) -> Tensor:
    """Give pixels that no point covers the mean color of the covered ones around them; black far from any.

    Args:
        images: (V, 3, H, W).
        shown: (V, H, W) bool, the pixels that points cover.
    """
    weight = shown[:, None].float()
    covered = nnf.avg_pool2d(weight, AROUND, stride=1, padding=AROUND // 2)
    colors = nnf.avg_pool2d(images * weight, AROUND, stride=1, padding=AROUND // 2)
    return torch.where(shown[:, None], images, colors / covered.clamp(min=1e-6))
