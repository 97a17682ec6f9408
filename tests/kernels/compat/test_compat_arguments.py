# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of the stand-ins that do not fit, and those that do in more than one form."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from compat_calls import (
    COLORS,
    DEPTH,
    FRAME,
    GRID,
    LATENTS,
    POINTS,
    POSES,
    ROWS,
    H,
    K,
    W,
    assert_equal,
    small_cloud,
    warp_of_depth,
)

from mirage_kernels.compat import gen3c, honeycomb, pose_bank, pytorch3d, spatia, voyager
from mirage_kernels.compat import latent_spatial_memory as lsm
from mirage_kernels.testing import same_bits


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
