# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Every stand-in, called on small random input."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mirage_kernels.compat import gen3c, honeycomb, pose_bank, pytorch3d, spatia, voyager
from mirage_kernels.compat import latent_spatial_memory as lsm
from mirage_kernels.testing import same_bits

G = torch.Generator().manual_seed(0)
H, W, GRID = 12, 16, (3, 4)
ROWS = torch.tensor([14.0, 15, 8, 6])
K = torch.tensor([[14.0, 0, 8], [0, 15, 6], [0, 0, 1]])
POSES = torch.eye(4).repeat(3, 1, 1)
POSES[:, 0, 3] = torch.tensor([0.0, 0.1, -0.2])
POINTS = torch.rand(400, 3, generator=G) * torch.tensor([2.0, 2, 1]) + torch.tensor([-1.0, -1, 1.5])
COLORS = torch.rand(400, 3, generator=G)
FRAME = torch.rand(1, 3, H, W, generator=G)
DEPTH = torch.rand(3, H, W, generator=G) + 2
LATENTS = torch.randn(3, 5, *GRID, generator=G)
FRUSTUM = (0.5, 9.0)


def warp_of_depth(frame: Tensor, depth: Tensor, poses: Tensor, k: Tensor) -> Any:
    return gen3c.forward_warp(frame, None, depth[:1, None], poses[:1], poses[1:2], k[None], k[None], render_depth=True)


def warp_of_points(frame: Tensor, points: Tensor, poses: Tensor, k: Tensor) -> Any:
    world = points[: H * W].reshape(1, H, W, 3)
    return gen3c.forward_warp(frame, None, None, None, poses[1:2], None, k[None], world_points1=world)


def rendered_cache(frame: Tensor, points: Tensor, poses: Tensor, k: Tensor) -> Any:
    cache = SimpleNamespace(
        input_image=frame[None, None, None], input_points=points[: H * W].reshape(1, 1, 1, 1, H, W, 3), input_mask=None,
        device="cpu", foreground_masking=False,
    )  # fmt: skip
    return gen3c.render_cache(cache, poses[None], k.expand(1, 3, 3, 3))


def grown_cloud(depth: Tensor, latents: Tensor, poses: Tensor, k: Tensor) -> Any:
    cloud = lsm.LatentPointCloud.from_geometry(depth[0], k, poses[0], latents[0][:, None], device="cpu")
    cloud.update(depth[1:], k, poses[1:], latents[1:])
    index, hit = honeycomb.indexed_project(cloud, poses)
    return *cloud.project_views(poses), cloud.points_world, index, hit


def selected(depth: Tensor, latents: Tensor, poses: Tensor, k: Tensor) -> Any:
    cloud = lsm.LatentPointCloud.from_geometry(depth[0], k, poses[0], latents[0][:, None], device="cpu")
    seen: dict[int, Any] = {}
    geometry = SimpleNamespace(frames=np.empty((3, H, W, 3)), intrinsics=k.expand(3, 3, 3), poses_c2w=poses)
    lsm.update_frame_visibility(
        lpc=cloud, geometry=geometry, pose_indices=[0, 1], frame_visible_points=seen, start_output_latent=0
    )
    return lsm.select_reference_latents(
        lpc=cloud, geometry=geometry, target_pose_indices=[2], generated_latents=list(latents),
        frame_visible_points=seen, max_reference_frames=2, iou_threshold=0.01, voxel_size=0.2,
    )[0]  # fmt: skip


def rendered_video(points: Tensor, colors: Tensor, poses: Tensor, k: Tensor) -> Any:
    parts = voyager.render_from_cameras_videos(points, colors * 255, poses, k, H, W)
    return tuple(torch.from_numpy(np.stack(part)) for part in parts)


def rendered_points(points: Tensor, colors: Tensor, poses: Tensor, rows: Tensor) -> Any:
    return spatia.render_multi_view_pointcloud(torch.cat([points, colors], 1), poses, rows, (H, W), 0.1)


# Every stand-in, as a function of tensors that may carry gradients.
CALLS: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "forward_warp": (warp_of_depth, (FRAME, DEPTH, POSES, K)),
    "forward_warp of points": (warp_of_points, (FRAME, POINTS, POSES, K)),
    "render_cache": (rendered_cache, (FRAME, POINTS, POSES, K)),
    "LatentPointCloud": (grown_cloud, (DEPTH, LATENTS, POSES, K)),
    "select_reference_latents": (selected, (DEPTH, LATENTS, POSES, K)),
    "voyager": (rendered_video, (POINTS, COLORS, POSES, K)),
    "frustum_frontmost_mask": (lambda *a: spatia.frustum_frontmost_mask(*a, (H, W)), (POINTS, POSES, ROWS)),
    "render_multi_view_pointcloud": (rendered_points, (POINTS, COLORS, POSES, ROWS)),
    "rasterize_points": (lambda points: pytorch3d.rasterize_points(points[None], (H, W), 0.2, 3), (POINTS,)),
    "frustum_overlap": (
        lambda a, b, rows: pose_bank.frustum_overlap(a, b, rows, (H, W), near=FRUSTUM[0], far=FRUSTUM[1]),
        (POSES, POSES, ROWS),
    ),
    "fov_overlap_similarity": (pose_bank.fov_overlap_similarity, (POSES, POSES, POINTS)),
}


def tensors(result: Any) -> list[Tensor]:
    parts = result if isinstance(result, (tuple, list)) else [result]
    return [part for part in parts if part is not None]


def assert_equal(found: Any, expected: Any) -> None:
    for a, b in zip(tensors(found), tensors(expected), strict=True):
        assert same_bits(a.detach(), b.detach())


def small_cloud() -> lsm.LatentPointCloud:
    """A cloud with room for more rows, after an update with a few of its cells."""
    cloud = lsm.LatentPointCloud.from_geometry(
        DEPTH[0], K, POSES[0], LATENTS[0][:, None], device="cpu", placement="exact"
    )
    add_cell(cloud, 1.0)
    assert len(cloud._rows[0]) > len(cloud) + 1
    return cloud


def add_cell(cloud: lsm.LatentPointCloud, z: float) -> None:
    depth = torch.zeros(1, H, W)
    depth[:, :4, :4] = z
    cloud.update(depth, K, POSES[:1], LATENTS[:1])
