# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Retrieval of reference latents for the stand-ins of LatentSpatialMemory."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from mirage_kernels import Cameras, overlap, visible

from ._arrays import cameras_of, intrinsics_matrix, numbers, scale_intrinsics
from ._modes import without_gradients
from ._seen_voxels import SeenFrame, VoxelNumbers, past_bits


class Cloud(Protocol):
    """What retrieval needs of a ``LatentPointCloud``."""

    latent_hw: tuple[int, int]

    @property
    def points_world(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def voxel_numbers(self, voxel_size: float) -> VoxelNumbers: ...


def update_frame_visibility(
    *,
    lpc: Cloud,
    geometry: Any,
    pose_indices: Sequence[int],
    frame_visible_points: dict[int, SeenFrame],
    start_output_latent: int,
) -> None:
    """Record which points new latent frames see, for :func:`select_reference_latents`.

    Args:
        lpc: the cloud.
        geometry: an object with ``frames`` (F, H, W, 3), ``intrinsics`` (F, 3, 3) and ``poses_c2w`` (F, 4, 4).
        pose_indices: the frames of the geometry that the new latents stand for.
        frame_visible_points: one entry per past latent frame; updated in place.
        start_output_latent: number of the first new latent frame.
    """
    cameras = _view_cameras(lpc, geometry, pose_indices)
    for offset in range(len(pose_indices)):
        frame_visible_points[start_output_latent + offset] = SeenFrame(cameras[offset], len(lpc))


@without_gradients
def select_reference_latents(
    *,
    lpc: Cloud,
    geometry: Any,
    target_pose_indices: Sequence[int],
    generated_latents: Sequence[Tensor],
    frame_visible_points: dict[int, SeenFrame],
    max_reference_frames: int,
    iou_threshold: float,
    voxel_size: float,
) -> tuple[Tensor | None, list[int]]:
    """Select the past latents that saw most of what the target views see: the same frames as the original.

    A frame's overlap is the intersection over union of voxels: those of the points in any target view, and those of the
    points that the frame saw when it was written. Ties keep the order of ``frame_visible_points``.

    Args:
        lpc: the cloud.
        geometry: as for :func:`update_frame_visibility`.
        target_pose_indices: frames of the geometry.
        generated_latents: past latents, each (C, h, w).
        frame_visible_points: filled by :func:`update_frame_visibility`.
        max_reference_frames: number of frames to select at most.
        iou_threshold: minimum overlap.
        voxel_size: side of a voxel, world units.

    Returns:
        The latents (1, C, R, h, w) and their numbers, best first; None and an empty list if there are none.
    """
    if max_reference_frames <= 0 or not generated_latents or not frame_visible_points:
        return None, []
    numbers = lpc.voxel_numbers(voxel_size)
    cameras = _view_cameras(lpc, geometry, target_pose_indices)
    seen = visible(lpc.points_world, cameras, groups=numbers.groups, num_groups=numbers.count)
    target = functools.reduce(torch.bitwise_or, seen)
    if not target.any():
        return None, []
    past = past_bits(lpc.points_world, list(frame_visible_points.values()), numbers)
    iou, order = overlap(target[None], past)[0].sort(descending=True, stable=True)
    keys = list(frame_visible_points)
    selected = [keys[i] for i in order[iou >= iou_threshold][:max_reference_frames].tolist()]
    if not selected:
        return None, []
    return torch.stack([generated_latents[key] for key in selected], 1)[None], selected


def frames_of(lpc: Cloud, geometry: Any, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Intrinsics of the latent grid and poses of frames of a geometry."""
    device = torch.device("cpu")
    k = torch.stack([intrinsics_matrix(geometry.intrinsics[i], 1, device, offset=0.0,
                                       name=f"geometry.intrinsics[{i}]").reshape(3, 3) for i in indices])  # fmt: skip
    poses = torch.stack([numbers("geometry.poses_c2w", geometry.poses_c2w[i], torch.float64) for i in indices])
    return scale_intrinsics(k, geometry.frames.shape[1:3], lpc.latent_hw), poses


def _view_cameras(lpc: Cloud, geometry: Any, indices: Sequence[int]) -> Cameras:
    """Cameras of frames over the latent grid. Retrieval, unlike projection, does not round: no half cell is added."""
    intrinsics, poses = frames_of(lpc, geometry, indices)
    return cameras_of(intrinsics, poses, lpc.latent_hw, lpc.points_world.device, inverse=False)
