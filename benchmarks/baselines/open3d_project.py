# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Reading points with Open3D: ``t.geometry.PointCloud.project_to_rgbd_image``, one view at a time.

It renders three float32 channels. For features with more channels, the color of a point is its number, and the features
are gathered by the rendered numbers: faster than a pass for every three channels. Of several points at the same depth
it may keep another one than splat, which keeps the first.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

MAX_POINTS = 1 << 24  # integers that float32 can represent


class View(NamedTuple):
    """A camera in Open3D's form: its float64 tensors (3, 3) and (4, 4), and the size (h, w)."""

    intrinsics: Any
    world2cam: Any
    size: tuple[int, int]


def views(open3d: Any, cameras: Cameras) -> list[View]:
    """Convert cameras: Open3D has (0, 0) in the center of the first cell, we have (0.5, 0.5)."""
    intrinsics = cameras.intrinsics.double()
    intrinsics[:, :2, 2] -= 0.5
    world2cam = torch.eye(4, dtype=torch.float64).repeat(len(cameras), 1, 1)
    world2cam[:, :3] = cameras.world2cam
    as_tensor = open3d.core.Tensor.from_numpy
    both = zip(intrinsics, world2cam, strict=True)
    return [View(as_tensor(k.numpy()), as_tensor(m.numpy()), cameras.size) for k, m in both]


def cloud(open3d: Any, xyz: Tensor, colors: Tensor) -> Any:
    """A point cloud that shares the memory of points (N, 3) and their colors (N, 3), both float32."""
    as_tensor = open3d.core.Tensor.from_numpy
    points = open3d.t.geometry.PointCloud(as_tensor(xyz.numpy()))
    points.point.colors = as_tensor(colors.numpy())
    return points


def numbered(open3d: Any, xyz: Tensor) -> Any:
    """A point cloud (N, 3) in which the color of each point is its number."""
    if len(xyz) > MAX_POINTS:
        raise ValueError(f"xyz: expected at most {MAX_POINTS} points, got {len(xyz)}")
    return cloud(open3d, xyz, torch.arange(len(xyz), dtype=torch.float32)[:, None].repeat(1, 3))


def read_colors(points: Any, seen_by: list[View]) -> tuple[Tensor, Tensor]:
    """Render every view: colors (V, h, w, 3) and depth (V, h, w), 0 in holes."""
    colors, depth = [], []
    for view in seen_by:
        h, w = view.size
        image = points.project_to_rgbd_image(w, h, view.intrinsics, view.world2cam, 1.0, math.inf)
        colors.append(torch.from_numpy(image.color.as_tensor().numpy()))
        depth.append(torch.from_numpy(image.depth.as_tensor().numpy())[..., 0])
    return torch.stack(colors), torch.stack(depth)


def read_depth(points: Any, seen_by: list[View]) -> Tensor:
    """Render every view: depth (V, h, w), 0 in holes."""
    depth = []
    for view in seen_by:
        h, w = view.size
        image = points.project_to_depth_image(w, h, view.intrinsics, view.world2cam, 1.0, math.inf)
        depth.append(torch.from_numpy(image.as_tensor().numpy())[..., 0])
    return torch.stack(depth)


def read(points: Any, features: Tensor, seen_by: list[View]) -> tuple[Tensor, Tensor]:
    """Every view of :func:`numbered` points with features (N, C): features (V, C, h, w) and mask (V, h, w)."""
    colors, depth = read_colors(points, seen_by)
    mask = depth > 0
    number = colors[..., 0].long().flatten()
    rendered = features.index_select(0, number).masked_fill_(~mask.flatten()[:, None], 0)
    return rendered.reshape(*mask.shape, -1).permute(0, 3, 1, 2).contiguous(), mask
