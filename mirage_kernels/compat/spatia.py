# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for Spatia (ZhaoJingjing713/Spatia).

Two lines in ``inference.py``, and the same in ``utils/render_point.py``::

    from mirage_kernels.compat.spatia import frustum_frontmost_mask as frustum_frontmost_mask_triton
    from mirage_kernels.compat.spatia import render_multi_view_pointcloud

**Faster**: masks of front-most points, by :func:`mirage_kernels.frontmost`; renderings, without PyTorch3D.

**As the original**: poses are world-to-camera; points within 1e-6 of the nearest depth of their pixel are all
front-most; pixels are cut off toward zero, so that points less than a pixel outside the left and the upper border count
as in the first column or row. Renderings have square pixels, five layers per pixel, opacity 1 - d^2 / r^2, and a
**mirrored principal point**: it is cx - (W - 1) / 2 to the wrong side of the middle. ``principal_point="given"`` puts
it where it belongs.

**Differs**: a call covers all its points. ``inference.py`` calls it with batches of points, and each batch then has a
z-buffer of its own; set ``--point_retrieval_batch_size`` above the number of points. Arithmetic is float32. Renderings
do not subsample: ``max_points_to_render`` is an error where it would, and ``batch_size``, ``max_retry_attempts``,
``verbose``, ``downsample_points`` and ``voxel_size`` are ignored.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from mirage_kernels import check, composite, frontmost

from ._arrays import as_tensor, cameras_of
from ._layers import nearest_layers
from ._modes import without_gradients

_SAME_DEPTH = 1e-6
_NEAR = 1e-6  # of splat
_LAYERS = 5
PrincipalPoint = Literal["mirrored", "given"]


@without_gradients
def frustum_frontmost_mask(
    points_xyz_rgb: Tensor,
    w2c_matrices: Any,
    intrinsics: Any,
    image_size: tuple[int, int],
    near: float | None = None,
    far: float | None = None,
    background_depth: float = 1e9,
) -> Tensor:
    """Find the points that are the nearest of their pixel, for every view.

    Args:
        points_xyz_rgb: (N, 3 or more), the first three in world units.
        w2c_matrices: (T, 4, 4) or (T, 3, 4), world-to-camera.
        intrinsics: (4,) or (T, 4), ``fx, fy, cx, cy`` in pixels.
        image_size: (H, W).
        near, far: bounds of the depth, included.
        background_depth: points farther than this are not front-most.

    Returns:
        (T, N) bool.

    Raises:
        TypeError, ValueError: an argument has another type or shape.

    Example:
        >>> import torch
        >>> from mirage_kernels.compat.spatia import frustum_frontmost_mask
        >>> points = torch.tensor([[0.0, 0, 2], [0, 0, 1], [0.5, 0, 1]])
        >>> frustum_frontmost_mask(points, torch.eye(4)[None], torch.tensor([2.0, 2, 1, 0]), (1, 3)).tolist()
        [[False, True, True]]
    """
    xyz = as_tensor("points_xyz_rgb", points_xyz_rgb, ("N", "C"), {})[:, :3].contiguous()
    check.tensor("points_xyz_rgb", xyz, ("N", 3), {})
    h, w = check.size("image_size", image_size)
    least, limit = _depth_bounds(near, far, background_depth)
    cameras = cameras_of(intrinsics, w2c_matrices, (h, w), xyz.device, inverse=True, name="w2c_matrices")
    if limit is not None and limit <= least:
        return torch.zeros(len(cameras), len(xyz), dtype=torch.bool, device=xyz.device)
    return frontmost(xyz, cameras, near=least, far=limit, tolerance=_SAME_DEPTH, cut_off=True)


frustum_frontmost_mask_triton = frustum_frontmost_mask


def _depth_bounds(near: Any, far: Any, background: Any) -> tuple[float, float | None]:
    """The depth above which a point is in front, and that from which on it is not, if there is one."""
    limits = {"background_depth": background, "far": math.inf if far is None else far}
    limit = min(math.inf if one == math.inf else check.number(name, one) for name, one in limits.items())
    least = _NEAR if near is None else max(_NEAR, _next(check.number("near", near), -math.inf))
    return least, None if limit == math.inf else _next(limit, math.inf)


def _next(value: float, towards: float) -> float:
    """The float32 after this number."""
    rounded, end = torch.tensor([value, towards], dtype=torch.float32, device="cpu")
    return torch.nextafter(rounded, end).item()


@without_gradients
def render_multi_view_pointcloud(
    points_xyz_rgb: Tensor,
    w2c_matrices: Any,
    normalized_intrinsics: Any,
    image_size: tuple[int, int],
    point_radius: float = 0.01,
    batch_size: int = 64,  # noqa: ARG001
    max_retry_attempts: int = 3,  # noqa: ARG001
    max_points_to_render: int | None = None,
    verbose: bool = False,  # noqa: ARG001
    downsample_points: bool = False,  # noqa: ARG001
    voxel_size: float = 0.01,  # noqa: ARG001
    *,
    principal_point: PrincipalPoint = "mirrored",
) -> Tensor:
    """Render colored points as discs.

    Args:
        points_xyz_rgb: (N, 6), positions in world units and colors 0 to 1.
        w2c_matrices: (T, 4, 4) or (T, 3, 4), world-to-camera.
        normalized_intrinsics: ``fx, fy, cx, cy`` in pixels, despite the name.
        image_size: (H, W).
        point_radius: of the discs, in normalized device coordinates: the shorter side of the image has the length 2.
        max_points_to_render: must not be less than N.
        principal_point: ``"mirrored"`` as in the original, or ``"given"``.

    Returns:
        (T, H, W, 3) float32, 0 to 1, black in holes.

    Raises:
        TypeError, ValueError: an argument has another type, shape or value.
    """
    points = as_tensor("points_xyz_rgb", points_xyz_rgb, ("N", 6), {})
    if max_points_to_render is not None and max_points_to_render < len(points):
        raise check.value_error("max_points_to_render", f"None or at least N={len(points)}", max_points_to_render)
    check.choice("principal_point", principal_point, ("mirrored", "given"))
    h, w = check.size("image_size", image_size)
    if min(h, w) < 2:
        raise check.value_error("image_size", "at least 2 x 2 pixels", (h, w))
    radius = check.positive("point_radius", point_radius) * min(h, w) / 2  # in pixels
    fx, fy, cx, cy = as_tensor("normalized_intrinsics", normalized_intrinsics, (4,), {}, dtype=torch.float64).tolist()
    side = min(h, w) / (min(h, w) - 1)
    sign = -1 if principal_point == "mirrored" else 1
    centers = [w / 2 + sign * side * (cx - (w - 1) / 2), h / 2 + sign * side * (cy - (h - 1) / 2)]
    k = torch.tensor([side * fx, side * fy, *centers], dtype=torch.float64, device="cpu")
    xyz, rgb = points[:, :3].contiguous(), points[:, 3:].contiguous()
    cameras = cameras_of(k, w2c_matrices, (h, w), xyz.device, inverse=True, name="w2c_matrices")
    layers = nearest_layers(xyz, cameras, radius, _LAYERS)
    blended = composite(rgb, layers, 1 - layers.distance2 / radius**2, mode="alpha")
    return blended.permute(0, 2, 3, 1).clamp(0, 1)
