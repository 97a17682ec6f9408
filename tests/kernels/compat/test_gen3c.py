# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import compat_oracles as oracles
import numpy as np
import pytest
import torch
from compat_scenes import Scene, random_scene
from torch import Tensor

from mirage_kernels.compat import gen3c

Array = np.ndarray


def tensors(*arrays: Array) -> list[Tensor]:
    return [torch.tensor(array, dtype=torch.float32) for array in arrays]


def image_of(scene: Scene, channels: int = 3, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, (channels, *scene.size)).astype(np.float32).astype(np.float64)


def small(scene: Scene) -> Scene:
    """A scene of at most 30x45 pixels."""
    step = max(1, round(scene.size[0] / 30))
    k = scene.intrinsics.copy()
    k[:2] /= step
    return Scene(scene.depth[:, ::step, ::step], k.astype(np.float32).astype(np.float64), scene.poses)


def assert_warped(found: Any, expected: tuple[Array, Array, Array]) -> None:
    """Where a cell gets more than a rounding error of weight, image and mask are the oracle's."""
    image, known, bilinear = expected
    sure = (bilinear == 0) | (bilinear > 1e-3)
    assert sure.mean() > 0.9
    assert found[1][0].bool().numpy()[sure].tolist() == known[sure].tolist()
    np.testing.assert_allclose(found[0].numpy()[:, sure], image[:, sure], atol=2e-4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("is_image", [False, True])
def test_a_warp_follows_the_description(scene: Scene, masked: bool, is_image: bool) -> None:
    scene = small(scene)
    frame, k = image_of(scene, 4), scene.intrinsics
    mask = (np.random.default_rng(1).random(scene.size) < 0.8).astype(float) if masked else None
    poses = scene.world2cams()
    depth = np.where(scene.depth[0] > 0, scene.depth[0], math.nan)
    other = k * np.array([[1.1], [0.9], [1.0]])
    homogeneous = oracles.warp_by_depth(depth, poses[0], poses[1], k, other)
    far = homogeneous[..., 2].max()
    weights = np.ones(scene.size) if mask is None else mask
    expected = oracles.warp(frame, weights, homogeneous, far, is_image=is_image)
    depths = oracles.warp(homogeneous[None, ..., 2], weights, homogeneous, far, is_image=False)
    f, d, t1, t2, k1, k2 = tensors(frame, depth[None], poses[0], poses[1], k, other)
    m = None if mask is None else torch.tensor(mask, dtype=torch.float32)[None, None]
    found = gen3c.forward_warp(
        f[None], m, d[None], t1[None], t2[None], k1[None], k2[None], is_image=is_image, render_depth=True
    )
    assert_warped((found[0][0], found[1][0]), expected)
    assert found[2] is not None
    assert_warped((found[2] / far, found[1][0]), (depths[0] / far, depths[1], depths[2]))
    uv = homogeneous[..., :2] / homogeneous[..., 2:]
    flow = uv - np.stack(np.meshgrid(np.arange(scene.size[1]), np.arange(scene.size[0])), -1)
    ahead = homogeneous[..., 2] > 0.1
    np.testing.assert_allclose(found[3][0].permute(1, 2, 0).numpy()[ahead], flow[ahead], atol=2e-3)


def test_an_exact_integer_counts_twice_per_axis() -> None:
    """A pixel that moves by exactly one column, and one that moves by half of one, meet in a cell."""
    k = np.array([[4.0, 0, 2], [0, 4, 1], [0, 0, 1]])
    move = np.eye(4)
    move[0, 3] = 0.5  # one pixel at depth 2, half a pixel at depth 4
    depth = np.array([[2.0, 4, 2, 2], [4, 2, 4, 4]])
    frame = image_of(Scene(depth[None], k, move[None]))
    homogeneous = oracles.warp_by_depth(depth, np.eye(4), move, k, k)
    expected = oracles.warp(frame, np.ones(depth.shape), homogeneous, 4.0, is_image=True)
    f, d, t1, t2, kk = tensors(frame, depth[None], np.eye(4), move, k)
    found = gen3c.forward_warp(f[None], None, d[None], t1[None], t2[None], kk[None], None)
    assert_warped((found[0][0], found[1][0]), expected)
    assert expected[2].max() == 5


def test_rays_may_be_given_instead_of_depth() -> None:
    scene = random_scene(5)
    k, poses = scene.intrinsics, scene.world2cams()
    v, u = np.mgrid[: scene.size[0], : scene.size[1]]
    length = np.sqrt(((u - k[0, 2]) / k[0, 0]) ** 2 + ((v - k[1, 2]) / k[1, 1]) ** 2 + 1)
    f, d, ray, t1, t2, kk = tensors(image_of(scene), scene.depth[:1], scene.depth[:1] * length, poses[0], poses[1], k)
    common = (t1[None], t2[None], kk[None], kk[None])
    by_depth = gen3c.forward_warp(f[None], None, d[None], *common)
    by_ray = gen3c.forward_warp(f[None], None, ray[None], *common, is_depth=False)
    np.testing.assert_allclose(by_ray[0].numpy(), by_depth[0].numpy(), atol=2e-3)
    rounded = ray[None].bfloat16()  # float32 from here on
    coarse = [gen3c.forward_warp(f[None], None, d, *common, is_depth=False) for d in (rounded, rounded.float())]
    assert all(torch.equal(a, b) for a, b in zip(*coarse, strict=True) if a is not None)


def world_points(scene: Scene, frame: int) -> Array:
    """(H, W, 3), zeros where there is no depth, as GEN3C leaves them."""
    points = np.zeros((*scene.size, 3))
    points[scene.depth[frame] > 0] = scene._replace(
        depth=scene.depth[frame : frame + 1], poses=scene.poses[frame : frame + 1]
    ).points()
    return points


class Cache:
    """The attributes of GEN3C's cache that a rendering reads: N frames of one batch."""

    def __init__(self, images: Array, points: Array, masks: Array | None, device: str = "cpu") -> None:
        image, point = tensors(images, points)
        self.input_image, self.input_points = image[None, None, :, None], point[None, None, :, None]
        self.input_mask = None if masks is None else tensors(masks)[0][None, None, :, None, None]
        self.device, self.foreground_masking = device, False

    def render_cache(self, *_: Any, **__: Any) -> str:
        return "the original"


@pytest.mark.parametrize("render_depth", [False, True])
def test_a_cache_is_rendered_as_its_warps(scene: Scene, render_depth: bool) -> None:
    scene = small(scene)
    images = np.stack([image_of(scene, seed=i) for i in range(2)])
    points, masks = np.stack([world_points(scene, i) for i in range(2)]), (scene.depth[:2] > 0).astype(float)
    w2c, k = scene.world2cams()[[2, -1]], scene.intrinsics
    homogeneous = [[(points[n] @ m[:3, :3].T + m[:3, 3]) @ k.T for n in range(2)] for m in w2c]
    far = max(h[..., 2].max() for row in homogeneous for h in row)
    matrices = tensors(w2c, np.broadcast_to(k, (2, 3, 3)).copy())
    found = gen3c.render_cache(Cache(images, points, masks), matrices[0][None], matrices[1][None], render_depth)
    assert found[1].shape == (1, 2, 2, 1, *scene.size)
    for t in range(2):
        for n in range(2):
            h = homogeneous[t][n]
            frame = h[None, ..., 2] / far if render_depth else images[n]
            expected = oracles.warp(frame, masks[n], h, far, is_image=not render_depth)
            pixels = found[0][0, t, n] / far if render_depth else found[0][0, t, n]
            assert_warped((pixels[None] if render_depth else pixels, found[1][0, t, n]), expected)


def test_world_points_and_a_cache_agree() -> None:
    scene = random_scene(5)
    points, image = world_points(scene, 0), image_of(scene)
    f, p, t2, k = tensors(image, points, scene.world2cams()[1], scene.intrinsics)
    one = gen3c.forward_warp(f[None], None, None, None, t2[None], k[None], k[None], world_points1=p[None])
    many = gen3c.render_cache(Cache(image[None], points[None], None), t2[None, None], k[None, None])
    assert torch.equal(one[0], many[0][0, :, 0])
    assert torch.equal(one[1], many[1][0, :, 0])
    assert one[2] is None


def test_points_that_are_not_finite_change_nothing() -> None:
    scene = random_scene(5)
    points, mask = world_points(scene, 0), scene.depth[0] > 0
    f, p, t2, k, m = tensors(image_of(scene), points, scene.world2cams()[1], scene.intrinsics, mask[None])
    arguments: Any = (None, None, t2[None], k[None], k[None])
    known = gen3c.forward_warp(f[None], m[None], *arguments, world_points1=p[None])
    p[~torch.from_numpy(mask)] = math.nan
    bad = gen3c.forward_warp(f[None], m[None], *arguments, world_points1=p[None].clone())
    assert torch.equal(bad[0], known[0])
    assert torch.equal(bad[1], known[1])


def test_a_patched_module_leaves_the_rest_to_the_original() -> None:
    module = SimpleNamespace(
        forward_warp=lambda *_, **__: "the original",
        Cache3D_Base=type("Cache3D_Base", (Cache,), {"render_cache": Cache.render_cache}),
    )
    gen3c.patch(module)
    scene = random_scene(5)
    warp: Any = module.forward_warp
    points = world_points(scene, 0)
    f, p, t2, k = tensors(image_of(scene), points, scene.world2cams()[1], scene.intrinsics)
    cache: Any = module.Cache3D_Base(image_of(scene)[None], points[None], None)
    assert torch.is_tensor(cache.render_cache(t2[None, None], k[None, None])[0])
    cache.foreground_masking = True
    assert cache.render_cache(t2[None, None], k[None, None]) == "the original"
    arguments: Any = (f[None], None, None, None, t2[None], k[None], k[None])
    assert torch.is_tensor(warp(*arguments, world_points1=p[None])[0])
    assert warp(*arguments, world_points1=p[None], foreground_masking=True) == "the original"
    with pytest.raises(NotImplementedError, match="foreground_masking: only the original has it"):
        gen3c.forward_warp(*arguments, world_points1=p[None], foreground_masking=True)
    with pytest.raises(ValueError, match="cache_3d: expected a module with forward_warp"):
        gen3c.patch(SimpleNamespace())


def test_wrong_arguments_are_named() -> None:
    frame, pose, k = torch.zeros(1, 3, 4, 6), torch.eye(4)[None], torch.eye(3)[None]
    with pytest.raises(ValueError, match=r"depth1: expected \(b=1, 1, h=4, w=6\), got \(1, 1, 4, 5\)"):
        gen3c.forward_warp(frame, None, torch.zeros(1, 1, 4, 5), pose, pose, k, k)
    with pytest.raises(TypeError, match="world_points1: expected a tensor, got NoneType"):
        gen3c.forward_warp(frame, None, None, pose, pose, k, k)
    cache = Cache(np.zeros((1, 3, 4, 6)), np.zeros((1, 4, 6, 3)), None)
    with pytest.raises(ValueError, match=r"target_w2cs: expected \(B=1, T, 4, 4\), got \(2, 1, 4, 4\)"):
        gen3c.render_cache(cache, pose[None].expand(2, 1, 4, 4), k[None])
