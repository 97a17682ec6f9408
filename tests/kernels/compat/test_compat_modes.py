# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The stand-ins in modes of torch, with arrays of every layout, and with arguments that do not fit."""

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
    assert same_bits(other.points_world, before)


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


def cached(frames: int) -> SimpleNamespace:
    return SimpleNamespace(
        input_image=FRAME[None, None, None].repeat(1, frames, 1, 1, 1, 1, 1), input_mask=None,
        input_points=POINTS[: H * W].reshape(1, 1, 1, 1, H, W, 3).repeat(1, frames, 1, 1, 1, 1, 1),
        device="cpu", foreground_masking=False,
    )  # fmt: skip


def frustum(**changed: Any) -> SimpleNamespace:
    fields = {"fx": 14.0, "fy": 15.0, "cx": 8.0, "cy": 6.0, "width": W, "height": H, "near": 0.5, "far": 9.0,
              "grid_uv": 8, "grid_depth": 4}  # fmt: skip
    return SimpleNamespace(**{name: value for name, value in (fields | changed).items() if value is not None})


def bare_cloud(**changed: Any) -> SimpleNamespace:
    fields = {"points_world": POINTS, "valid_mask": torch.ones(len(POINTS), dtype=torch.bool), "latent_hw": GRID}
    return SimpleNamespace(**(fields | changed))


def of_frusta(**changed: Any) -> Any:
    given = {"intrinsics": ROWS, "size": (H, W), "near": 0.5, "far": 9.0} | changed
    k, size = given.pop("intrinsics"), given.pop("size")
    return pose_bank.frustum_overlap(given.pop("query", POSES), POSES, k, size, **given)


def front(**changed: Any) -> Any:
    return spatia.frustum_frontmost_mask(POINTS, POSES, ROWS, **({"image_size": (H, W)} | changed))


RENDER = spatia.render_multi_view_pointcloud
COLORED = torch.cat([POINTS, COLORS], 1)
NAN_POSE = POSES * torch.tensor(torch.nan)
WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "frames of a cache": (
        lambda: gen3c.render_cache(cached(2), POSES[None], K.expand(1, 3, 3, 3)), ValueError,
        r"target_w2cs: expected \(B=1, T, 4, 4\) with T up to the 2 frames of the cache, got \(1, 3, 4, 4\)",
    ),
    "first frame of a cache": (
        lambda: gen3c.render_cache(cached(4), POSES[None], K.expand(1, 3, 3, 3), start_frame_idx=2), ValueError,
        "start_frame_idx: expected 0 to 1, got 2",
    ),
    "negative frame of a cache": (
        lambda: gen3c.render_cache(cached(1), POSES[None], K.expand(1, 3, 3, 3), start_frame_idx=-1), ValueError,
        "start_frame_idx: expected at least 0, got -1",
    ),
    "intrinsics of a cache": (
        lambda: gen3c.render_cache(cached(1), POSES[None], K.expand(1, 2, 3, 3)), ValueError,
        r"target_intrinsics: expected \(B=1, T=3, 3, 3\), got \(1, 2, 3, 3\)",
    ),
    "singular pose": (lambda: warp_of_depth(FRAME, DEPTH, 0 * POSES, K), ValueError, "transformation1: expected matr"),
    "singular intrinsics": (lambda: warp_of_depth(FRAME, DEPTH, POSES, 0 * K), ValueError, "intrinsic1: expected matr"),
    "a row of pixels": (lambda: RENDER(COLORED, POSES, ROWS, (1, 8)), ValueError, "image_size: expected at least 2 x"),
    "far": (lambda: front(far=torch.nan), ValueError, "far: expected a finite number, got nan"),
    "near": (lambda: front(near="a"), TypeError, "near: expected a number, got str"),
    "infinite near": (lambda: front(near=torch.inf), ValueError, "near: expected a finite number, got inf"),
    "image size": (lambda: front(image_size=6), ValueError, r"image_size: expected \(h, w\), got 6"),
    "pixels": (lambda: pytorch3d.rasterize_points(POINTS[None], [6]), ValueError, r"image_size: expected \(h, w\)"),
    "points per pixel": (
        lambda: pytorch3d.rasterize_points(POINTS[None], 6, points_per_pixel=300), ValueError,
        "points_per_pixel: expected 1 to 256, got 300",
    ),
    "near above far": (lambda: of_frusta(near=9.0, far=1.0), ValueError, "far: expected more than near=9, got 1.0"),
    "near is far": (lambda: of_frusta(near=9.0), ValueError, "far: expected more than near=9, got 9.0"),
    "focal length of 0": (lambda: of_frusta(intrinsics=(0.0, 1, 1, 1)), ValueError, r"intrinsics\[0\]: expected a num"),
    "focal length of NaN": (lambda: of_frusta(intrinsics=(1, torch.nan, 1, 1)), ValueError, r"intrinsics\[1\]: exp"),
    "size of a frustum": (lambda: of_frusta(size=44), ValueError, r"size: expected \(height, width\), got 44"),
    "sizes of a frustum": (lambda: of_frusta(size=(1, 2, 3)), ValueError, r"size: expected \(height, width\), got"),
    "pose of NaN": (lambda: of_frusta(query=NAN_POSE), ValueError, r"query_c2w\[0\]: expected a finite pose"),
    "history of NaN": (
        lambda: pose_bank.fov_overlap_similarity(POSES, NAN_POSE, POINTS), ValueError,
        r"w2c_history\[0\]: expected a finite pose",
    ),
    "field of a frustum": (
        lambda: pose_bank.fov_overlap(POSES, POSES, frustum(near=None)), TypeError, "frustum: expected an object with",
    ),
    "several poses": (
        lambda: small_cloud().project(POSES), ValueError, r"cam2world: expected \(4, 4\); project_views renders",
    ),
    "device": (
        lambda: lsm.LatentPointCloud.from_geometry(DEPTH[0], K, POSES[0], LATENTS[0][:, None], device="foo"),
        (TypeError, ValueError), "device: expected",
    ),
    "grid of a cloud": (
        lambda: honeycomb.indexed_project(bare_cloud(latent_hw=6), POSES[0], K), ValueError,
        r"cloud.latent_hw: expected \(h, w\), got 6",
    ),
    "placement of a cloud": (
        lambda: honeycomb.indexed_project(bare_cloud(placement="x"), POSES[0], K),
        ValueError, "cloud.placement: expected 'release' or 'exact', got 'x'",
    ),
    "no intrinsics": (
        lambda: honeycomb.indexed_project(bare_cloud(), POSES[0]), TypeError, "K: expected intrinsics",
    ),
    "words": (
        lambda: voyager.render_from_cameras_videos(np.array([["a"] * 3]), COLORS, POSES, K, H, W), TypeError,
        "points: expected a tensor or an array of numbers, got an array of <U1",
    ),
    "lists of other lengths": (
        lambda: pose_bank.fov_overlap_similarity([POSES[0], POSES[0][:3]], POSES, POINTS), ValueError,
        "w2c_queries: expected items of one shape",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_named(name: str) -> None:
    call, kind, message = WRONG[name]
    with pytest.raises(kind, match=f"^{message}"):
        call()


def test_a_frame_without_channels_is_warped() -> None:
    image, mask, _, _ = warp_of_depth(FRAME[:, :0], DEPTH, POSES, K)
    assert image.shape == (1, 0, H, W)
    assert same_bits(mask, warp_of_depth(FRAME, DEPTH, POSES, K)[1])


def test_sizes_may_be_integers_of_numpy() -> None:
    expected = pytorch3d.rasterize_points(POINTS[None], 6)
    for size in (np.int64(6), np.array([6, 6]), torch.tensor([6, 6]), [6, 6]):
        assert_equal(pytorch3d.rasterize_points(POINTS[None], size), expected)
    assert_equal(of_frusta(size=torch.tensor([H, W])), of_frusta())
    assert same_bits(pose_bank.fov_overlap(POSES, POSES, frustum()), of_frusta())
