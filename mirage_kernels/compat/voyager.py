# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for Voyager (Tencent-Hunyuan/HunyuanWorld-Voyager, ``data_engine/create_input.py``).

Two lines::

    from mirage_kernels.compat.voyager import render_from_cameras_videos

    render_list, mask_list, depth_list = render_from_cameras_videos(points, colors, extrinsics, intrinsics, h, w)

**Faster**: all views in one z-buffer, without sorting the points of every view.

**As the original**: poses are world-to-camera, pixel centers have integer coordinates, depths are 0 to 60000, images
are uint8, masks 255, and depth is infinite in holes. Its depth maps hold the depth of the **farthest** point of a
pixel, not of the nearest that the image shows: its assignment with repeated indices keeps the last one.
``depth="nearest"`` gives the depth of what the image shows, and is faster still.

**Differs**: positions are float32; rounding is ``floor(u + 0.5)``, so exact halves go up, not to the even number; of
points at the same depth the lower index wins.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from mirage_kernels import Cameras, check, splat

from ._arrays import as_tensor, cameras_of, numbers
from ._modes import without_gradients

_FAR = 60000.0
Depth = Literal["farthest", "nearest"]


@without_gradients
def render_from_cameras_videos(
    points: Any,
    colors: Any,
    extrinsics: Any,
    intrinsics: Any,
    height: int,
    width: int,
    *,
    depth: Depth = "farthest",
) -> tuple[list[Any], list[Any], list[Any]]:
    """Render colored points from cameras.

    Args:
        points: (N, 3), world units.
        colors: (N, 3 or more), 0 to 255; the first three are used.
        extrinsics: (V, 4, 4) or (V, 3, 4), world-to-camera, or one of them without V.
        intrinsics: (V, 3, 3) or (3, 3), in pixels.
        height, width: size of the images.
        depth: which point of a pixel the depth maps show; see the module.

    Returns:
        V images (height, width, 3) uint8, V masks (height, width) uint8, 255 or 0 in holes, and V depth maps
        (height, width) float64, infinite in holes, as NumPy arrays.

    Raises:
        TypeError, ValueError: an argument has another type or shape.

    Example:
        >>> from mirage_kernels.compat.voyager import render_from_cameras_videos
        >>> pose, K = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], [[2.0, 0, 1], [0, 2, 0], [0, 0, 1]]
        >>> points, colors = [[0.0, 0, 2], [0, 0, 1]], [[255, 0, 0], [0, 255, 0]]
        >>> images, masks, depths = render_from_cameras_videos(points, colors, [pose], K, 1, 3)
        >>> images[0].tolist(), masks[0].tolist(), depths[0].tolist()
        ([[[0, 0, 0], [0, 255, 0], [0, 0, 0]]], [[0, 255, 0]], [[inf, 2.0, inf]])
    """
    dims: check.Dims = {}
    xyz = as_tensor("points", points, ("N", 3), dims)
    rgb = numbers("colors", colors, device=xyz.device)
    if rgb.dim() != 2 or rgb.shape[0] != len(xyz) or rgb.shape[1] < 3:
        raise check.value_error("colors", f"(N={len(xyz)}, 3 or more)", tuple(rgb.shape))
    check.choice("depth", depth, ("farthest", "nearest"))
    size = check.size("(height, width)", (height, width))
    poses = numbers("extrinsics", extrinsics, torch.float64, xyz.device)
    cameras = cameras_of(intrinsics, poses, size, xyz.device, inverse=True, offset=0.5, name="extrinsics")
    view = splat(xyz, None, cameras, far=_FAR if _may_be_far(xyz, cameras) else None)
    # A word for each point, and a last one for holes.
    packed = torch.zeros(len(rgb) + 1, 4, dtype=torch.uint8, device=rgb.device)
    packed[:-1, :3] = rgb[:, :3].to(torch.uint8)
    words = packed.view(torch.int32)[:, 0][view.index]  # -1 is the last
    images = words[..., None].view(torch.uint8)[..., :3].contiguous()
    depths = view.depth
    if depth == "farthest":
        for of_view, v in zip(depths, range(len(cameras)), strict=True):
            torch.maximum(of_view, _farthest(xyz, cameras[v]), out=of_view)  # inf in holes
    arrays = (images, view.mask.view(torch.uint8).neg_(), depths.double())  # 255 and 0
    rendered, masks, maps = ([frame.cpu().numpy() for frame in array] for array in arrays)
    return rendered, masks, maps


def _may_be_far(xyz: Tensor, cameras: Cameras) -> bool:
    """Whether a depth may reach the limit: to look at every point costs less than to look at every pixel."""
    sides = [values.abs().nan_to_num(nan=math.inf).amax().item() for values in (xyz, cameras.centers) if len(values)]
    return sum(sides) * math.sqrt(3) >= _FAR


def _farthest(xyz: Tensor, camera: Cameras) -> Tensor:
    """The largest depth in every pixel (h, w), -inf in holes. It waits for the device: a view may show few points."""
    uv, depth, inside = camera.project(xyz)
    rows, (h, w) = inside[0].nonzero()[:, 0], camera.size
    column, line = uv[0].index_select(0, rows).long().unbind(1)
    depths = depth[0].index_select(0, rows)
    farthest = depths.new_full((h * w,), -math.inf)
    depths = torch.where(depths < _FAR, depths, -math.inf)
    return farthest.scatter_reduce_(0, line * w + column, depths, "amax").view(h, w)
