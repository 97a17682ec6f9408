# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The result of reading a memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras, Splat, VoxelCache, blend_cells, cell_offsets


class MemoryView(NamedTuple):
    """A memory rendered from T cameras over a grid (h, w).

    Attributes:
        latents: (C, T, h, w) in the memory's dtype; zeros in holes. C = 0 if they were not requested.
        mask: (T, h, w) bool, True where the memory renders a point, False in holes.
        depth: (T, h, w) float32 z-depth in world units; +inf in holes.
        footprint: (T, h, w) float32, width of the rendered latent cell when it was written, in world units at its depth
            (depth divided by the focal length in cells); +inf in holes.
        stamp: (T, h, w) int64, stamp of the frame that wrote the point; -1 in holes.
        row: (T, h, w) int64, row of the point in the memory's cache; -1 in holes. Rows move when the memory
            changes.
        offset: (2, T, h, w) float32, where the point lies: columns and rows from the center of its cell; 0 in holes.
            (0, T, h, w) if it was not requested.
    """

    latents: Tensor
    mask: Tensor
    depth: Tensor
    footprint: Tensor
    stamp: Tensor
    row: Tensor
    offset: Tensor


def make_view(
    cache: VoxelCache, rendered: Splat, cameras: Cameras, *, latents: bool, offsets: bool, band: float | None
) -> MemoryView:
    """Look up what a view shows of rows.

    Args:
        cache: the rows.
        rendered: depth and index of T cameras, without features.
        cameras: the cameras, where the rows lie.
        latents: whether to gather the latents.
        offsets: whether to compute offsets.
        band: band of depths in which latents are blended; None does not blend them.
    """
    offset = rendered.depth.new_empty(len(rendered.depth), 0, *rendered.depth.shape[1:])
    if offsets or (latents and band is not None):
        offset = cell_offsets(cache.xyz, rendered.index, cameras)
    mask, winner = rendered.mask, rendered.index.clamp(min=0)
    features = cache.feature_maps(rendered.index) if latents else rendered.features
    if latents and band is not None:
        features = blend_cells(features, offset, rendered.depth, band=band)
    footprint = cache.footprint[winner] if len(cache) else rendered.depth
    stamp = cache.stamp[winner] if len(cache) else rendered.index
    return MemoryView(
        features.movedim(0, 1),
        mask,
        rendered.depth,
        torch.where(mask, footprint, torch.inf),
        torch.where(mask, stamp, -1),
        rendered.index,
        (offset if offsets else offset[:, :0]).movedim(1, 0),
    )
