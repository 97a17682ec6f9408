# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A still image of a memory and the path of its cameras."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mirage_kernels import Cameras, check, splat

from ..errors import missing_package
from ..io.images import to_pil
from ..memory import LatentSpatialMemory
from .point_cloud import PointCloud
from .vantage import View, find_vantage

OVERSAMPLING = 2
HALF_SIDE = 0.75  # of a point's square: seen at an angle, squares that just touch leave gaps
MAX_FRUSTA = 24
FRUSTUM_DEPTH = 0.05  # of the distance to the scene
BACKGROUND = 1.0
PATH_COLOR, FRUSTUM_COLOR = (230, 60, 30), (30, 30, 30)


def draw_overview(
    memory: LatentSpatialMemory, cloud: PointCloud, size: tuple[int, int] = (720, 960), *, view: View = "angle"
) -> Tensor:
    """Draw the points of a memory from outside, with the path and the frusta of the cameras in its history.

    Args:
        memory: the memory.
        cloud: its points, see :func:`mirage.viewer.make_point_cloud`.
        size: (H, W) of the image.
        view: ``"angle"`` looks down from behind the first camera, ``"above"`` straight down.

    Returns:
        (3, H, W) float32, values 0 to 1.

    Raises:
        ImportError: Pillow is not installed.
        TypeError, ValueError: an argument has the wrong type or value.
    """
    height, width = check.size("size", size)
    vantage = find_vantage(memory, view, width / height)
    camera = vantage.camera((height * OVERSAMPLING, width * OVERSAMPLING))
    drawn = splat(
        cloud.xyz, cloud.colors.float() / 255, camera, extent=HALF_SIDE * cloud.size, near=max(vantage.near, 1e-6)
    )
    image = torch.where(drawn.mask, drawn.features[0], BACKGROUND)
    history = memory.history
    if history.cameras is None:
        return _reduce(image, [])
    distance = float((vantage.target - vantage.eye).norm())
    return _reduce(image, _lines(history.to_local(history.cameras).to("cpu"), camera, FRUSTUM_DEPTH * distance))


def frustum_corners(cameras: Cameras, depth: float) -> Tensor:
    """The corners of the images of cameras at a depth.

    Args:
        cameras: V cameras.
        depth: world units.

    Returns:
        (V, 4, 3) float32: top left, top right, bottom right, bottom left.
    """
    (h, w), k, pose = cameras.size, cameras.intrinsics, cameras.cam2world
    pixels = torch.tensor([[0, 0], [w, 0], [w, h], [0, h]], dtype=torch.float32, device=k.device)
    focal, center = torch.stack([k[:, 0, 0], k[:, 1, 1]], 1), k[:, :2, 2]
    flat = (pixels - center[:, None]) / focal[:, None] * depth
    local = torch.cat([flat, torch.full_like(flat[..., :1], depth)], 2)
    return local @ pose[:, :3, :3].mT + pose[:, None, :3, 3]


def _lines(cameras: Cameras, camera: Cameras, depth: float) -> list[tuple[Tensor, tuple[int, int, int]]]:
    """The lines (P, 3) to draw, in pixels with their depth, and the color of each."""

    def project(points: Tensor) -> Tensor:
        uv, z, _ = camera.project(points.float())
        return torch.cat([uv[0], z[0, :, None]], 1)

    step = -(-len(cameras) // MAX_FRUSTA)
    chosen = cameras[::step]
    lines = []
    for center, corners in zip(chosen.centers, frustum_corners(chosen, depth), strict=True):
        rays = [torch.stack([center, corner]) for corner in corners]
        lines += [(project(line), FRUSTUM_COLOR) for line in (*rays, torch.cat([corners, corners[:1]]))]
    return [*lines, (project(cameras.centers), PATH_COLOR)]


def _reduce(image: Tensor, lines: list[tuple[Tensor, tuple[int, int, int]]]) -> Tensor:
    """Draw lines on an image, and reduce it to its final size."""
    try:
        from PIL import ImageDraw
    except ImportError as error:
        raise missing_package("drawing a memory", "Pillow", "pipeline") from error

    picture = to_pil(image)
    draw = ImageDraw.Draw(picture)
    for points, color in lines:
        if bool((points[:, 2] > 0).all()):
            is_path = color == PATH_COLOR
            draw.line([tuple(point) for point in points[:, :2].tolist()], fill=color, width=6 if is_path else 2)
    small = picture.reduce(OVERSAMPLING)
    return torch.from_numpy(np.asarray(small).copy()).movedim(2, 0).float() / 255
