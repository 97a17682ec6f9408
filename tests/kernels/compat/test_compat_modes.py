# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The stand-ins in modes of torch, and with arrays of every layout; copies and files of clouds."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from compat_calls import (
    CALLS,
    COLORS,
    DEPTH,
    LATENTS,
    POINTS,
    POSES,
    ROWS,
    H,
    K,
    W,
    add_cell,
    assert_equal,
    grown_cloud,
    rendered_video,
    small_cloud,
    tensors,
)
from torch import Tensor

from mirage_kernels.compat import latent_spatial_memory as lsm
from mirage_kernels.compat import pose_bank, spatia, voyager
from mirage_kernels.testing import same_bits


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CALLS)
def test_autocast_changes_nothing(name: str, dtype: torch.dtype) -> None:
    run, args = CALLS[name]
    expected = run(*args)
    with torch.autocast("cpu", dtype=dtype):
        assert_equal(run(*args), expected)


@pytest.mark.filterwarnings("ignore:cameras. poses and intrinsics get no gradient:UserWarning")
@pytest.mark.parametrize("name", CALLS)
def test_arguments_may_require_gradients(name: str) -> None:
    run, args = CALLS[name]
    expected = run(*args)
    for chosen in range(len(args)):
        given = [x.clone().requires_grad_() if i == chosen else x for i, x in enumerate(args)]
        found = run(*given)
        assert_equal(found, expected)
        if name not in ("rasterize_points", "LatentPointCloud"):
            assert not any(part.requires_grad for part in tensors(found))


@pytest.mark.parametrize("name", CALLS)
def test_inference_mode_changes_nothing(name: str) -> None:
    run, args = CALLS[name]
    expected = run(*args)
    with torch.inference_mode():
        assert_equal(run(*args), expected)


def backwards(x: Tensor) -> np.ndarray:
    array: np.ndarray = x.numpy()[::-1].copy()[::-1]
    assert array.size == 0 or array.strides[0] < 0
    return array


def swapped(x: Tensor) -> np.ndarray:
    array: np.ndarray = x.numpy()
    return array.astype(array.dtype.newbyteorder(">"))


def read_only(x: Tensor) -> np.ndarray:
    array: np.ndarray = x.numpy().copy()
    array.setflags(write=False)
    return array


LAYOUTS: dict[str, Callable[[Tensor], Any]] = {
    "negative strides": backwards,
    "another byte order": swapped,
    "read-only": read_only,
    "lists of tensors": list,
    "lists of arrays": lambda x: [row.numpy() for row in x],
    "lists of numbers": lambda x: x.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_any_layout(layout: str) -> None:
    form = LAYOUTS[layout]
    expected = rendered_video(POINTS, COLORS, POSES, K)
    parts = voyager.render_from_cameras_videos(form(POINTS), form(COLORS * 255), form(POSES), form(K), H, W)
    assert_equal([torch.from_numpy(np.stack(part)) for part in parts], expected)
    cloud = lsm.LatentPointCloud.from_geometry(form(DEPTH[0]), form(K), form(POSES[0]), form(LATENTS[0][:, None]),
                                               device="cpu")  # fmt: skip
    cloud.update(form(DEPTH[1:]), form(K), form(POSES[1:]), form(LATENTS[1:]))
    assert_equal(cloud.points_world, grown_cloud(DEPTH, LATENTS, POSES, K)[2])
    front = spatia.frustum_frontmost_mask(form(POINTS), form(POSES), form(ROWS), (H, W))
    assert_equal(front, spatia.frustum_frontmost_mask(POINTS, POSES, ROWS, (H, W)))
    shares = pose_bank.fov_overlap_similarity(form(POSES), form(POSES), form(POINTS))
    assert_equal(shares, pose_bank.fov_overlap_similarity(POSES, POSES, POINTS))


def test_colors_may_be_turned_from_bgr() -> None:
    bgr = (COLORS * 255).to(torch.uint8).numpy()
    images = voyager.render_from_cameras_videos(POINTS, bgr[:, ::-1], POSES, K, H, W)[0]
    expected = voyager.render_from_cameras_videos(POINTS, bgr[:, ::-1].copy(), POSES, K, H, W)[0]
    assert np.array_equal(np.stack(images), np.stack(expected))
    assert np.stack(images).any()


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda cloud: pickle.loads(pickle.dumps(cloud))])
def test_copies_of_a_cloud_grow_on_their_own(how: Callable[[Any], Any]) -> None:
    cloud = small_cloud()
    other = how(cloud)
    add_cell(other, 2.0)
    before = other.points_world.clone()
    add_cell(cloud, 3.0)
    assert same_bits(other.points_world, before)
    assert len(cloud) == len(other)
    assert cloud.points_world[-1, 2] == 3
    cloud.points_world[0] = 7.0
    cloud.intrinsics_latent += 1
    assert same_bits(other.points_world, before)
    assert same_bits(other.intrinsics_latent, small_cloud().intrinsics_latent)


def test_copies_keep_attributes_of_subclasses() -> None:
    class Named(lsm.LatentPointCloud):
        name = ""

    cloud = Named.from_geometry(DEPTH[0], K, POSES[0], LATENTS[0][:, None], device="cpu")
    cloud.name = "kitchen"
    assert (copy.copy(cloud).name, type(copy.copy(cloud))) == ("kitchen", Named)


def test_frames_are_retrieved_from_copies_of_a_cloud() -> None:
    """What frames saw is remembered per cloud, because clouds that have grown apart number other voxels."""
    cloud = small_cloud()
    geometry = SimpleNamespace(frames=np.empty((3, H, W, 3)), intrinsics=K.expand(3, 3, 3), poses_c2w=POSES)
    seen: dict[int, Any] = {}
    lsm.update_frame_visibility(
        lpc=cloud, geometry=geometry, pose_indices=[0, 1], frame_visible_points=seen, start_output_latent=0
    )

    def select(of: lsm.LatentPointCloud, frames: dict[int, Any]) -> list[int]:
        return lsm.select_reference_latents(
            lpc=of, geometry=geometry, target_pose_indices=[2], generated_latents=list(LATENTS),
            frame_visible_points=frames, max_reference_frames=2, iou_threshold=0.01, voxel_size=0.2,
        )[1]  # fmt: skip

    select(cloud, seen)
    other = copy.copy(cloud)
    add_cell(other, 0.4)
    add_cell(cloud, 9.0)
    for of in (other, cloud):
        fresh = {number: copy.copy(frame) for number, frame in seen.items()}
        for frame in fresh.values():
            frame._bits = {}
        assert select(of, seen) == select(copy.copy(of), fresh)


def test_a_cloud_of_inference_mode_grows_outside_of_it() -> None:
    with torch.inference_mode():
        cloud = small_cloud()
    add_cell(cloud, 2.0)
    add_cell(cloud, 3.0)
    expected = small_cloud()
    add_cell(expected, 2.0)
    add_cell(expected, 3.0)
    assert same_bits(cloud.points_world, expected.points_world)
    with torch.inference_mode():
        bare = lsm.LatentPointCloud.from_geometry(DEPTH[0], K, POSES[0], LATENTS[0][:, None], device="cpu")
    bare.update(torch.zeros(1, H, W), K, POSES[:1], LATENTS[:1])  # nothing to append


@pytest.mark.parametrize("placement", ["release", "exact"])
def test_intrinsics_in_every_form_place_points_alike(placement: Any) -> None:
    clouds = []
    for k in (K, K.expand(3, 3, 3), ROWS, ROWS.expand(3, 4), ROWS.tolist(), K.numpy()):
        cloud = lsm.LatentPointCloud.from_geometry(
            DEPTH[0], K, POSES[0], LATENTS[0][:, None], device="cpu", placement=placement
        )
        cloud.update(DEPTH, k, POSES, LATENTS)
        clouds.append(cloud.points_world)
    assert all(same_bits(cloud, clouds[0]) for cloud in clouds)
    views = []
    for ks in (K.expand(3, 3, 3), ROWS.expand(3, 4)):
        geometry = SimpleNamespace(frames=np.empty((3, H, W, 3)), intrinsics=ks, poses_c2w=POSES)
        views.append(lsm.project_lpc_sequence(lpc=cloud, geometry=geometry, frame_indices=[0, 2]))
    assert same_bits(*views)


def damage(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "a module":
        torch.save(torch.nn.Linear(2, 2), path)
    elif kind == "a list":
        torch.save([1, 2], path)
    elif kind.startswith("latent_hw"):
        torch.save(torch.load(path, weights_only=True) | {"latent_hw": eval(kind.partition("=")[2])}, path)
    else:
        path.write_bytes({"junk": b"no zip file at all", "empty": b"", "cut": content[: len(content) // 2]}[kind])


@pytest.mark.parametrize(
    "kind",
    ["junk", "empty", "cut", "a module", "a list", "latent_hw=6", "latent_hw=(6,8,9)", "latent_hw='68'"],
)
def test_a_file_that_is_no_cloud_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "cloud.pt"
    small_cloud().save(path)
    assert len(lsm.LatentPointCloud.from_file(path)) == len(small_cloud())
    damage(path, kind)
    with pytest.raises(ValueError, match=r"^path: expected a file of a LatentPointCloud, got ") as error:
        lsm.LatentPointCloud.from_file(path)
    assert str(path) in str(error.value)
    with pytest.raises(FileNotFoundError):
        lsm.LatentPointCloud.from_file(tmp_path / "none.pt")


def test_videos_of_one_view_and_of_none() -> None:
    for depth in ("farthest", "nearest"):
        one = voyager.render_from_cameras_videos(POINTS, COLORS, POSES[0], K, H, W, depth=depth)
        many = voyager.render_from_cameras_videos(POINTS, COLORS, POSES, K, H, W, depth=depth)
        none = voyager.render_from_cameras_videos(POINTS, COLORS, POSES[:0], K, H, W, depth=depth)
        for single, several, empty in zip(one, many, none, strict=True):
            assert np.array_equal(single[0], several[0])
            assert (len(single), len(several), len(empty)) == (1, 3, 0)
