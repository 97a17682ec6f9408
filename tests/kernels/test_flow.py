# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""``Cameras.flow``: optical flow of a static scene."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from every_backend import EveryBackend, run_reference
from torch import Tensor

import mirage_kernels as mk
from mirage_kernels import Cameras, testing, unproject
from mirage_kernels.testing import same_bits, same_sums

SIZE = (12, 20)


def cameras(seed: int, views: int = 2) -> Cameras:
    return testing.random_cameras(torch.Generator().manual_seed(seed), views, SIZE)


def depth_of_plane(camera: Cameras, normal: Tensor, distance: float) -> Tensor:
    """z-depth (V, H, W) float64 of the plane ``normal . x = distance``: where the ray of each pixel meets it."""
    rays = world_rays(camera)
    origin = camera.cam2world.double()[:, None, None, :3, 3]
    return (distance - (origin * normal).sum(-1)) / (rays * normal).sum(-1)


def world_rays(camera: Cameras) -> Tensor:
    """Rays (V, H, W, 3) float64 through the centers of the pixels, with z-depth 1."""
    k, r = camera.intrinsics.double(), camera.cam2world.double()[:, :3, :3]
    v, u = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) + 0.5 for n in camera.size), indexing="ij")
    pixels = torch.stack([u, v, torch.ones_like(u)], -1)
    return torch.einsum("vab,vbc,hwc->vhwa", r, torch.linalg.inv(k), pixels)


def homography_flow(source: Cameras, target: Cameras, normal: Tensor, distance: float) -> Tensor:
    """Flow (V, H, W, 2) float64 of a plane by the homography K' (R + t n^T / d) K^-1 that it induces."""
    flows = []
    for i in range(len(source)):
        k, other = source.intrinsics[i].double(), target.intrinsics[i % len(target)].double()
        pose, moved = source.cam2world[i].double(), target.cam2world[i % len(target)].double()
        relative = torch.linalg.inv(moved) @ pose
        in_camera = pose[:3, :3].T @ normal
        offset = distance - pose[:3, 3] @ normal
        homography = other @ (relative[:3, :3] + torch.outer(relative[:3, 3], in_camera) / offset) @ torch.linalg.inv(k)
        v, u = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) + 0.5 for n in SIZE), indexing="ij")
        at = torch.stack([u, v, torch.ones_like(u)], -1) @ homography.T
        flows.append(at[..., :2] / at[..., 2:] - torch.stack([u, v], -1))
    return torch.stack(flows)


@pytest.mark.parametrize("targets", [1, 2])
def test_flow_of_a_plane_is_its_homography(backend: str, targets: int) -> None:
    source, target = cameras(0), cameras(1, targets)
    normal, distance = torch.nn.functional.normalize(torch.tensor([0.1, -0.2, 1.0]).double(), dim=0), 3.0
    depth = depth_of_plane(source, normal, distance)
    assert (depth > 0).all()
    with mk.use_backend(backend):
        flow = source.flow(depth.float(), target)
    expected = homography_flow(source, target, normal, distance)
    assert flow.dtype == torch.float32
    assert expected.abs().max() > 1
    assert torch.allclose(flow.double(), expected, rtol=1e-5, atol=1e-4)


def test_no_motion_is_no_flow() -> None:
    source = cameras(2, 3)
    depth = 1 + torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    assert source.flow(depth, source).abs().max() <= 1e-4


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("targets", [1, 3])
def test_it_is_what_unproject_and_project_say_on_every_backend(every_backend: EveryBackend, targets: int) -> None:
    g = torch.Generator().manual_seed(3)
    source, target = cameras(3, 3), cameras(4, targets)
    depth = testing.unproject_case(3, batch=3, size=SIZE, grid=SIZE, kind="wild").depth
    depth[torch.rand(depth.shape, generator=g) < 0.5] = 2.0
    points = run_reference(lambda: unproject(depth, torch.zeros(3, 1, *SIZE), source, pooling="nearest"))
    expected = torch.full((3, *SIZE, 2), math.nan)
    for i, (xyz, valid) in enumerate(zip(points.xyz.split(240), points.valid.split(240), strict=True)):
        uv, z, _ = (x[0] for x in target[i % targets].project(xyz))
        for n in torch.nonzero(valid & (z > 1e-6) & z.isfinite())[:, 0].tolist():
            expected[i, n // 20, n % 20] = uv[n] - torch.tensor([n % 20 + 0.5, n // 20 + 0.5])
    assert expected.isnan().any()
    assert not expected.isnan().all()
    for name, flow in every_backend(lambda: source.flow(depth, target)):
        assert same_sums(flow, expected), name


def test_without_depth_and_behind_the_target_there_is_none() -> None:
    camera = testing.plain_cameras(1, SIZE)
    depth = torch.full((1, *SIZE), 2.0)
    depth[0, 0, :5] = torch.tensor([0.0, -1.0, math.nan, math.inf, -math.inf])
    flow = camera.flow(depth, camera)
    assert flow[0, 0, :5].isnan().all()
    assert not flow[0, 0, 5:].isnan().any()
    assert not flow[0, 1:].isnan().any()
    assert camera.flow(depth, camera.translate((0, 0, 2.5))).isnan().all()


def test_gradient_with_respect_to_depth() -> None:
    source, target = cameras(5), cameras(6)
    depth = (2 + torch.rand(2, *SIZE, generator=torch.Generator().manual_seed(1))).requires_grad_()
    flow = source.flow(depth, target)
    (grad,) = torch.autograd.grad(flow.sum(), depth)
    step = 2.0**-6
    with torch.no_grad():
        slope = (source.flow(depth + step, target) - source.flow(depth - step, target)).sum(-1) / (2 * step)
        assert same_bits(source.flow(depth, target), flow)
    assert torch.allclose(grad, slope, rtol=1e-2, atol=1e-2)
    assert grad.abs().max() > 0.1


@pytest.mark.parametrize(("views", "targets"), [(0, 0), (0, 1), (1, 1)])
def test_empty_and_single(views: int, targets: int) -> None:
    made = cameras(7, 1)
    flow = made[:views].flow(torch.ones(views, *SIZE), made[:targets])
    assert flow.shape == (views, *SIZE, 2)


def test_compiles_into_one_graph(backend: str) -> None:
    torch.compiler.reset()
    source, target = cameras(8), cameras(9)
    depth = torch.full((2, *SIZE), 2.0)
    compiled = torch.compile(lambda d: source.flow(d, target), fullgraph=True, backend="aot_eager")
    with mk.use_backend(backend):
        assert same_sums(compiled(depth), source.flow(depth, target))


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        ({"depth": [[1.0]]}, TypeError, "depth: expected a tensor, got list"),
        ({"depth": torch.ones(2, *SIZE).double()}, TypeError, "depth: expected float32, got float64"),
        ({"depth": torch.ones(3, *SIZE)}, ValueError, "depth: expected (V=2, H=12, W=20), got (3, 12, 20)"),
        (
            {"depth": torch.ones(2, *SIZE, device="meta")},
            ValueError,
            "depth: expected a tensor on cpu like cameras, got",
        ),
        ({"target": None}, TypeError, "target: expected Cameras, got NoneType"),
        ({"target": cameras(0, 3)}, ValueError, "target: expected one camera, or V=2, got 3"),
        ({"target": cameras(0).rescale((6, 9))}, ValueError, "target: expected cameras of depth's size (H=12, W=20)"),
        ({"target": cameras(0).to("meta")}, ValueError, "target: expected cameras on cpu like cameras, got meta"),
    ],
)
def test_wrong_arguments(wrong: dict[str, Any], kind: type[Exception], message: str) -> None:
    right = {"depth": torch.ones(2, *SIZE), "target": cameras(0)}
    assert cameras(0).flow(**right).shape == (2, *SIZE, 2)
    with pytest.raises(kind) as error:
        cameras(0).flow(**(right | wrong))
    assert str(error.value).startswith(message)
