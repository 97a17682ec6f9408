# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The stand-ins of ``mirage_kernels.compat`` beside the methods that they replace, on the same input."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks import scenes
from benchmarks.baselines import world_models as peers
from benchmarks.sizes import CHANNELS, CHUNK, GRID, POINTS, Video
from mirage_kernels.compat import gen3c, honeycomb, pose_bank, pytorch3d, spatia, voyager
from mirage_kernels.compat import latent_spatial_memory as lsm

ROUNDED = 2e-3  # share of cells that rounding may move, or where farther points of a sort show
LARGE, IMAGE = (352, 640), (704, 1280)


class Pair(NamedTuple):
    """A stand-in and the method that it replaces.

    Attributes:
        size: name of the input's size.
        ours, theirs: the calls to time; they take what ``prepare`` returns.
        compare: the share of differing values of their results.
        limit: the largest share that rounding may cause.
        prepare: returns new arguments for both calls.
    """

    size: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    compare: Callable[[Any, Any], float]
    limit: float = ROUNDED
    prepare: Callable[[], tuple[tuple[Any, ...], tuple[Any, ...]]] = lambda: ((), ())


def different(a: Any, b: Any, tolerance: float = 0.0) -> float:
    a, b = (torch.as_tensor(x).double() for x in (a, b))
    return float(((a - b).abs() > tolerance).double().mean())


def _integer_centers(intrinsics: Tensor) -> Tensor:
    shift = torch.zeros(3, 3)
    shift[:2, 2] = 0.5
    return intrinsics - shift


def _cloud(scene: str, of: Video | int) -> tuple[lsm.LatentPointCloud, peers.LatentCloud, Tensor, Tensor]:
    """A latent cloud for both, and the poses and intrinsics of nine views of the latent grid."""
    xyz, features, _ = scenes.valid_points(scene, of)
    cameras = scenes.path(scene)
    k, valid = _integer_centers(cameras.intrinsics[0]), torch.ones(len(xyz), dtype=torch.bool)
    ours = lsm.LatentPointCloud(xyz, features, valid, k, GRID)
    return ours, peers.LatentCloud(xyz, features, valid), cameras.cam2world, k


def project(scene: str, of: Video | int, views: int) -> Pair:
    ours, theirs, poses, k = _cloud(scene, of)

    def render() -> list[Tensor]:
        return [peers.project_latents(theirs, pose, k, GRID)[0] for pose in poses[:views]]

    size = f"{len(ours):,} points, {views} view{'s' * (views > 1)}"
    run = partial(ours.project_views, poses, k) if views > 1 else partial(ours.project, poses[0], k)

    def compare(found: tuple[Tensor, Tensor], expected: list[Tensor]) -> float:
        return different(found[0].reshape(views, CHANNELS, *GRID), torch.stack(expected))

    return Pair(size, run, render, compare, 0.2)  # the sort shows farther points, another set in every run


def indexed(scene: str) -> Pair:
    ours, theirs, poses, k = _cloud(scene, POINTS[0])
    return Pair(
        f"{len(ours):,} points, 1 view",
        lambda: honeycomb.indexed_project(ours, poses[0], k),
        lambda: peers.project_indices(theirs, poses[0], k, GRID),
        lambda found, expected: different(found[1], expected[1]),
    )


def update(scene: str) -> Pair:
    """Append a chunk of nine latents to a cloud of 316,800 points that another chunk has been appended to."""
    ours, theirs, _, _ = _cloud(scene, POINTS[0])
    depth, latents, cameras = scenes.chunk(scene, CHUNK)
    k = cameras.intrinsics
    ours.update(depth, k, cameras.cam2world, latents)
    theirs = peers.append_latents(theirs, depth, k[0], cameras.cam2world, latents)

    def append(cloud: lsm.LatentPointCloud) -> lsm.LatentPointCloud:
        cloud.update(depth, k, cameras.cam2world, latents)
        return cloud

    def compare(found: lsm.LatentPointCloud, expected: peers.LatentCloud) -> float:
        return different(found.points_world, expected.xyz, 1e-3) + different(found.features, expected.features)

    return Pair(
        f"{CHUNK.cells:,} points to {len(ours):,}",
        append,
        lambda cloud: peers.append_latents(cloud, depth, k[0], cameras.cam2world, latents),
        compare,
        prepare=lambda: ((copy.deepcopy(ours),), (theirs,)),
    )


def retrieve(scene: str) -> Pair:
    """Record nine new latents, and select references among 36 of them, in a cloud of 30,000 points."""
    ours, theirs, _, _ = _cloud(scene, 30_000)
    _, cameras = scenes.frames(scene)
    cells = cameras.rescale(GRID)
    ks = _integer_centers(cells.intrinsics)
    geometry = SimpleNamespace(frames=np.empty((1, *GRID, 3)), intrinsics=ks, poses_c2w=cameras.cam2world)
    past, new, targets = list(range(27)), list(range(27, 36)), list(range(36, 45))
    latents = [torch.zeros(1, 1, 1)] * 36
    seen: dict[int, Any] = {}

    def record(frames: list[int], into: dict[int, Any]) -> None:
        lsm.update_frame_visibility(
            lpc=ours, geometry=geometry, pose_indices=frames, frame_visible_points=into, start_output_latent=frames[0]
        )

    def select(into: dict[int, Any]) -> list[int]:
        return lsm.select_reference_latents(
            lpc=ours, geometry=geometry, target_pose_indices=targets, generated_latents=latents,
            frame_visible_points=into, max_reference_frames=4, iou_threshold=0.04, voxel_size=0.1,
        )[1]  # fmt: skip

    def in_view(frame: int) -> Tensor:
        return peers.points_in_view(theirs, cameras.cam2world[frame], ks[frame], GRID)

    record(past, seen)
    select(seen)
    known = [in_view(frame) for frame in past]

    def run(into: dict[int, Any]) -> list[int]:
        record(new, into)
        return select(into)

    def by_sets() -> list[int]:
        points = [*known, *(in_view(frame) for frame in new)]
        target = torch.cat([in_view(frame) for frame in targets])
        ious = [(i, peers.overlap_of_points(target, p, 0.1)) for i, p in enumerate(points)]
        return [i for i, iou in sorted(ious, key=lambda pair: -pair[1]) if iou >= 0.04][:4]

    return Pair(
        "9 new latents, 36 past ones, 30,000 points", run, by_sets, lambda a, b: float(a != b), 0.0,
        lambda: ((dict(seen),), ()),
    )  # fmt: skip


def _frame(scene: str, size: tuple[int, int], channels: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A frame, its depth, intrinsics, and world-to-camera poses of ten views. Holes have the depth 0."""
    depth, cameras = scenes.frames(scene)
    cameras = cameras.rescale(size)
    d = torch.nn.functional.interpolate(depth[5:6, None], size, mode="nearest")
    image = torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    poses = torch.linalg.inv(cameras.cam2world[5:25:2].double()).float()
    return image, d, _integer_centers(cameras.intrinsics[:1]), poses


def _warps_differ(found: Any, expected: Any) -> float:
    return different(found[0], expected[0], 1e-2)


def forward_warp(scene: str, size: tuple[int, int], channels: int) -> Pair:
    image, depth, k, poses = _frame(scene, size, channels)
    t1, t2 = poses[:1], poses[1:2]
    return Pair(
        f"{size[0]}x{size[1]}, {channels} channels",
        lambda: gen3c.forward_warp(image, None, depth, t1, t2, k, k),
        lambda: peers.bilinear_splatting(image, peers.warp_points(depth, t1, t2, k, k)),
        _warps_differ,
        0.02,
    )


def render_cache(scene: str, size: tuple[int, int]) -> Pair:
    image, depth, k, poses = _frame(scene, size, 3)
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    rays = torch.stack([(x - k[0, 0, 2]) / k[0, 0, 0], (y - k[0, 1, 2]) / k[0, 1, 1], torch.ones(size)], -1)
    pose = torch.linalg.inv(poses[0].double()).float()
    points = (rays * depth[0, 0, ..., None]) @ pose[:3, :3].T + pose[:3, 3]
    cache = SimpleNamespace(
        input_image=image[None, None, None], input_points=points[None, None, None, None], input_mask=None,
        foreground_masking=False, device="cpu",
    )  # fmt: skip
    targets = poses[1:]
    return Pair(
        f"{size[0]}x{size[1]}, {len(targets)} views",
        lambda: gen3c.render_cache(cache, targets[None], k.expand(1, len(targets), 3, 3)),
        lambda: peers.render_cache(image[0], points, targets, k),
        lambda found, expected: different(found[0][0, :, 0], expected[0], 1e-2),
        0.02,
    )


def _points(scene: str, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """316,800 points with colors, intrinsics of a size, and world-to-camera poses of nine views."""
    cloud = scenes.cloud(scene, POINTS[0])
    cameras = scenes.path(scene).rescale(size)
    last = torch.tensor([0.0, 0, 0, 1]).expand(len(cameras), 1, 4)
    colors = torch.rand(len(cloud.xyz), 3, generator=torch.Generator().manual_seed(0))
    return cloud.xyz, colors, cameras.intrinsics[0], torch.cat([cameras.world2cam, last], 1)


def frontmost(scene: str) -> Pair:
    xyz, _, k, poses = _points(scene, IMAGE)
    four = torch.stack([k[0, 0], k[1, 1], k[0, 2], k[1, 2]])
    return Pair(
        f"{len(xyz):,} points, 9 views of {IMAGE[0]}x{IMAGE[1]}",
        lambda: spatia.frustum_frontmost_mask(xyz, poses, four, IMAGE),
        lambda: peers.frontmost(xyz, poses, four, IMAGE),
        different,
    )


def colored_video(scene: str) -> Pair:
    xyz, colors, k, poses = _points(scene, LARGE)
    points, rgb, w2c, matrix = (x.double().numpy() for x in (xyz, colors * 255, poses, _integer_centers(k)))
    ks = np.broadcast_to(matrix, (len(w2c), 3, 3)).copy()
    return Pair(
        f"{len(xyz):,} points, 9 views of {LARGE[0]}x{LARGE[1]}",
        lambda: voyager.render_from_cameras_videos(points, rgb, w2c, ks, *LARGE),
        lambda: peers.render_colored(points, rgb, w2c, matrix, *LARGE),
        lambda found, expected: (
            different(np.stack(found[1]), np.stack(expected[1])) + different(np.stack(found[0]), np.stack(expected[0]))
        ),
    )


def rasterize(scene: str, count: int) -> Pair:
    xyz, _, k, poses = _points(scene, LARGE)
    (h, w), side, radius = LARGE, min(LARGE), 0.01
    camera = xyz @ poses[4, :3, :3].T + poses[4, :3, 3]
    camera = camera[camera[:, 2] > 0.1]
    z = camera[:, 2]
    u, v = (camera[:, i] / z * k[i, i] + k[i, 2] for i in (0, 1))
    points = torch.stack([(w - 2 * u) / side, (h - 2 * v) / side, z], 1)
    return Pair(
        f"{len(points):,} points, {h}x{w}, K = {count}",
        lambda: pytorch3d.rasterize_points(points[None], LARGE, radius, count),
        lambda: peers.nearest_in_discs(points, LARGE, radius, count),
        lambda found, expected: different(found[0][0], expected[0]),
    )


def frusta(scene: str) -> Pair:
    """Nine queries, and all past frames."""
    _, cameras = scenes.frames(scene)
    k = (60.0, 60.0, 40.0, 22.0)
    past, queries = cameras.cam2world.repeat(4, 1, 1)[:256], cameras.cam2world[5:59:6]
    return Pair(
        f"9 queries, {len(past)} past frames",
        lambda: pose_bank.frustum_overlap(queries, past, k, (44, 80), near=0.5, far=15),
        lambda: [peers.overlap_of_frusta(q, past.double(), 0.5, 15, k) for q in queries.double()],
        lambda found, expected: different(found, torch.stack(expected), 1e-6),
        0.1,  # a border of the image, seen by the camera itself
    )


def fields(scene: str) -> Pair:
    """Four queries, and all past frames."""
    _, cameras = scenes.frames(scene)
    poses = torch.linalg.inv(cameras.cam2world.double()).float()
    past, queries = poses[:64], poses[64:68]
    g = torch.Generator().manual_seed(0)
    points = torch.nn.functional.normalize(torch.randn(10_000, 3, generator=g))
    points *= 8 * torch.rand(10_000, 1, generator=g) ** (1 / 3)
    return Pair(
        f"4 queries, {len(past)} past frames, 10,000 points",
        lambda: pose_bank.fov_overlap_similarity(queries, past, points, 60, 35),
        lambda: [[peers.overlap_of_fields(q, p, points, 60, 35) for p in past] for q in queries],
        lambda found, expected: different(found, torch.tensor(expected), 5e-3),
    )


def pairs(scene: str) -> dict[str, Callable[[], Pair]]:
    """Every pair by the name of the stand-in."""
    found: dict[str, Callable[[], Pair]] = {
        "LatentPointCloud.project": partial(project, scene, CHUNK, 1),
        "LatentPointCloud.project, large": partial(project, scene, POINTS[0], 1),
        "project_lpc_sequence": partial(project, scene, CHUNK, 9),
        "project_lpc_sequence, large": partial(project, scene, POINTS[0], 9),
        "LatentPointCloud.update": partial(update, scene),
        "select_reference_latents": partial(retrieve, scene),
        "indexed_project": partial(indexed, scene),
        "forward_warp, latents": partial(forward_warp, scene, GRID, CHANNELS),
        "forward_warp": partial(forward_warp, scene, IMAGE, 3),
        "Cache3D.render_cache": partial(render_cache, scene, IMAGE),
        "frustum_frontmost_mask": partial(frontmost, scene),
        "render_from_cameras_videos": partial(colored_video, scene),
        "rasterize_points": partial(rasterize, scene, 1),
        "rasterize_points, K = 8": partial(rasterize, scene, 8),
        "fov_overlap": partial(frusta, scene),
        "fov_overlap_similarity": partial(fields, scene),
    }
    return found
