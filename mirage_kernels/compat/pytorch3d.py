# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the point rasterizer of PyTorch3D, which ViewCrafter, SPMem and WonderWorld render with.

Two lines::

    import pytorch3d.renderer.points.rasterizer as rasterizer
    from mirage_kernels.compat import pytorch3d

    rasterizer.rasterize_points = pytorch3d.rasterize_points

**Faster**: no bins, and on a CPU no loop over all pairs of pixels and points. No point is dropped, because no bin can
overflow.

**As the original**: points are in normalized device coordinates (x left, y up, z forward; the shorter side of the image
is -1 to 1), pixels in rows from the top, and gradients flow to ``points`` through ``zbuf`` and ``dists``. Ties go to
the lower index. Indices count within all clouds together.

**Differs**: points with z up to 1e-6 are skipped; the original skips those below 0. ``bin_size`` and
``max_points_per_bin`` are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import check

from ._arrays import homogeneous_camera, numbers
from ._layers import nearest_layers
from ._modes import without_autocast

_MAX_POINTS = 256  # of a pixel, as splat has it


@without_autocast
def rasterize_points(
    pointclouds: Any,
    image_size: int | Sequence[int] = 256,
    radius: float | Sequence[Any] | Tensor = 0.01,
    points_per_pixel: int = 8,
    bin_size: int | None = None,  # noqa: ARG001
    max_points_per_bin: int | None = None,  # noqa: ARG001
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the nearest points of every pixel.

    Args:
        pointclouds: N clouds of points (x, y, z): a ``Pointclouds`` of PyTorch3D, a tensor (N, P, 3), or a sequence of
            tensors (P, 3); float32.
        image_size: (H, W), or one number for both.
        radius: of the disc of a point, in normalized device coordinates: one for all; or (N, P), P points in the
            largest cloud; for one cloud also (P,).
        points_per_pixel: K, 1 to 256.
        bin_size, max_points_per_bin: ignored.

    Returns:
        ``idx`` (N, H, W, K) int32, ``zbuf`` and ``dists`` (N, H, W, K) float32, nearest first, -1 where there is no
        point. ``dists`` are squared distances in x and y.

    Raises:
        TypeError, ValueError: an argument has another type or shape.

    Example:
        >>> import torch
        >>> from mirage_kernels.compat.pytorch3d import rasterize_points
        >>> points = torch.tensor([[[0.5, 0.5, 2.0], [0.5, 0.5, 1.0]]])  # left, up
        >>> idx, zbuf, dists = rasterize_points(points, image_size=2, radius=0.1, points_per_pixel=1)
        >>> idx[..., 0].tolist(), zbuf[..., 0].tolist()
        ([[[1, -1], [-1, -1]]], [[[1.0, -1.0], [-1.0, -1.0]]])
    """
    clouds = _clouds(pointclouds)
    is_pair = isinstance(image_size, (list, tuple)) or getattr(image_size, "ndim", 0) == 1
    size = check.size("image_size", image_size if is_pair else (image_size, image_size))
    k = check.integer("points_per_pixel", points_per_pixel, 1, _MAX_POINTS)
    first, results = 0, []
    for points, reach in zip(clouds, _radii(radius, clouds), strict=True):
        results.append(_rasterize(points, size, reach, k, first))
        first += len(points)
    idx, zbuf, dists = (torch.stack(parts) for parts in zip(*results, strict=True))
    return idx, zbuf, dists


def _clouds(pointclouds: Any) -> list[Tensor]:
    """The points (P, 3) of every cloud."""
    if hasattr(pointclouds, "points_list"):
        pointclouds = pointclouds.points_list()
    if isinstance(pointclouds, Tensor) and pointclouds.dim() != 3:
        raise check.value_error("pointclouds", "(N, P, 3), or a list of (P, 3)", tuple(pointclouds.shape))
    clouds = list(pointclouds) if isinstance(pointclouds, (Tensor, list, tuple)) else []
    if not clouds:
        raise check.type_error(
            "pointclouds", "at least one cloud: Pointclouds, a tensor (N, P, 3) or a list", pointclouds
        )
    for i, points in enumerate(clouds):
        check.tensor(f"pointclouds[{i}]", points, ("P", 3), {}, like=("pointclouds[0]", clouds[0]))
    return clouds


def _radii(radius: Any, clouds: list[Tensor]) -> list[Any]:
    """The radius of the points of every cloud: a number, or one for each point (P,)."""
    if not isinstance(radius, (list, tuple)) and getattr(radius, "ndim", 0) == 0:
        return [check.positive("radius", radius)] * len(clouds)
    radii = numbers("radius", radius, torch.float32, clouds[0].device).abs()
    radii = radii[None] if len(clouds) == radii.dim() == 1 else radii
    check.tensor("radius", radii, ("N", "P"), {"N": len(clouds), "P": max(map(len, clouds))})
    return [own[: len(points)] for own, points in zip(radii, clouds, strict=True)]


def _rasterize(
    points: Tensor, size: tuple[int, int], radius: float | Tensor, k: int, first: int
) -> tuple[Tensor, Tensor, Tensor]:
    h, w = size
    side = min(h, w)
    x, y, z = points.detach().unbind(1)
    camera = _ndc_camera(size, points.device)
    layers = nearest_layers(torch.stack([-x * z, -y * z, z], 1), camera, radius * side / 2, k)
    index, zbuf, distance2 = (part[0].permute(1, 2, 0) for part in layers)
    hit = index >= 0
    dists = distance2 * (2 / side) ** 2
    if points.requires_grad and torch.is_grad_enabled() and len(points):
        z_of, squared = _of_points(points, index.clamp(min=0), side)
        zbuf, dists = zbuf + (z_of - z_of.detach()), dists + (squared - squared.detach())  # the same values
    return torch.where(hit, index + first, -1).int(), torch.where(hit, zbuf, -1.0), torch.where(hit, dists, -1.0)


def _of_points(points: Tensor, index: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The depths of the points at ``index`` (H, W, K), and their squared distances from the pixels' centers."""
    h, w, _ = index.shape
    nearest = points[index]  # (H, W, K, 3)
    column = (w - 1 - 2 * torch.arange(w, dtype=torch.float32, device=points.device)) / side
    row = (h - 1 - 2 * torch.arange(h, dtype=torch.float32, device=points.device)) / side
    dx, dy = nearest[..., 0] - column[:, None], nearest[..., 1] - row[:, None, None]
    return nearest[..., 2], dx * dx + dy * dy


def _ndc_camera(size: tuple[int, int], device: torch.device) -> Any:
    """A camera for points (-x z, -y z, z) with normalized device coordinates (x, y)."""
    return homogeneous_camera(size, device, (size[1] / 2, size[0] / 2), min(size) / 2)
