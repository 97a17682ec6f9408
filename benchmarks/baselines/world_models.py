# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The methods of other world models, in plain PyTorch or NumPy, written from their descriptions: what the stand-ins of
``mirage_kernels.compat`` replace. Each takes the steps of the original, in its order and layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as nnf

Array = np.ndarray[Any, Any]


class LatentCloud(NamedTuple):
    """A latent point cloud: xyz (N, 3), features (N, C), valid (N,)."""

    xyz: Tensor
    features: Tensor
    valid: Tensor


def lift_latents(depth: Tensor, intrinsics: Tensor, cam2world: Tensor, latent: Tensor) -> LatentCloud:
    """LatentSpatialMemory: the cells of a latent (C, h, w) at its depth (H, W), resampled bilinearly."""
    c, h, w = latent.shape
    scale = torch.tensor([w / depth.shape[1], h / depth.shape[0], 1.0])
    k = intrinsics * scale[:, None]
    depth = nnf.interpolate(depth[None, None], (h, w), mode="bilinear", align_corners=False)[0, 0]
    v, u = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    points = torch.stack([(u - k[0, 2]) * depth / k[0, 0], (v - k[1, 2]) * depth / k[1, 1], depth], -1)
    xyz = points @ cam2world[:3, :3].T + cam2world[:3, 3]
    return LatentCloud(xyz.reshape(-1, 3), latent.permute(1, 2, 0).reshape(-1, c), (depth > 0).reshape(-1))


def append_latents(
    cloud: LatentCloud, depths: Tensor, intrinsics: Tensor, cam2worlds: Tensor, latents: Tensor
) -> LatentCloud:
    """LatentSpatialMemory: the valid cells of T frames, concatenated."""
    new = [lift_latents(d, intrinsics, m, z) for d, m, z in zip(depths, cam2worlds, latents, strict=True)]
    xyz = torch.cat([cloud.xyz, *(p.xyz[p.valid] for p in new)])
    features = torch.cat([cloud.features, *(p.features[p.valid] for p in new)])
    valid = torch.cat([cloud.valid, torch.ones(len(xyz) - len(cloud.valid), dtype=torch.bool)])
    return LatentCloud(xyz, features, valid)


def project_latents(cloud: LatentCloud, cam2world: Tensor, k: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """LatentSpatialMemory: project, round, sort from far to near, scatter. Features (C, h, w) and mask (h, w)."""
    h, w = size
    world2cam = torch.inverse(cam2world)
    points = cloud.xyz @ world2cam[:3, :3].T + world2cam[:3, 3]
    z = points[:, 2]
    u = (points[:, 0] * k[0, 0] / z + k[0, 2]).round().long()
    v = (points[:, 1] * k[1, 1] / z + k[1, 2]).round().long()
    kept = cloud.valid & (u >= 0) & (u < w) & (v >= 0) & (v < h) & (z > 0)
    u, v, z, features = u[kept], v[kept], z[kept], cloud.features[kept]
    order = torch.argsort(z, descending=True)
    cell, z, features = (v * w + u)[order], z[order], features[order]
    image, depth = torch.zeros(features.shape[1], h * w), torch.full((h * w,), torch.inf)
    depth[cell] = z
    image[:, cell] = features.T
    return image.reshape(-1, h, w), (depth < torch.inf).reshape(h, w)


def project_indices(cloud: LatentCloud, cam2world: Tensor, k: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """HoneyComb: as :func:`project_latents`, with the index of the point of every cell."""
    numbers = torch.arange(len(cloud.xyz), dtype=torch.float32)[:, None]  # exact up to 2^24
    index, mask = project_latents(cloud._replace(features=numbers), cam2world, k, size)
    return torch.where(mask, index[0].long(), -1), mask


def points_in_view(cloud: LatentCloud, cam2world: Tensor, k: Tensor, size: tuple[int, int]) -> Tensor:
    """LatentSpatialMemory: the points inside a view, without rounding."""
    xyz = cloud.xyz[cloud.valid]
    world2cam = torch.inverse(cam2world)
    points = xyz @ world2cam[:3, :3].T + world2cam[:3, 3]
    z = points[:, 2]
    u = points[:, 0] * k[0, 0] / z + k[0, 2]
    v = points[:, 1] * k[1, 1] / z + k[1, 2]
    return xyz[(z > 0) & (u >= 0) & (u < size[1]) & (v >= 0) & (v < size[0])]


def overlap_of_points(a: Tensor, b: Tensor, voxel_size: float) -> float:
    """LatentSpatialMemory: the intersection over union of the voxels of points, as Python sets."""
    first, second = ({*map(tuple, (x / voxel_size).floor().int().tolist())} for x in (a, b))
    return len(first & second) / len(first | second) if first | second else 0.0


def pixel_grid(h: int, w: int) -> Tensor:
    """Pixel coordinates (h, w, 3, 1), homogeneous."""
    y, x = torch.meshgrid(torch.arange(h, dtype=torch.float32), torch.arange(w, dtype=torch.float32), indexing="ij")
    return torch.stack([x, y, torch.ones(h, w)], -1)[..., None]


def warp_points(depth: Tensor, world2cam1: Tensor, world2cam2: Tensor, k1: Tensor, k2: Tensor) -> Tensor:
    """GEN3C: pixels lifted by their depth (b, 1, h, w) and projected: (b, h, w, 3) homogeneous pixels."""
    h, w = depth.shape[2:]
    relative = world2cam2 @ torch.linalg.inv(world2cam1)
    points = depth[:, 0, :, :, None, None] * (torch.linalg.inv(k1)[:, None, None] @ pixel_grid(h, w)[None])
    points = torch.cat([points, torch.ones_like(points[:, :, :, :1])], 3)
    projected: Tensor = k2[:, None, None] @ (relative[:, None, None] @ points)[:, :, :, :3]
    return projected[..., 0]


def project_world_points(points: Tensor, world2cam: Tensor, k: Tensor) -> Tensor:
    """GEN3C: world points (b, h, w, 3) as homogeneous pixels (b, h, w, 3)."""
    points = torch.cat([points[..., None], torch.ones_like(points[..., :1, None])], 3)
    return (k[:, None, None] @ (world2cam[:, None, None] @ points)[:, :, :, :3])[..., 0]


def bilinear_splatting(frame: Tensor, points: Tensor, *, is_image: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """GEN3C: frames (b, c, h, w) at homogeneous pixels (b, h, w, 3): images, masks (b, 1, h, w) and flow."""
    b, c, h, w = frame.shape
    z = points[..., 2]
    at = points[..., :2] / (points[..., 2:] + 1e-7)
    flow = at - pixel_grid(h, w)[..., :2, 0]
    limit = torch.tensor([w + 1.0, h + 1.0])
    at = at + 1
    low, high = at.floor().clamp(torch.zeros(2), limit).long(), at.ceil().clamp(torch.zeros(2), limit).long()
    at = at.clamp(torch.zeros(2), limit)
    log_depth = z.clamp(min=0).log1p()
    depth_weight = (log_depth / (log_depth.max() + 1e-7) * 50).clamp(max=80).exp() + 1e-7
    sums, weights = torch.zeros(b, h + 2, w + 2, c), torch.zeros(b, h + 2, w + 2, 1)
    values, batch = frame.movedim(1, -1), torch.arange(b)[:, None, None]
    for x, wx in ((low[..., 0], 1 - (at[..., 0] - low[..., 0])), (high[..., 0], 1 - (high[..., 0] - at[..., 0]))):
        for y, wy in ((low[..., 1], 1 - (at[..., 1] - low[..., 1])), (high[..., 1], 1 - (high[..., 1] - at[..., 1]))):
            weight = (wx * wy * (z > 0) / depth_weight)[..., None]
            sums.index_put_((batch, y, x), values * weight, accumulate=True)
            weights.index_put_((batch, y, x), weight, accumulate=True)
    sums, weights = (s.movedim(-1, 1)[:, :, 1:-1, 1:-1] for s in (sums, weights))
    known = weights > 0
    image = torch.where(known, sums / weights, -1.0 if is_image else 0.0)
    return image.clamp(-1, 1) if is_image else image, known.float(), flow.movedim(-1, 1)


def render_cache(image: Tensor, points: Tensor, world2cams: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """GEN3C: a cached image (c, h, w) at its points (h, w, 3) from T cameras: images (T, c, h, w), masks."""
    count = len(world2cams)
    homogeneous = project_world_points(points.expand(count, -1, -1, -1), world2cams, k.expand(count, 3, 3))
    images, masks, _ = bilinear_splatting(image.expand(count, -1, -1, -1), homogeneous)
    return images, masks


def frontmost(xyz: Tensor, world2cams: Tensor, k: Tensor, size: tuple[int, int]) -> Tensor:
    """Spatia: which points (N, 3) are the nearest of their pixel, with intrinsics (4,), in T views: (T, N)."""
    h, w = size
    points = torch.cat([xyz, torch.ones(len(xyz), 1)], 1)
    x, y, z, _ = (world2cams @ points.T).unbind(1)
    divisor = z.clamp(min=torch.finfo(z.dtype).eps)
    u, v = (k[0] * (x / divisor) + k[2]).long(), (k[1] * (y / divisor) + k[3]).long()
    valid = (z > 0) & (u >= 0) & (u < w) & (v >= 0) & (v < h)
    pixel = (v * w + u).clamp(0, h * w - 1)
    depth = torch.full((len(world2cams), h * w), 1e9)
    hidden = torch.where(valid, z, 1e9)
    for t in range(len(world2cams)):
        depth[t].index_reduce_(0, pixel[t], hidden[t], reduce="amin")
    return valid & (z <= depth.gather(1, pixel) + 1e-6)


def nearest_in_discs(points: Tensor, size: tuple[int, int], radius: float, count: int) -> tuple[Tensor, Tensor]:
    """PyTorch3D: of the points (P, 3) in normalized device coordinates whose discs cover a pixel, the nearest: indices
    (h, w, count) and squared distances. All pairs of points and pixels of their discs, sorted."""
    h, w = size
    s = min(h, w)
    column, row = (w - s * points[:, 0]) / 2, (h - s * points[:, 1]) / 2
    reach = int(radius * s / 2) + 1
    offset = torch.arange(-reach, reach + 1)
    i = row.floor().long()[:, None, None] + offset[:, None]
    j = column.floor().long()[:, None, None] + offset
    far = ((w - (2 * j + 1)) / s - points[:, :1, None]) ** 2 + ((h - (2 * i + 1)) / s - points[:, 1:2, None]) ** 2
    covered = (far < radius**2) & (i >= 0) & (i < h) & (j >= 0) & (j < w) & (points[:, 2, None, None] >= 0)
    point, di, dj = covered.nonzero().unbind(1)
    cell = i[:, :, 0][point, di] * w + j[:, 0][point, dj]
    order = points[point, 2].argsort(stable=True)
    order = order[cell[order].argsort(stable=True)]
    cell, point, far = cell[order], point[order], far[covered][order]
    first = torch.searchsorted(cell, torch.arange(h * w))
    rank = torch.arange(len(cell)) - first[cell]
    kept = rank < count
    index, distance = torch.full((h * w, count), -1), torch.full((h * w, count), -1.0)
    index[cell[kept], rank[kept]] = point[kept]
    distance[cell[kept], rank[kept]] = far[kept]
    return index.reshape(h, w, count), distance.reshape(h, w, count)


def frustum_samples(near: float, far: float, k: Sequence[float]) -> Tensor:
    """Memorizon: 8 x 8 x 4 points in the frustum of a camera whose principal point is in its middle: (3, 256)."""
    fx, fy, cx, cy = k
    at = (torch.arange(8, dtype=torch.float64) + 0.5) / 8 * 2
    x, y = torch.meshgrid((at * cx - cx) / fx, (at * cy - cy) / fy, indexing="ij")
    edges = torch.linspace(torch.tensor(near).log(), torch.tensor(far).log(), 5, dtype=torch.float64)
    depth = ((edges[:-1] + edges[1:]) / 2).exp()
    rays = torch.stack([x.reshape(-1), y.reshape(-1), torch.ones(64, dtype=torch.float64)])
    return (rays[:, :, None] * depth).reshape(3, -1)


def overlap_of_frusta(query: Tensor, past: Tensor, near: float, far: float, k: Sequence[float]) -> Tensor:
    """Memorizon: the fraction of the frustum of a camera (4, 4) that each of M cameras sees: (M,)."""
    fx, fy, cx, cy = k
    world = query[:3, :3] @ frustum_samples(near, far, k) + query[:3, 3:]
    turn = past[:, :3, :3].mT
    x, y, z = (turn @ world - turn @ past[:, :3, 3:]).unbind(1)
    divisor = z.clamp(min=1e-9)
    u, v = x * fx / divisor + cx, y * fy / divisor + cy
    inside = (z > near) & (z < far) & (u >= 0) & (u <= 2 * cx) & (v >= 0) & (v <= 2 * cy)
    return inside.double().mean(1)


def overlap_of_fields(query: Tensor, past: Tensor, points: Tensor, fov_h: float, fov_v: float) -> float:
    """HY-WorldPlay: the fraction of the sample points in the field of view of one camera that another one sees."""

    def angles(vectors: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = vectors.unbind(-1)
        return torch.atan2(x, z).rad2deg(), torch.atan2(y, (x**2 + z**2).sqrt()).rad2deg()

    def sees(vectors: Tensor, ahead: Tensor) -> Tensor:
        (yaw, pitch), (yaw0, pitch0) = angles(vectors), angles(ahead)
        turn, tilt = torch.remainder(yaw - yaw0 + 180, 360) - 180, torch.remainder(pitch - pitch0 + 180, 360) - 180
        return (turn.abs() < fov_h / 2) & (tilt.abs() < fov_v / 2)

    relative = query @ torch.linalg.inv(past)
    seen = sees(points, torch.tensor([0.0, 0, 1]))
    vectors = points - relative[:3, 3]
    both = seen & sees(vectors, relative[:3, 2]) & (vectors.norm(dim=1) < 8)
    return float(both.sum() / seen.sum())


def render_colored(
    points: Array, colors: Array, world2cams: Array, k: Array, h: int, w: int
) -> tuple[list[Array], list[Array], list[Array]]:
    """Voyager: colored points (N, 3) in V views, in NumPy: images, masks and the depth of the farthest points."""
    homogeneous = np.hstack([points, np.ones((len(points), 1))])
    images, masks, depths = [], [], []
    for pose in world2cams:
        projected = (k @ (pose @ homogeneous.T).T[:, :3].T).T
        z = projected[:, 2]
        pixel = np.round(projected[:, :2] / z[:, None]).astype(int)
        kept = (pixel >= 0).all(1) & (pixel[:, 0] < w) & (pixel[:, 1] < h) & (z > 0) & (z < 60000)
        order = np.argsort(z[kept])
        column, row, z = pixel[kept, 0][order], pixel[kept, 1][order], z[kept][order]
        depth, image = np.full((h, w), np.inf), np.zeros((h, w, 3), np.uint8)
        depth[row, column] = np.minimum(depth[row, column], z)
        cell, first = np.unique(row * w + column, return_index=True)
        image[cell // w, cell % w] = colors[kept][order][first].astype(np.uint8)
        images.append(image)
        masks.append(np.where(depth != np.inf, 255, 0).astype(np.uint8))
        depths.append(depth)
    return images, masks, depths
