# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import copy
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import compat_oracles as oracles
import numpy as np
import pytest
import torch
from compat_scenes import Scene, clear_points, random_scene

from mirage_kernels.compat import latent_spatial_memory as lsm
from mirage_kernels.compat.honeycomb import indexed_project
from mirage_kernels.compat.latent_spatial_memory import LatentPointCloud

GRID = (6, 9)


def latents(count: int, channels: int = 5, seed: int = 0, grid: tuple[int, int] = GRID) -> torch.Tensor:
    return torch.randn(count, channels, *grid, generator=torch.Generator().manual_seed(seed))


def cloud_of(scene: Scene, placement: lsm.Placement = "release") -> LatentPointCloud:
    """A cloud of the first frame, updated with the others."""
    z = latents(len(scene.depth))
    first, k = z[0][:, None], scene.intrinsics
    cloud = LatentPointCloud.from_geometry(scene.depth[0], k, scene.poses[0], first, device="cpu", placement=placement)
    ks = np.broadcast_to(k, (len(z) - 1, 3, 3))
    cloud.update(scene.depth[1:], ks, scene.poses[1:], z[1:])
    return cloud


def latent_intrinsics(scene: Scene, grid: tuple[int, int] = GRID) -> np.ndarray:
    h, w = scene.size
    return scene.intrinsics * np.array([[grid[1] / w], [grid[0] / h], [1]])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("placement", ["release", "exact"])
def test_points_are_placed_as_described(scene: Scene, placement: Any, masked: bool) -> None:
    mask = np.random.default_rng(1).random(scene.size) < 0.02 if masked else None
    oracle = oracles.released_points if placement == "release" else oracles.exact_points
    points, valid = oracle(scene.depth[0], scene.intrinsics, scene.poses[0], GRID, mask)
    z = latents(1)[0][:, None]
    cloud = LatentPointCloud.from_geometry(
        scene.depth[0], scene.intrinsics, scene.poses[0], z, mask, "cpu", placement=placement
    )
    assert cloud.valid_mask.tolist() == valid.tolist()
    assert valid.any()
    np.testing.assert_allclose(cloud.points_world.numpy()[valid], points[valid], atol=2e-5)
    assert torch.equal(cloud.features[valid], z[:, 0].flatten(1).T[valid])
    np.testing.assert_allclose(cloud.intrinsics_latent.numpy(), latent_intrinsics(scene), rtol=1e-6)
    assert cloud.latent_hw == GRID


@pytest.mark.parametrize("placement", ["release", "exact"])
def test_projection_shows_the_nearest_point(scene: Scene, placement: lsm.Placement) -> None:
    k = latent_intrinsics(scene)
    cell_of = np.rint if placement == "release" else np.floor
    points = clear_points(scene.points(), scene.world2cams(), k, cell_of)
    features = torch.randn(len(points), 4, generator=torch.Generator().manual_seed(0))
    valid = np.random.default_rng(0).random(len(points)) < 0.9
    k32 = torch.tensor(k, dtype=torch.float32)
    xyz = torch.tensor(points, dtype=torch.float32)
    cloud = LatentPointCloud(xyz, features, torch.from_numpy(valid), k32, GRID, placement=placement)
    views, masks = cloud.project_views(scene.poses)
    indices, hits = indexed_project(cloud, scene.poses, k)
    kept = np.where(valid[:, None], points, math.nan)
    for v, pose in enumerate(scene.world2cams()):
        to_cell = round if placement == "release" else math.floor
        index, _, _ = oracles.z_buffer(kept, pose, k, GRID, to_cell)
        assert indices[v].tolist() == index.tolist()
        assert hits[v].tolist() == masks[v].tolist() == (index >= 0).tolist()
        expected = torch.cat([features, torch.zeros(1, 4)])[index].permute(2, 0, 1)
        assert torch.equal(views[v], expected)
        image, mask = cloud.project(scene.poses[v], k32)
        assert torch.equal(image, expected)
        assert torch.equal(mask, masks[v])
    assert hits.float().mean() > 0.2


def test_a_grown_cloud_is_its_frames_one_after_the_other(scene: Scene) -> None:
    cloud, z = cloud_of(scene), latents(len(scene.depth))
    parts = [
        LatentPointCloud.from_geometry(depth, scene.intrinsics, pose, latent[:, None], device="cpu")
        for depth, pose, latent in zip(scene.depth, scene.poses, z, strict=True)
    ]
    kept = [torch.ones(len(parts[0]), dtype=torch.bool), *(part.valid_mask for part in parts[1:])]
    xyz = torch.cat([part.points_world[k] for part, k in zip(parts, kept, strict=True)])
    assert torch.equal(cloud.points_world, xyz)
    assert torch.equal(cloud.features, torch.cat([part.features[k] for part, k in zip(parts, kept, strict=True)]))
    assert cloud.valid_mask[len(parts[0]) :].all()
    assert len(cloud) == len(xyz)


def test_one_frame_needs_no_batch() -> None:
    scene = random_scene(3)
    one, many = (LatentPointCloud.from_video_geometry(
        SimpleNamespace(depths=scene.depth, intrinsics=[scene.intrinsics] * 3, poses_c2w=scene.poses),
        0, latents(1)[0][:, None], device="cpu",
    ) for _ in range(2))  # fmt: skip
    z = latents(1, seed=1)
    one.update(scene.depth[1], scene.intrinsics, scene.poses[1], z[0])
    many.update(scene.depth[1:2], scene.intrinsics[None], scene.poses[1:2], z)
    assert torch.equal(one.points_world, many.points_world)
    before = len(one)
    one.update(np.zeros(scene.size), scene.intrinsics, scene.poses[1], z[0])
    assert len(one) == before


def test_files_are_read_without_objects(tmp_path: Path) -> None:
    cloud = cloud_of(random_scene(3), "exact")
    cloud.save(tmp_path / "new" / "cloud.pt")
    again = LatentPointCloud.from_file(tmp_path / "new" / "cloud.pt")
    assert torch.equal(again.points_world, cloud.points_world)
    assert (again.placement, again.latent_hw) == ("exact", GRID)
    names = ("points_world", "features", "valid_mask", "intrinsics_latent")
    original = {name: getattr(cloud, name) for name in names} | {"latent_hw": GRID}
    torch.save(original, tmp_path / "original.pt")  # as the original writes it
    assert LatentPointCloud.from_file(tmp_path / "original.pt").placement == "release"
    torch.save(original | {"features": Path("an object")}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match=r"path: expected a file .* \(damaged, or with objects\)"):
        LatentPointCloud.from_file(tmp_path / "bad.pt")
    torch.save({"features": cloud.features}, tmp_path / "part.pt")
    with pytest.raises(ValueError, match=r"path: expected a file .* \(content: expected points_world, features"):
        LatentPointCloud.from_file(tmp_path / "part.pt")


def retrieved_by_sets(
    rows: list[int], cloud: LatentPointCloud, scene: Scene, targets: list[int], side: float
) -> list[tuple[int, float]]:
    """Past frames, frame k of which was seen when the cloud had ``rows[k]`` points, with their overlap."""
    k, poses, xyz = latent_intrinsics(scene), scene.world2cams(), cloud.points_world.numpy()
    valid = cloud.valid_mask.numpy()
    xyz = np.where(valid[:, None], xyz, math.nan)

    def seen(frame: int, count: int) -> set[tuple[int, ...]]:
        return oracles.voxels_in_view(xyz[:count], poses[frame], k, GRID, side)

    target = set().union(*(seen(frame, len(xyz)) for frame in targets))
    past = [seen(frame, count) for frame, count in enumerate(rows)]
    return [(i, len(target & p) / len(target | p) if target | p else 0.0) for i, p in enumerate(past)]


def test_retrieval_selects_what_python_sets_select(scene: Scene) -> None:
    side, z = 0.2, list(latents(len(scene.depth), seed=4))
    h, w = scene.size
    ks = np.broadcast_to(scene.intrinsics, (len(z), 3, 3))
    geometry = SimpleNamespace(frames=np.empty((len(z), h, w, 3)), intrinsics=ks, poses_c2w=scene.poses)
    first = latents(1)[0][:, None]
    cloud = LatentPointCloud.from_geometry(scene.depth[0], scene.intrinsics, scene.poses[0], first, device="cpu")
    seen: dict[int, Any] = {}
    rows: list[int] = []
    selected = 0
    for frame in range(len(z) - 1):
        lsm.update_frame_visibility(
            lpc=cloud, geometry=geometry, pose_indices=[frame], frame_visible_points=seen, start_output_latent=frame
        )
        rows.append(len(cloud))
        cloud.update(scene.depth[frame + 1], ks[0], scene.poses[frame + 1], latents(1, seed=frame)[0])
        for targets in ([frame + 1], [0, frame + 1]):
            by_sets = retrieved_by_sets(rows, cloud, scene, targets, side)
            expected = [i for i, iou in sorted(by_sets, key=lambda pair: -pair[1]) if iou >= 0.04][:2]
            found, indices = lsm.select_reference_latents(
                lpc=cloud, geometry=geometry, target_pose_indices=targets, generated_latents=z,
                frame_visible_points=seen, max_reference_frames=2, iou_threshold=0.04, voxel_size=side,
            )  # fmt: skip
            assert indices == expected
            selected += len(expected)
            if found is not None:
                assert torch.equal(found, torch.stack([z[i] for i in expected], 1)[None])
    assert selected > 3


def test_nothing_is_retrieved_where_nothing_is_seen() -> None:
    scene = random_scene(3)
    cloud = cloud_of(scene)
    behind = copy.deepcopy(scene.poses)
    behind[:, :3, :3] = behind[:, :3, :3] @ np.diag([-1.0, 1, -1])
    geometry = SimpleNamespace(
        frames=np.empty((3, *scene.size, 3)), intrinsics=[scene.intrinsics] * 3, poses_c2w=behind
    )
    arguments: dict[str, Any] = {
        "lpc": cloud, "geometry": geometry, "target_pose_indices": [0], "generated_latents": [latents(1)[0]],
        "max_reference_frames": 4, "iou_threshold": 0.04, "voxel_size": 0.1,
    }  # fmt: skip
    assert lsm.select_reference_latents(frame_visible_points={}, **arguments) == (None, [])
    seen: dict[int, Any] = {}
    lsm.update_frame_visibility(
        lpc=cloud, geometry=geometry, pose_indices=[0], frame_visible_points=seen, start_output_latent=0
    )
    assert lsm.select_reference_latents(frame_visible_points=seen, **arguments) == (None, [])


def test_a_patched_pipeline_renders_all_views_at_once() -> None:
    def missing(**_: Any) -> None:
        raise AssertionError

    pipeline = SimpleNamespace(
        LatentPointCloud=object, project_lpc_sequence=missing, select_reference_latents=missing,
        update_frame_visibility=missing,
    )  # fmt: skip
    lsm.patch(pipeline)
    assert pipeline.LatentPointCloud is LatentPointCloud
    scene = random_scene(3)
    cloud, ks = cloud_of(scene), [scene.intrinsics] * 3
    geometry = SimpleNamespace(frames=np.empty((3, *scene.size, 3)), intrinsics=ks, poses_c2w=scene.poses)
    views: Any = pipeline.project_lpc_sequence
    rendered = views(lpc=cloud, geometry=geometry, frame_indices=[2, 0])
    assert torch.equal(rendered[:, 0], cloud.project(scene.poses[2])[0])
    with pytest.raises(ValueError, match="pipeline: expected a module with LatentPointCloud"):
        lsm.patch(SimpleNamespace())


def test_wrong_arguments_are_named() -> None:
    scene, z = random_scene(3), latents(1)[0][:, None]
    with pytest.raises(ValueError, match=r"latent: expected \(C, 1, h, w\), got \(5, 6, 9\)"):
        LatentPointCloud.from_geometry(scene.depth[0], scene.intrinsics, scene.poses[0], z[:, 0], device="cpu")
    with pytest.raises(ValueError, match="placement: expected 'release' or 'exact', got 'half'"):
        LatentPointCloud.from_geometry(
            scene.depth[0],
            scene.intrinsics,
            scene.poses[0],
            z,
            device="cpu",
            placement="half",  # type: ignore[arg-type]
        )
    cloud = cloud_of(scene)
    with pytest.raises(ValueError, match=r"cam2world: expected \(V, 4, 4\)"):
        cloud.project(np.eye(3))
    with pytest.raises(TypeError, match="cloud: expected an object with points_world, got int"):
        indexed_project(3, np.eye(4))
