# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What the originals compute, as loops in float64, written from their descriptions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray


def project(point: Sequence[float], world2cam: Array, k: Array) -> tuple[float, float, float]:
    """u, v and depth of a world point."""
    x, y, z = (float(world2cam[i, :3] @ np.asarray(point) + world2cam[i, 3]) for i in range(3))
    if z == 0:
        return math.nan, math.nan, 0.0
    return x / z * k[0, 0] + k[0, 2], y / z * k[1, 1] + k[1, 2], z


def z_buffer(
    points: Array,
    world2cam: Array,
    k: Array,
    size: tuple[int, int],
    cell_of: Callable[[float], int] = round,
    far: float = math.inf,
) -> tuple[Array, Array, Array]:
    """The index of the nearest point of every cell, -1 in holes, its depth, and the depth of the farthest point."""
    index, near, farthest = np.full(size, -1), np.full(size, math.inf), np.full(size, -math.inf)
    for n, point in enumerate(points):
        u, v, z = project(point, world2cam, k)
        if not 0 < z < far:
            continue
        i, j = cell_of(v), cell_of(u)
        if 0 <= i < size[0] and 0 <= j < size[1]:
            farthest[i, j] = max(farthest[i, j], z)
            if z < near[i, j]:
                near[i, j], index[i, j] = z, n
    return index, near, farthest


def released_points(
    depth: Array, k: Array, pose: Array, grid: tuple[int, int], mask: Array | None
) -> tuple[Array, Array]:
    """LatentSpatialMemory: points (h w, 3) and whether they are valid. Depth is resampled first, bilinearly."""
    (h, w), (height, width) = grid, depth.shape
    points, valid = np.zeros((h * w, 3)), np.zeros(h * w, bool)
    for i in range(h):
        for j in range(w):
            y, x = (max((n + 0.5) * big / small - 0.5, 0) for n, big, small in ((i, height, h), (j, width, w)))
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            top = depth[y0, x0] * (1 - x + x0) + depth[y0, x1] * (x - x0)
            bottom = depth[y1, x0] * (1 - x + x0) + depth[y1, x1] * (x - x0)
            z = top * (1 - y + y0) + bottom * (y - y0)
            u, v = j * width / w, i * height / h  # the corner of the cell, in pixels
            camera = np.array([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z])
            masked = mask is not None and mask[i * height // h, j * width // w]
            points[i * w + j], valid[i * w + j] = pose[:3, :3] @ camera + pose[:3, 3], z > 0 and not masked
    return points, valid


def exact_points(depth: Array, k: Array, pose: Array, grid: tuple[int, int], mask: Array | None) -> tuple[Array, Array]:
    """Points (h w, 3) at the centers of cells, at the lower median of their valid pixels; none if a pixel is masked."""
    (h, w), (height, width) = grid, depth.shape
    points, valid = np.zeros((h * w, 3)), np.zeros(h * w, bool)
    for i in range(h):
        for j in range(w):
            pixels = [
                (r, c)
                for r in range(height)
                for c in range(width)
                if (r + 0.5) * h // height == i and (c + 0.5) * w // width == j
            ]
            depths = sorted(depth[p] for p in pixels if depth[p] > 0)
            if not depths or (mask is not None and any(mask[p] for p in pixels)):
                continue
            z = depths[(len(depths) - 1) // 2]
            u, v = (j + 0.5) * width / w, (i + 0.5) * height / h
            camera = np.array([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z])
            points[i * w + j], valid[i * w + j] = pose[:3, :3] @ camera + pose[:3, 3], True
    return points, valid


def voxels_in_view(
    points: Array, world2cam: Array, k: Array, size: tuple[int, int], side: float
) -> set[tuple[int, ...]]:
    """LatentSpatialMemory: the voxels of the points inside a view, without rounding to cells."""
    found = set()
    for point in points:
        u, v, z = project(point, world2cam, k)
        if z > 0 and 0 <= u < size[1] and 0 <= v < size[0]:
            found.add(tuple(int(np.floor(np.float32(x) / np.float32(side))) for x in point))
    return found


def warp(
    frame: Array, weights: Array, homogeneous: Array, farthest: float, *, is_image: bool
) -> tuple[Array, Array, Array]:
    """GEN3C: a frame (c, h, w) at homogeneous pixels (h, w, 3).

    Returns:
        The image, the mask (h, w), and the sum of bilinear weights (h, w).
    """
    c, h, w = frame.shape
    sums, total, bilinear = np.zeros((c, h, w)), np.zeros((h, w)), np.zeros((h, w))
    for i in range(h):
        for j in range(w):
            z = homogeneous[i, j, 2]
            if not z > 0 or weights[i, j] == 0:
                continue
            divisor = float(np.float32(z) + np.float32(1e-7))
            u, v = homogeneous[i, j, 0] / divisor, homogeneous[i, j, 1] / divisor
            exponent = min(50 * math.log1p(z) / (math.log1p(max(farthest, 0)) + 1e-7), 80)
            weight = weights[i, j] / (math.exp(exponent) + 1e-7)
            for y in (math.floor(v), math.ceil(v)):
                for x in (math.floor(u), math.ceil(u)):
                    if 0 <= y < h and 0 <= x < w:
                        tap = (1 - abs(v - y)) * (1 - abs(u - x))
                        sums[:, y, x] += frame[:, i, j] * weight * tap
                        total[y, x] += weight * tap
                        bilinear[y, x] += tap
    known = total > 0
    image = np.where(known, sums / np.where(known, total, 1), -1.0 if is_image else 0.0)
    return np.clip(image, -1, 1) if is_image else image, known, bilinear


def warp_by_depth(depth: Array, world2cam1: Array, world2cam2: Array, k1: Array, k2: Array) -> Array:
    """GEN3C: the homogeneous pixels (h, w, 3) of the pixels of a depth map (h, w) in another view."""
    h, w = depth.shape
    relative, lift = world2cam2 @ np.linalg.inv(world2cam1), np.linalg.inv(k1)
    found = np.zeros((h, w, 3))
    for i in range(h):
        for j in range(w):
            d = depth[i, j]
            d = 1e4 if math.isnan(d) else min(max(d, 0), 1e4)
            found[i, j] = k2 @ (relative[:3, :3] @ (lift @ np.array([j, i, 1]) * d) + relative[:3, 3])
    return found


def frontmost(points: Array, world2cam: Array, k: Array, size: tuple[int, int], near: float, far: float) -> Array:
    """Spatia: which points are within 1e-6 of the nearest depth of their pixel. Pixels are cut off toward zero."""
    nearest: dict[tuple[int, int], float] = {}
    cells: list[tuple[tuple[int, int], float] | None] = []
    for point in points:
        u, v, z = project(point, world2cam, k)
        found = None
        if z > 0 and near <= z <= far:
            i, j = int(v), int(u)
            if 0 <= i < size[0] and 0 <= j < size[1]:
                found = ((i, j), z)
                nearest[i, j] = min(z, nearest.get((i, j), math.inf))
        cells.append(found)
    return np.array([c is not None and c[1] <= nearest[c[0]] + 1e-6 for c in cells])


def rasterize(points: Array, size: tuple[int, int], radius: float | Array, count: int) -> tuple[Array, Array, Array]:
    """PyTorch3D: indices, depths and squared distances (h, w, count) of the nearest points of every pixel."""
    radii = np.broadcast_to(radius, len(points))
    h, w = size
    index, depth, distance = (np.full((h, w, count), -1.0) for _ in range(3))
    side = min(h, w)
    for i in range(h):
        y = h / side - (2 * i + 1) / side
        for j in range(w):
            x = w / side - (2 * j + 1) / side
            hits = []
            for n, (px, py, pz) in enumerate(points):
                d = (px - x) ** 2 + (py - y) ** 2
                if pz >= 0 and d < radii[n] ** 2:
                    hits.append((pz, n, d))
            for layer, (pz, n, d) in enumerate(sorted(hits)[:count]):
                index[i, j, layer], depth[i, j, layer], distance[i, j, layer] = n, pz, d
    return index.astype(np.int64), depth, distance


def composite(colors: Array, index: Array, opacity: Array) -> Array:
    """PyTorch3D: layers (h, w, count) blended from the nearest to the farthest: (h, w, C)."""
    h, w, count = index.shape
    image = np.zeros((h, w, colors.shape[1]))
    for i in range(h):
        for j in range(w):
            through = 1.0
            for layer in range(count):
                if index[i, j, layer] >= 0:
                    image[i, j] += through * opacity[i, j, layer] * colors[index[i, j, layer]]
                    through *= 1 - opacity[i, j, layer]
    return image


def frustum_overlap(
    query: Array, past: Array, k: Sequence[float], size: Sequence[float], depths: Sequence[float]
) -> float:
    """Memorizon: the fraction of 8 x 8 x 4 samples of the frustum of one camera that another one sees."""
    fx, fy, cx, cy = k
    (h, w), (near, far) = size, depths
    world2cam, inside = np.linalg.inv(past), 0
    for a in range(8):
        for b in range(8):
            for c in range(4):
                z = math.exp(math.log(near) + (c + 0.5) / 4 * math.log(far / near))
                u, v = (a + 0.5) / 8 * w, (b + 0.5) / 8 * h
                world = query @ np.array([(u - cx) / fx * z, (v - cy) / fy * z, z, 1])
                x, y, z, _ = world2cam @ world
                if near < z < far:
                    inside += 0 <= x / z * fx + cx <= w and 0 <= y / z * fy + cy <= h
    return inside / 256


def field_overlap(query: Array, past: Array, points: Array, fov_h: float, fov_v: float) -> float:
    """HY-WorldPlay: the fraction of the points in the field of view of one camera that another one sees. In degrees."""
    relative = query @ np.linalg.inv(past)  # the past camera in the axes of the query

    def sees(vector: Array, ahead: Array) -> bool:
        (yaw, pitch), (yaw0, pitch0) = (
            (math.degrees(math.atan2(x, z)), math.degrees(math.atan2(y, math.hypot(x, z))))
            for x, y, z in (vector, ahead)
        )
        turn = abs((yaw - yaw0 + 180) % 360 - 180)
        return turn < fov_h / 2 and abs((pitch - pitch0 + 180) % 360 - 180) < fov_v / 2

    seen = [p for p in points if sees(p, np.array([0.0, 0, 1]))]
    vectors = [p - relative[:3, 3] for p in seen]
    both = sum(float(np.linalg.norm(v)) < 8 and sees(v, relative[:3, 2]) for v in vectors)
    return both / len(seen) if seen else 0.0
