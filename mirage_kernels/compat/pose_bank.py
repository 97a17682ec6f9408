# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Overlap of view frusta from poses alone: how Memorizon, WorldMem and HY-WorldPlay choose frames of a pose bank.

Two lines, for Memorizon (TingtingLiao/memorizon)::

    from memorizon import retrieval
    from mirage_kernels.compat import pose_bank

    retrieval.fov_overlap = pose_bank.fov_overlap

and for HY-WorldPlay and WorldMem, whose pairs become one matrix::

    from mirage_kernels.compat.pose_bank import fov_overlap_similarity

    shares = fov_overlap_similarity(w2c_queries, w2c_history, points_local, fov_h_deg=60, fov_v_deg=35)  # [Q, H]

**Faster**: all queries and all past frames in one call. A frustum is six half-spaces, so that one matrix product tests
all points; fields of view are tested without angles, on the points that the query sees.

**As the original**: the samples of the frustum, and its bounds (near and far excluded, borders of the image included);
the axes of the angles, and the distance of at most 8.

**Differs**: results are float32 tensors. A point within a rounding error of a border may fall to the other side.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import check

from ._arrays import as_tensor, numbers
from ._modes import without_gradients

_FRUSTUM = ("fx", "fy", "cx", "cy", "width", "height", "near", "far", "grid_uv", "grid_depth")
_VISION_RANGE = 8.0
_VALUES_AT_ONCE = 1 << 22


@without_gradients
def frustum_overlap(
    query_c2w: Any,
    cand_c2w: Any,
    intrinsics: Any,
    size: tuple[float, float],
    *,
    near: float,
    far: float,
    grid_uv: int = 8,
    grid_depth: int = 4,
) -> Tensor:
    """Compute the fraction of the frustum of every query that every candidate sees, on a grid of sample points.

    Args:
        query_c2w: (Q, 4, 4), camera-to-world.
        cand_c2w: (H, 4, 4).
        intrinsics: ``fx, fy, cx, cy`` of all cameras, in pixels.
        size: (height, width) of the image.
        near, far: depths of the frustum.
        grid_uv: samples along each side of the image.
        grid_depth: samples along the depth, at the middles of logarithmic bins.

    Returns:
        (Q, H) float32, 0 to 1.

    Raises:
        TypeError, ValueError: an argument has another type, shape or value.

    Example:
        >>> import torch
        >>> from mirage_kernels.compat.pose_bank import frustum_overlap
        >>> behind = torch.diag(torch.tensor([-1.0, 1, -1, 1]))
        >>> bank = torch.stack([torch.eye(4), behind])
        >>> frustum_overlap(bank[:1], bank, (4.0, 4, 4, 3), (6, 8), near=0.5, far=15.0).tolist()
        [[1.0, 0.0]]
    """
    queries = as_tensor("query_c2w", query_c2w, ("Q", 4, 4), {}, dtype=torch.float64)
    past = as_tensor("cand_c2w", cand_c2w, ("H", 4, 4), {}, queries.device, torch.float64)
    for name, poses in (("query_c2w", queries), ("cand_c2w", past)):
        _check_finite(name, poses)
    values = as_tensor("intrinsics", intrinsics, (4,), {}, dtype=torch.float64).tolist()
    fx, fy = (check.positive(f"intrinsics[{i}]", values[i]) for i in (0, 1))
    cx, cy = (check.number(f"intrinsics[{i}]", values[i]) for i in (2, 3))
    h, w = _image_size(size)
    near, far = check.positive("near", near), check.positive("far", far)
    if not near < far:
        raise check.value_error("far", f"more than near={near:g}", far)
    counts = check.integer("grid_uv", grid_uv, 1), check.integer("grid_depth", grid_depth, 1)
    samples = _frustum_samples((fx, fy, cx, cy), (h, w), (near, far), *counts).to(queries.device)
    world = queries @ samples  # (Q, 4, P)
    # Products with a camera's coordinates are positive inside. The borders of the image are inside as well: they are
    # moved outward by a rounding error.
    planes = torch.tensor(
        [[fx, 0, cx, 0], [-fx, 0, w - cx, 0], [0, fy, cy, 0], [0, -fy, h - cy, 0], [0, 0, 1, -near], [0, 0, -1, far]],
        dtype=torch.float64,
        device=queries.device,
    )
    planes = planes / planes[:, :3].norm(dim=1, keepdim=True)
    planes[:4, 3] += 1e-12 * far
    tests = planes @ _inverse(past)  # (H, 6, 4)
    points = world.movedim(0, 1).reshape(4, -1)  # (4, Q P)
    shares, step = [], max(1, _VALUES_AT_ONCE // max(1, 6 * points.shape[1]))
    for first in range(0, len(tests), step):
        some = tests[first : first + step]
        inside = (some @ points).amin(1) > 0
        shares.append(inside.reshape(len(some), len(queries), samples.shape[1]).float().mean(2))
    return torch.cat(shares).T.contiguous() if shares else queries.new_zeros(len(queries), 0, dtype=torch.float32)


def fov_overlap(query_c2w: Any, cand_c2w: Any, frustum: Any) -> Tensor:
    """Compute :func:`frustum_overlap` with the arguments of Memorizon.

    Args:
        query_c2w: (4, 4), or (Q, 4, 4).
        cand_c2w: (M, 4, 4), or (4, 4).
        frustum: an object with ``fx, fy, cx, cy, width, height, near, far, grid_uv, grid_depth``.

    Returns:
        (M,), or (Q, M).
    """
    if missing := [name for name in _FRUSTUM if not hasattr(frustum, name)]:
        raise check.type_error("frustum", f"an object with {missing[0]}", frustum)
    queries = numbers("query_c2w", query_c2w, torch.float64)
    past = numbers("cand_c2w", cand_c2w, torch.float64)
    shares = frustum_overlap(
        queries[None] if queries.dim() == 2 else queries,
        past[None] if past.dim() == 2 else past,
        (frustum.fx, frustum.fy, frustum.cx, frustum.cy),
        (frustum.height, frustum.width),
        near=frustum.near,
        far=frustum.far,
        grid_uv=frustum.grid_uv,
        grid_depth=frustum.grid_depth,
    )
    return shares[0] if queries.dim() == 2 else shares


@without_gradients
def fov_overlap_similarity(
    w2c_queries: Any,
    w2c_history: Any,
    points_local: Tensor,
    fov_h_deg: float = 105.0,
    fov_v_deg: float = 75.0,
) -> Tensor:
    """Compute the fraction of the sample points in the field of view of each query that each past frame sees as well.

    A field of view is a range of yaw and pitch around the direction of the camera, without roll. A past frame sees
    points up to a distance of 8. This is ``calculate_fov_overlap_similarity`` of HY-WorldPlay for all pairs.

    Args:
        w2c_queries: (Q, 4, 4), world-to-camera.
        w2c_history: (H, 4, 4), world-to-camera.
        points_local: (N, 3), sample points around a query's camera, in its axes.
        fov_h_deg, fov_v_deg: horizontal and vertical field of view, in degrees, below 360 and 180.

    Returns:
        (Q, H) float32; 0 if a query sees no sample point.

    Raises:
        TypeError, ValueError: an argument has another type, shape or value.

    Example:
        >>> import torch
        >>> from mirage_kernels.compat.pose_bank import fov_overlap_similarity
        >>> away = torch.diag(torch.tensor([-1.0, 1, -1, 1]))
        >>> points = torch.tensor([[0.0, 0, 1], [0.1, 0, 2], [0, 0, -1]])
        >>> fov_overlap_similarity(torch.eye(4)[None], torch.stack([torch.eye(4), away]), points).tolist()
        [[1.0, 0.0]]
    """
    points = as_tensor("points_local", points_local, ("N", 3), {})
    queries = as_tensor("w2c_queries", w2c_queries, ("Q", 4, 4), {}, points.device, torch.float64)
    history = as_tensor("w2c_history", w2c_history, ("H", 4, 4), {}, points.device, torch.float64)
    for name, poses in (("w2c_queries", queries), ("w2c_history", history)):
        _check_finite(name, poses)
    half_h = math.radians(check.number("fov_h_deg", fov_h_deg, 0, 360) / 2)
    half_v = math.radians(check.number("fov_v_deg", fov_v_deg, 0, 180) / 2)
    forward = torch.tensor([[0.0, 0, 1]], dtype=torch.float32, device=points.device)
    points = points[_in_field(points.T, forward, half_h, half_v)[0]]  # a query looks along its own z axis
    if not len(points):
        return points.new_zeros(len(queries), len(history))
    relative = queries[:, None] @ _inverse(history)  # (Q, H, 4, 4): a past camera in the axes of the query
    at, ahead = relative[..., :3, 3].flatten(0, 1).float(), relative[..., :3, 2].flatten(0, 1).float()
    shares, step = [], max(1, _VALUES_AT_ONCE // len(points))
    for first in range(0, len(at), step):
        some, direction = at[first : first + step], ahead[first : first + step]
        vectors = points.T[:, None] - some.T[..., None]  # (3, pairs, N)
        near = vectors.square().sum(0) < _VISION_RANGE**2
        shares.append((near & _in_field(vectors, direction, half_h, half_v)).float().mean(1))
    return torch.cat([at.new_zeros(0), *shares]).reshape(len(queries), len(history))


def _check_finite(name: str, poses: Tensor) -> None:
    finite = poses.isfinite().flatten(1).all(1)
    if not bool(finite.all()):
        at = int((~finite).nonzero()[0])
        raise check.value_error(f"{name}[{at}]", "a finite pose", poses[at].tolist())


def _image_size(size: Any) -> tuple[float, float]:
    sides = numbers("size", size, torch.float64)
    if sides.shape != (2,):
        raise check.value_error("size", "(height, width)", check.one_line(size, repr))
    height, width = sides.tolist()
    return check.positive("size[0]", height), check.positive("size[1]", width)


def _in_field(vectors: Tensor, ahead: Tensor, half_h: float, half_v: float) -> Tensor:
    """Whether vectors (3, N) or (3, P, N) are in the fields of view around directions (P, 3): (P, N).

    Angles are less than a limit where their cosines are more than its cosine. The azimuth is that of (x, z), and the
    elevation that of y above (x, z).
    """
    x, y, z = vectors
    ax, ay, az = ahead.T[..., None]
    level, ahead_level = (x * x + z * z).sqrt(), (ax * ax + az * az).sqrt()
    horizontal: Tensor = (x * ax + z * az) > math.cos(half_h) * level * ahead_level
    length = (level * level + y * y).sqrt() * (ahead_level * ahead_level + ay * ay).sqrt()
    vertical: Tensor = level * ahead_level + y * ay > math.cos(half_v) * length
    return horizontal & vertical


def _inverse(poses: Tensor) -> Tensor:
    """The inverse of rigid poses (..., 4, 4)."""
    turn = poses[..., :3, :3].mT
    inverse = torch.zeros_like(poses)
    inverse[..., :3, :3] = turn
    inverse[..., :3, 3:] = -turn @ poses[..., :3, 3:]
    inverse[..., 3, 3] = 1
    return inverse


def _frustum_samples(
    intrinsics: tuple[float, float, float, float],
    size: tuple[float, float],
    depths: tuple[float, float],
    grid_uv: int,
    grid_depth: int,
) -> Tensor:
    """Homogeneous points (4, P) in a camera's frustum."""
    fx, fy, cx, cy = intrinsics
    middles = (torch.arange(grid_uv, dtype=torch.float64, device="cpu") + 0.5) / grid_uv
    x, y = torch.meshgrid((middles * size[1] - cx) / fx, (middles * size[0] - cy) / fy, indexing="ij")
    edges = torch.linspace(math.log(depths[0]), math.log(depths[1]), grid_depth + 1, dtype=torch.float64, device="cpu")
    depth = ((edges[:-1] + edges[1:]) / 2).exp().repeat(grid_uv * grid_uv)
    x, y = (axis.reshape(-1).repeat_interleave(grid_depth) for axis in (x, y))
    return torch.stack([x * depth, y * depth, depth, torch.ones_like(depth)])
