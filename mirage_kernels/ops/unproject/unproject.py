# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Unprojection of latent cells to 3D points, and pooling of depth maps to latent cells."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ... import _memory, check
from ..._modes import DEPTH_TYPES, POOLINGS, DepthType, Pooling
from ...cameras import Cameras, check_cameras_of_maps
from .unproject_inputs import depth_maps, depth_of_rays, latent_maps, mask_maps
from .unproject_operators import unproject_cells


class Points(NamedTuple):
    """Latent cells as N = B h w points, ordered by view, row and column.

    Attributes:
        xyz: (N, 3) float32, world units.
        features: (N, C), the features of the cells.
        valid: (N,) bool; where it is False, xyz, features and footprint are zero.
        footprint: (N,) float32, width of the cell at its depth, ``z / fx``, world units.
    """

    xyz: Tensor
    features: Tensor
    valid: Tensor
    footprint: Tensor


def unproject(
    depth: Tensor,
    features: Tensor | None,
    cameras: Cameras,
    *,
    mask: Tensor | None = None,
    pooling: Pooling = "median",
    min_valid: int = 1,
    max_masked: float = 0.0,
    depth_type: DepthType = "z",
    grid: tuple[int, int] | None = None,
) -> Points:
    """Unproject the center of every latent cell to a 3D point, at the depth that the depth map has in the cell.

    Pixel (r, c) belongs to cell (((2r + 1) h) // (2H), ((2c + 1) w) // (2W)), which is the cell its center falls into.
    H and W need not be multiples of h and w. Bilinear resampling of depth creates surfaces between foreground and
    background; the median never does. A cell is valid if it has at least ``min_valid`` usable pixels (depth finite and
    positive, not masked) and at most the fraction ``max_masked`` of its pixels is masked. If the grid is finer than the
    depth map, cells without a pixel are not valid.

    Gradients flow to ``features``, and to ``depth`` through ``xyz`` and ``footprint``, at the pixels that were read.
    The function does not wait for the device.

    Below, B counts depth maps. For clips of T latents the order is clip by clip, as in ``latents[b, :, t]``: depth map
    and camera b T + t belong to latent t of clip b.

    Args:
        depth: (B, H, W), (B, 1, H, W), (H, W) if B = 1, or (clips, T, H, W) with latents of clips; float32, or float64
            that is rounded to float32 once, because decisions are made in float32 on every backend; world units; not
            finite or not positive where there is none.
        features: (B, C, h, w), (C, h, w) if B = 1, or latents (clips, C, T, h, w) with clips T = B; float32, bfloat16
            or float16; or None: positions only, with features of 0 channels.
        cameras: B cameras over the grid (H, W) of the depth maps, on the same device; they are rescaled to (h, w).
        mask: in the shapes of ``depth``, bool, True at pixels to exclude, for example of moving objects. It may also be
            uint8 or floating point, where whatever is not 0 is True.
        pooling: depth of a cell: the lower ``"median"`` of its usable pixels, their ``"min"``, the pixel under its
            center (``"nearest"``), or ``"bilinear"`` between the four pixels around its center, which must all be
            usable.
        min_valid: minimum number of usable pixels of a valid cell, at least 1.
        max_masked: maximum fraction of masked pixels of a valid cell, 0 to 1.
        depth_type: ``"z"``: depth is the z coordinate in the camera's frame. ``"ray"``: it is the distance from the
            camera's center, and z = depth / sqrt(1 + ((c + 0.5 - cx) / fx)^2 + ((r + 0.5 - cy) / fy)^2) at pixel
            (r, c), computed in float64 and rounded once.
        grid: (h, w) of the cells if ``features`` is None; by default that of the depth maps.

    Returns:
        :class:`Points`: xyz (B h w, 3), features (B h w, C), valid (B h w,), footprint (B h w,).

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras, unproject
        >>> camera = Cameras(torch.tensor([[4.0, 0, 2], [0, 4, 1], [0, 0, 1]]), torch.eye(4), size=(2, 4))
        >>> points = unproject(torch.full((1, 2, 4), 2.0), torch.ones(1, 16, 1, 2), camera)
        >>> points.xyz.tolist()
        [[-0.5, 0.0, 2.0], [0.5, 0.0, 2.0]]
        >>> points.footprint.tolist()
        [1.0, 1.0]
    """
    dims: check.Dims = {}
    clips = isinstance(features, Tensor) and features.dim() == 5
    depth = depth_maps("depth", depth, "B", dims, clips)
    like = ("depth", depth)
    features, cells = latent_maps(features, grid, dims, like)
    check_cameras_of_maps(cameras, dims, "B", "depth", depth)
    if mask is not None:
        mask = mask_maps("mask", mask, "B", dims, like, clips)
    check.choice("pooling", pooling, POOLINGS)
    min_valid = check.integer("min_valid", min_valid, 1)
    check.number("max_masked", max_masked, 0, 1)
    if check.choice("depth_type", depth_type, DEPTH_TYPES) == "ray":
        depth = depth_of_rays(depth, cameras)
    if depth.dtype is not torch.float32:
        depth = depth.float()
    try:
        intrinsics = cameras._rescaled(cells)._intrinsics
    except (RuntimeError, MemoryError) as error:
        _memory.raise_explained(error, "unproject", depth=depth, features=features)
    return Points(
        *unproject_cells(
            depth,
            features,
            intrinsics,
            cameras._cam2world,
            mask=mask,
            pooling=pooling,
            min_valid=min_valid,
            max_masked=float(max_masked),
        )
    )


# Focal length, in cells, of the cameras of pool_depth. It is a power of two, and larger than a grid, so that x and y of
# a cell do not overflow before z does.
_LONG_FOCAL_LENGTH = 2.0**30


@_memory.explains("pool_depth")
def pool_depth(
    depth: Tensor,
    grid: tuple[int, int],
    *,
    mask: Tensor | None = None,
    max_masked: float = 0.0,
    pooling: Pooling = "median",
) -> Tensor:
    """Pool depth maps to the cells of a coarser grid, as :func:`unproject` does.

    The result is the z-depth of the points of :func:`unproject`, bit for bit, on every backend. Gradients flow to
    ``depth`` at the pixels that were read. The function does not wait for the device.

    Args:
        depth: (V, H, W), (V, 1, H, W) or (H, W), float32, or float64 that is rounded to float32 once; z-depth, world
            units; not finite or not positive where there is none.
        grid: (h, w) of the cells; H and W need not be multiples of h and w.
        mask: in the shapes of ``depth``, bool, True at pixels to exclude; or uint8 or floating point, where whatever is
            not 0 is True.
        max_masked: maximum fraction of masked pixels of a cell with depth, 0 to 1.
        pooling: ``"median"``, ``"min"``, ``"nearest"`` or ``"bilinear"``; see :func:`unproject`.

    Returns:
        (V, h, w) float32 z-depth, +inf in cells without depth.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: an argument has the wrong shape, device or value.

    Example:
        >>> import torch
        >>> from mirage_kernels import pool_depth
        >>> depth = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [1.0, 4.0, 0.0, 0.0]]])
        >>> pool_depth(depth, (1, 2))
        tensor([[[1., inf]]])
    """
    dims: check.Dims = {}
    depth = depth_maps("depth", depth, "V", dims).float()
    check.size("depth's size", (dims["H"], dims["W"]))
    h, w = check.size("grid", grid)
    if mask is not None:
        mask = mask_maps("mask", mask, "V", dims, ("depth", depth))
    check.number("max_masked", max_masked, 0, 1)
    check.choice("pooling", pooling, POOLINGS)
    identity = torch.eye(4, dtype=depth.dtype, device=depth.device).repeat(dims["V"], 1, 1)
    xyz, _, valid, _ = unproject_cells(
        depth,
        depth.new_empty(dims["V"], 0, h, w),
        identity[:, :3, :3] * _LONG_FOCAL_LENGTH,
        identity,
        mask=mask,
        pooling=pooling,
        min_valid=1,
        max_masked=float(max_masked),
    )
    return torch.where(valid, xyz[:, 2], math.inf).reshape(dims["V"], h, w)
