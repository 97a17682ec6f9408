# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import SEEDS, examples
from torch import Tensor

from mirage_kernels import Cameras, testing
from mirage_kernels._library import overload
from mirage_kernels.testing import same_bits

K = torch.tensor([[50.0, 0, 40], [0, 45.0, 22], [0, 0, 1]])


def rotated(axis: tuple[float, float, float], degrees: float) -> Tensor:
    x, y, z = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0)
    k = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.linalg.matrix_exp(math.radians(degrees) * k)
    return pose


@given(SEEDS)
@settings(max_examples=examples(50))
def test_world2cam_is_the_inverse_rounded_once(seed: int) -> None:
    cameras = testing.random_cameras(torch.Generator().manual_seed(seed), 3, (4, 5), near_origin=100.0)
    m = cameras.cam2world.double()
    r, t = m[:, :3, :3], m[:, :3, 3]
    shift = [-((r[:, 0, a] * t[:, 0] + r[:, 1, a] * t[:, 1]) + r[:, 2, a] * t[:, 2]) for a in range(3)]
    assert same_bits(cameras.world2cam[:, :, :3], cameras.cam2world[:, :3, :3].mT.contiguous())
    assert same_bits(cameras.world2cam[:, :, 3], torch.stack(shift, 1).float())


def test_order_of_the_sum_under_cancellation() -> None:
    """A camera far out along its own x axis: two components of R^T t are nothing but rounding error."""
    m = testing.random_cameras(torch.Generator().manual_seed(0), 200, (4, 5)).cam2world
    m[:, :3, 3] = 1000 * m[:, :3, 0]
    cameras = Cameras(K, m, (4, 5))
    r, t = m.double()[:, :3, :3], m.double()[:, :3, 3]
    shift = [-((r[:, 0, a] * t[:, 0] + r[:, 1, a] * t[:, 1]) + r[:, 2, a] * t[:, 2]) for a in range(3)]
    other = [-(r[:, 0, a] * t[:, 0] + (r[:, 1, a] * t[:, 1] + r[:, 2, a] * t[:, 2])) for a in range(3)]
    assert same_bits(cameras.world2cam[:, :, 3], torch.stack(shift, 1).float())
    assert not same_bits(torch.stack(other, 1).float(), torch.stack(shift, 1).float())


def test_round_trip_through_world2cam() -> None:
    cameras = testing.random_cameras(torch.Generator().manual_seed(0), 4, (4, 5))
    full = torch.cat([cameras.world2cam, torch.tensor([0.0, 0, 0, 1]).expand(4, 1, 4)], 1)
    for poses in (full, cameras.world2cam):
        back = Cameras.from_world2cam(cameras.intrinsics, poses, (4, 5))
        torch.testing.assert_close(back.cam2world, cameras.cam2world, rtol=0, atol=1e-6)
    one = Cameras.from_world2cam(K, cameras.world2cam[0], (4, 5))
    assert len(one) == 1


def test_float64_input_is_rounded_to_float32_first() -> None:
    pose = rotated((1, 2, 3), 20)
    a, b = Cameras(K, pose.float(), (4, 5)), Cameras(K.double(), pose, (4, 5))
    assert same_bits(a.world2cam, b.world2cam)


def test_point_falls_into_cell_floor_v_floor_u() -> None:
    cameras = Cameras(torch.tensor([[4.0, 0, 3], [0, 4, 2], [0, 0, 1]]), torch.eye(4), (4, 6))
    uv, depth, inside = cameras.project(torch.tensor([[0.0, 0, 2], [-1.5, -1, 2], [1.5, 0, 2], [0, 0, -2], [0, 0, 0]]))
    assert uv[0, :3].tolist() == [[3, 2], [0, 0], [6, 2]]
    assert depth[0].tolist() == [2, 2, 2, -2, 0]
    assert inside[0].tolist() == [True, True, False, False, False]


def test_rescaling_multiplies_the_intrinsics() -> None:
    cameras = Cameras(K, torch.eye(4), (44, 80))
    larger = cameras.rescale((704, 1280))
    assert larger.intrinsics[0].tolist() == [[800, 0, 640], [0, 720, 352], [0, 0, 1]]
    assert same_bits(larger.rescale((44, 80)).intrinsics, cameras.intrinsics)
    xyz = torch.randn(50, 3) + torch.tensor([0.0, 0, 4])
    torch.testing.assert_close(larger.project(xyz)[0], cameras.project(xyz)[0] * 16)


def test_cropping_moves_the_principal_point() -> None:
    cameras = Cameras(K, torch.eye(4), (44, 80)).crop(2, 5, (40, 70))
    assert cameras.size == (40, 70)
    assert cameras.intrinsics[0].tolist() == [[50, 0, 35], [0, 45, 20], [0, 0, 1]]


def test_look_at() -> None:
    eye = torch.tensor([[0.0, 0, -3], [3.0, -1, 0], [0.2, 2, 1]])
    cameras = Cameras.look_at(eye, torch.tensor([0.0, 0, 0.5]), K, (44, 80))
    uv, depth, _ = cameras.project(torch.tensor([[0.0, 0, 0.5]]))
    torch.testing.assert_close(uv[:, 0], torch.tensor([[40.0, 22]]).expand(3, 2), rtol=0, atol=1e-4)
    torch.testing.assert_close(depth[:, 0], (torch.tensor([0.0, 0, 0.5]) - eye).norm(dim=1))
    above, _, _ = cameras.project(torch.tensor([[0.0, -0.3, 0.5]]))  # y is down, so this is above the target
    assert bool((above[:, 0, 1] < 22).all())
    assert same_bits(cameras.centers, eye)


def test_interpolation_returns_key_frames_and_halves_angles() -> None:
    poses = torch.stack([torch.eye(4, dtype=torch.float64), rotated((0, 1, 0), 40), rotated((0, 1, 0), 40)])
    poses[:, 0, 3] = torch.tensor([0.0, 1, 5])
    other = K.clone()
    other[0, 2] = 60
    keys = Cameras(torch.stack([K, K, other]), poses, (44, 80))
    path = keys.interpolate(torch.tensor([0.0, 0.5, 1.0, 1.25, 2.0]))
    for at, key in ((0, 0), (2, 1), (4, 2)):
        assert same_bits(path[at].cam2world, keys[key].cam2world)
        assert same_bits(path[at].intrinsics, keys[key].intrinsics)
    torch.testing.assert_close(path.cam2world[1, :3, :3].double(), rotated((0, 1, 0), 20)[:3, :3], rtol=0, atol=1e-6)
    torch.testing.assert_close(path.centers[:, 0], torch.tensor([0, 0.5, 1, 2, 5]))
    torch.testing.assert_close(path.intrinsics[3, 0, 2], torch.tensor(45.0))


@pytest.mark.parametrize("degrees", [0.0, 1e-7, 1e-3, 179.0, 179.9999999, 180.0])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (-1, 2, -3)])
def test_interpolation_of_any_angle(degrees: float, axis: tuple[float, float, float]) -> None:
    start = rotated((3, 1, 2), 70)
    keys = Cameras(K.expand(2, 3, 3), torch.stack([start, start @ rotated(axis, degrees)]), (44, 80))
    third = keys.interpolate(torch.tensor([1 / 3])).cam2world[0].double()
    if degrees < 179.5:
        expected = start @ rotated(axis, degrees / 3)
        torch.testing.assert_close(third[:3, :3], expected[:3, :3], rtol=0, atol=2e-6)
    else:  # at half a turn both ways round are shortest
        angle = torch.rad2deg(torch.acos((((start.mT @ third).trace() - 1) - 1) / 2)).item()
        assert abs(angle - degrees / 3) < 1e-2


def test_interpolation_of_one_camera() -> None:
    assert len(Cameras(K, torch.eye(4), (4, 5)).interpolate(torch.zeros(3))) == 3


def test_indexing_and_concatenation() -> None:
    cameras = testing.random_cameras(torch.Generator().manual_seed(0), 5, (4, 5))
    assert [len(cameras[x]) for x in (0, -1, slice(1, 3), [0, 4], torch.tensor([True, False, True, False, False]))] == [
        1, 1, 2, 2, 2,
    ]  # fmt: skip
    assert same_bits(cameras[-1].cam2world, cameras.cam2world[4:])
    assert same_bits(Cameras.cat([cameras[:2], cameras[2:]]).world2cam, cameras.world2cam)
    with pytest.raises(IndexError, match="cameras: expected an index of 5 cameras, got 5"):
        cameras[5]
    assert len(list(cameras)) == 5


@given(SEEDS, st.sampled_from(["", "skew", "focal", "infinite", "not rigid", "mirrored", "last row"]))
@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_libraries_prepare_the_same_cameras(namespace: str, seed: int, fault: str) -> None:
    g = torch.Generator().manual_seed(seed)
    cameras = testing.random_cameras(g, 3, (4, 5), near_origin=100.0)
    k, m = cameras.intrinsics.clone(), cameras.cam2world.clone()
    at = seed % 3
    if fault == "skew":
        k[at, 0, 1] = 1e-30
    elif fault == "focal":
        k[at, 1, 1] = -1.0
    elif fault == "infinite":
        m[at, 1, 3] = math.inf
    elif fault == "not rigid":
        m[at, 0] *= 1.001
    elif fault == "mirrored":
        m[at, :3, 0] *= -1
    elif fault == "last row":
        m[at, 3, 3] = 2
    world2cam, ok = overload(namespace, "prepare_cameras")(k, m)
    assert ok == (fault == "")
    if ok:
        assert same_bits(world2cam, cameras.world2cam)


def test_cameras_do_not_follow_the_default_device() -> None:
    intrinsics = torch.tensor([[8.0, 0, 4], [0, 8, 4], [0, 0, 1]])
    eye, target, pose = torch.zeros(2, 3), torch.ones(2, 3), torch.eye(4)[None]
    expected = Cameras.look_at(eye, target, intrinsics, (8, 8))
    with torch.device("meta"):
        cameras = Cameras.look_at(eye, target, intrinsics, (8, 8))
        restored = Cameras.from_world2cam(intrinsics, pose, (8, 8))
    assert torch.equal(cameras.cam2world, expected.cam2world)
    assert torch.equal(restored.cam2world, pose)


@pytest.mark.parametrize("left", [True, 2**70, torch.tensor([[2]]), 1.5])
def test_crop_at_any_offset(left: Any) -> None:
    cameras = Cameras(torch.tensor([[8.0, 0, 4], [0, 8, 4], [0, 0, 1]]), torch.eye(4)[None], (8, 8))
    assert cameras.crop(0, left, (4, 4)).intrinsics[0, 0, 2] == 4.0 - float(left)
