# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Input of the tests of the stand-ins: random scenes, and frames of the recording."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

Array = np.ndarray
FRAMES = (5, 9, 12, 30)


class Scene(NamedTuple):
    """Posed depth maps: depth (T, H, W) float64, intrinsics (3, 3) in pixels, camera-to-world poses (T, 4, 4)."""

    depth: Array
    intrinsics: Array
    poses: Array

    def points(self) -> Array:
        """The world points (N, 3) of pixels with depth, whose centers have integer coordinates."""
        k, found = self.intrinsics, []
        for depth, pose in zip(self.depth, self.poses, strict=True):
            v, u = np.nonzero(depth > 0)
            z = depth[v, u]
            rays = np.stack([(u - k[0, 2]) / k[0, 0] * z, (v - k[1, 2]) / k[1, 1] * z, z], 1)
            found.append(rays @ pose[:3, :3].T + pose[:3, 3])
        return np.concatenate(found)

    @property
    def size(self) -> tuple[int, int]:
        return self.depth.shape[1], self.depth.shape[2]

    def world2cams(self) -> Array:
        return np.linalg.inv(self.poses)


def random_pose(rng: np.random.Generator, angle: float, move: float) -> Array:
    """A pose that is turned by up to ``angle`` and moved by up to ``move`` on every axis."""
    a, b, c = rng.uniform(-angle, angle, 3)
    x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = x @ y @ z
    pose[:3, 3] = rng.uniform(-move, move, 3)
    return pose.astype(np.float32).astype(np.float64)


def random_scene(seed: int, size: tuple[int, int] = (18, 26), frames: int = 3) -> Scene:
    """Depth maps of two noisy planes with holes, seen from near each other."""
    rng = np.random.default_rng(seed)
    h, w = size
    depth = np.where(rng.random((frames, h, w)) < 0.5, 2.0, 3.5) + rng.uniform(0, 0.3, (frames, h, w))
    depth[rng.random(depth.shape) < 0.2] = 0
    k = np.array([[0.8 * w, 0, 0.47 * w], [0, 0.75 * w, 0.52 * h], [0, 0, 1]])
    poses = np.stack([random_pose(rng, 0.3, 0.4) for _ in range(frames)])
    return Scene(depth.astype(np.float32).astype(np.float64), k.astype(np.float32).astype(np.float64), poses)


def recorded_scene(data: Path, step: int = 6) -> Scene:
    """Some frames of ``hololens_dev``, every ``step``-th pixel."""
    folder = data / "hololens_dev"
    files = sorted((folder / "depth").glob("*.png"))
    depth = np.stack([np.asarray(Image.open(files[i]), np.float32)[::step, ::step] / np.float32(1000) for i in FRAMES])
    k = np.loadtxt(folder / "K.txt").reshape(3, 3)
    k[:2] /= step
    poses = np.loadtxt(folder / "poses.txt").reshape(-1, 4, 4)[list(FRAMES)]
    return Scene(depth.astype(np.float64), k.astype(np.float32).astype(np.float64), poses)


def clear_points(points: Array, world2cams: Array, k: Array, cell_of: Callable[[Array], Array]) -> Array:
    """The points (N, 3) that no rounding can move to another cell, or in front of another point, of any view.

    Args:
        points: (N, 3).
        world2cams: (V, 4, 4).
        k: (3, 3).
        cell_of: how coordinates are rounded to cells.
    """
    points = points.astype(np.float32).astype(np.float64)
    kept = np.ones(len(points), bool)
    for pose in world2cams:
        camera = points @ pose[:3, :3].T + pose[:3, 3]
        z = camera[:, 2]
        with np.errstate(all="ignore"):
            u, v = (camera[:, i] / z * k[i, i] + k[i, 2] for i in (0, 1))
            for x in (u, v):
                kept &= (z <= 0) | (cell_of(x - 1e-3) == cell_of(x + 1e-3))
            cells = np.stack([cell_of(v), cell_of(u)], 1)
        order = np.lexsort([z, *cells.T])
        same = (cells[order][1:] == cells[order][:-1]).all(1) & (np.diff(z[order]) < 1e-4 * np.abs(z[order][1:]))
        kept[order[1:][same]] = False
        kept &= np.abs(z) > 1e-3
    return points[kept]
