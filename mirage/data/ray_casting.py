# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Ray casting of textured boxes: exact depth, which box each pixel shows, and where on its face.

The world has OpenCV axes: x right, y down, z forward. Boxes are turned about the vertical axis only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras

NEAR = 0.02  # meters


class Boxes(NamedTuple):
    """B boxes, on the CPU.

    Attributes:
        center: (B, 3) float32, meters.
        half: (B, 3) float32, half of the sides, meters.
        yaw: (B,) float32, radians about the vertical axis.
        texture: (B,) int64, number of the texture.
        tile: (B,) float32, meters that a texture covers before it repeats; 0 stretches it over each face.
        tint: (B, 3) float32, factors of its colors.
        mover: (B,) int64, number of the moving object that the box belongs to; -1 stands still.
    """

    center: Tensor
    half: Tensor
    yaw: Tensor
    texture: Tensor
    tile: Tensor
    tint: Tensor
    mover: Tensor

    @classmethod
    def cat(cls, boxes: list[Boxes]) -> Boxes:
        """Return all boxes of several groups."""
        return cls(*(torch.cat(parts) for parts in zip(*boxes, strict=True)))


class Hits(NamedTuple):
    """What the pixels of a view show.

    Attributes:
        depth: (H, W) float32 z-depth in meters; +inf where no box is.
        box: (H, W) int64, number of the box; -1 where none is.
    """

    depth: Tensor
    box: Tensor


class Rays(NamedTuple):
    """The rays of one camera, in the world.

    Attributes:
        origin: (x, y, z) of the camera, meters.
        x, y, z: (H, W) float32, parts of directions whose depth is 1.
        camera: the camera.
    """

    origin: tuple[float, float, float]
    x: Tensor
    y: Tensor
    z: Tensor
    camera: Cameras

    @classmethod
    def of(cls, camera: Cameras) -> Rays:
        """Return the rays through the centers of the pixels of one camera."""
        (height, width), k, pose = camera.size, camera.intrinsics[0], camera.cam2world[0]
        across = (torch.arange(width, dtype=torch.float32, device="cpu") + 0.5 - k[0, 2]) / k[0, 0]
        down = ((torch.arange(height, dtype=torch.float32, device="cpu") + 0.5 - k[1, 2]) / k[1, 1])[:, None]
        x, y, z = (pose[axis, 0] * across + pose[axis, 1] * down + pose[axis, 2] for axis in range(3))
        px, py, pz = pose[:3, 3].tolist()
        return cls((px, py, pz), x, y, z, camera)


def cast(rays: Rays, boxes: Boxes) -> Hits:
    """Find the nearest box along every ray.

    A box that a camera is in is not seen. Only the pixels of a rectangle around each box are tested.
    """
    depth = torch.full_like(rays.x, math.inf)
    shown = torch.full_like(rays.x, -1, dtype=torch.int32)
    windows = _windows(rays.camera, boxes)
    numbers = zip(boxes.center.tolist(), boxes.half.tolist(), boxes.yaw.tolist(), windows, strict=True)
    for box, (center, half, yaw, (top, bottom, left, right)) in enumerate(numbers):
        if top >= bottom or left >= right:
            continue
        window = (slice(top, bottom), slice(left, right))
        distance = _enter(rays, window, center, half, yaw)
        nearest = depth[window]
        is_nearer = distance < nearest
        nearest.copy_(torch.where(is_nearer, distance, nearest))
        shown[window].masked_fill_(is_nearer, box)
    return Hits(depth, shown.long())


def _enter(rays: Rays, window: tuple[slice, slice], center: list[float], half: list[float], yaw: float) -> Tensor:
    """Depth at which the rays of a window enter a box, +inf where they do not: the slabs of Kay and Kajiya (1986)."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    x, y, z = rays.x[window], rays.y[window], rays.z[window]
    if yaw:
        x, z = cos * x - sin * z, sin * x + cos * z
    ox, oy, oz = (a - b for a, b in zip(rays.origin, center, strict=True))
    ox, oz = cos * ox - sin * oz, sin * ox + cos * oz
    first = torch.full_like(x, NEAR)
    last = torch.full_like(x, math.inf)
    for direction, at, reach in ((x, ox, half[0]), (y, oy, half[1]), (z, oz, half[2])):
        inverse = direction.reciprocal()
        one, other = inverse * (-reach - at), inverse * (reach - at)
        first = torch.maximum(first, torch.minimum(one, other))
        last = torch.minimum(last, torch.maximum(one, other))
    return torch.where((first <= last) & (first > NEAR), first, math.inf)


def _windows(camera: Cameras, boxes: Boxes) -> list[list[int]]:
    """Rows and columns (first, last + 1) that each box may show in; empty where it is behind the camera or beside."""
    height, width = camera.size
    signs = torch.tensor(
        [[i, j, k] for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)], dtype=torch.float32, device="cpu"
    )
    local = signs * boxes.half[:, None]  # (B, 8, 3)
    cos, sin = boxes.yaw.cos()[:, None], boxes.yaw.sin()[:, None]
    x, z = cos * local[..., 0] + sin * local[..., 2], -sin * local[..., 0] + cos * local[..., 2]
    corners = torch.stack([x, local[..., 1], z], -1) + boxes.center[:, None]
    uv, depth, _ = camera.project(corners.reshape(-1, 3))
    uv, depth = uv[0].reshape(-1, 8, 2), depth[0].reshape(-1, 8)
    low, high = uv.amin(1).floor() - 1, uv.amax(1).ceil() + 1
    crosses = (depth <= NEAR).any(1)  # a corner behind the camera projects anywhere
    low = torch.where(crosses[:, None], 0, low).clamp(min=0)
    size = torch.tensor([width, height], dtype=torch.float32, device="cpu")
    high = torch.minimum(torch.where(crosses[:, None], size, high), size)
    high = torch.where((depth <= NEAR).all(1)[:, None], 0, high)
    top_left, bottom_right = low.long(), high.long()
    windows: list[list[int]] = torch.stack(
        [top_left[:, 1], bottom_right[:, 1], top_left[:, 0], bottom_right[:, 0]], 1
    ).tolist()
    return windows


class Surface(NamedTuple):
    """Points on faces of boxes.

    Attributes:
        box: (P,) int64.
        point: (P, 3) float32, world.
        normal: (P, 3) float32, unit vectors out of the faces.
        face: (P, 2) float32, position on the face in meters from its center: along the first and the second side.
        sides: (P, 2) float32, lengths of the face, meters.
    """

    box: Tensor
    point: Tensor
    normal: Tensor
    face: Tensor
    sides: Tensor


def surface_of(rays: Rays, boxes: Boxes, hits: Hits) -> Surface:
    """Return where on which face the pixels lie that show a box, in the order of the pixels."""
    shown = hits.box >= 0
    box, depth = hits.box[shown], hits.depth[shown]
    origin = torch.tensor(rays.origin, dtype=torch.float32, device="cpu")
    point = torch.stack([rays.x[shown], rays.y[shown], rays.z[shown]], 1) * depth[:, None] + origin
    half, yaw = boxes.half[box], boxes.yaw[box]
    cos, sin, local = yaw.cos(), yaw.sin(), point - boxes.center[box]
    local = torch.stack([cos * local[:, 0] - sin * local[:, 2], local[:, 1], sin * local[:, 0] + cos * local[:, 2]], 1)
    axis = (local.abs() / half).argmax(1)  # of the face: the point is on its border along that axis
    side = local.gather(1, axis[:, None]).sign()
    normal = torch.zeros_like(point).scatter_(1, axis[:, None], side)
    normal = torch.stack(
        [cos * normal[:, 0] + sin * normal[:, 2], normal[:, 1], cos * normal[:, 2] - sin * normal[:, 0]], 1
    )
    # Faces across x have (z, y) as sides, those across y (x, z), those across z (x, y): pictures hang upright.
    sides = torch.tensor([[2, 1], [0, 2], [0, 1]], dtype=torch.int64, device="cpu")[axis]
    return Surface(box, point, normal, local.gather(1, sides), 2 * half.gather(1, sides))
