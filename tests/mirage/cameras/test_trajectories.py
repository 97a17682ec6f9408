# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from mirage.cameras import dolly, orbit, out_and_back, pan, rebase, spiral, straight, through, truck
from mirage_kernels import Cameras, testing

START = testing.random_cameras(torch.Generator().manual_seed(4), 1, (44, 80))


def test_how_far_along() -> None:
    assert straight(5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert out_and_back(5).tolist() == [0, 0.5, 1, 0.5, 0]
    assert out_and_back(97)[48] == 1
    assert out_and_back(1).tolist() == straight(1).tolist() == [0]


@pytest.mark.parametrize("move", [
    lambda along: pan(START, along, 30),
    lambda along: dolly(START, along, 2.0),
    lambda along: orbit(START, along, 25, 3.0),
    lambda along: truck(START, along, -1.5),
    lambda along: spiral(START, along, 0.5, 3.0),
])  # fmt: skip
def test_moves_start_at_the_start_and_come_back_to_it(move) -> None:
    path = move(out_and_back(9))
    assert len(path) == 9
    for k in (0, 8):
        assert torch.equal(path[k].cam2world, START.cam2world)
        assert torch.equal(path[k].intrinsics, START.intrinsics)
    for k in range(4):
        assert torch.equal(path[k].cam2world, path[8 - k].cam2world)


def test_pan_turns_to_the_right_on_the_spot() -> None:
    start = Cameras(START.intrinsics, torch.eye(4)[None], START.size)
    path = pan(start, straight(3), 90)
    assert torch.equal(path.centers, torch.zeros(3, 3))
    torch.testing.assert_close(path.cam2world[2, :3, 2], torch.tensor([1.0, 0, 0]), rtol=0, atol=1e-6)  # looks along +x
    torch.testing.assert_close(path.cam2world[2, :3, 1], torch.tensor([0.0, 1, 0]))


def test_dolly_goes_ahead() -> None:
    path = dolly(START, straight(2), 2.0)
    ahead = START.cam2world[0, :3, 2]
    torch.testing.assert_close(path.centers[1] - path.centers[0], 2 * ahead)


def test_truck_goes_to_the_right() -> None:
    path = truck(START, straight(2), 2.0)
    torch.testing.assert_close(path.centers[1] - path.centers[0], 2 * START.cam2world[0, :3, 0])
    torch.testing.assert_close(path.cam2world[1, :3, :3], START.cam2world[0, :3, :3])


def test_spiral_winds_outwards_and_faces_the_point_ahead() -> None:
    start = Cameras(START.intrinsics, torch.eye(4)[None], START.size)
    path = spiral(start, straight(17), 0.8, 3.0)
    # two windings in 16 steps: a quarter further every other frame, to the right, down, left, up
    expected = [[0, 0, 0], [0, 0.1, 0], [-0.2, 0, 0], [0, -0.3, 0], [0.4, 0, 0]]
    torch.testing.assert_close(path.centers[:9:2], torch.tensor(expected), rtol=0, atol=1e-6)
    torch.testing.assert_close(path.centers[16], torch.tensor([0.8, 0, 0]), rtol=0, atol=1e-6)
    ahead = torch.tensor([0.0, 0, 3]) - path.centers
    torch.testing.assert_close(path.cam2world[:, :3, 2], ahead / ahead.norm(dim=1, keepdim=True), rtol=0, atol=1e-6)
    torch.testing.assert_close(path.cam2world[:, 1, 0], torch.zeros(17), rtol=0, atol=1e-6, msg="no roll")


def test_rebasing_moves_a_path_as_a_whole() -> None:
    path = testing.random_cameras(torch.Generator().manual_seed(2), 4, (44, 80))
    path = Cameras.cat([path, path[:1]])
    there = rebase(path, START)
    for k in (0, 4):
        assert torch.equal(there.cam2world[k], START.cam2world[0]), "where the path is back it is back bit for bit"
    assert torch.equal(there.intrinsics, path.intrinsics)
    for moved in (there, rebase(path)):
        was, now = (c.cam2world.double() for c in (path, moved))
        torch.testing.assert_close(now[0].inverse() @ now, was[0].inverse() @ was, rtol=0, atol=1e-5)
    assert torch.equal(rebase(path).cam2world[0], torch.eye(4))


def test_poses_of_few_digits_stay_rigid_when_moved() -> None:
    rough = START.cam2world.double().repeat(2, 1, 1)
    rough[:, :3, :3] *= 1.0004
    rough[1, 0, 3] += 1
    moved = rebase(Cameras(torch.eye(3), rough, (4, 4)))
    torch.testing.assert_close(moved.cam2world[1, :3, :3], torch.eye(3))


def test_orbit_keeps_its_distance_and_faces_the_middle() -> None:
    path = orbit(START, straight(7), 60, 3.0)
    middle = START.centers[0] + 3 * START.cam2world[0, :3, 2]
    torch.testing.assert_close((path.centers - middle).norm(dim=1), torch.full((7,), 3.0))
    torch.testing.assert_close(path.centers + 3 * path.cam2world[:, :3, 2], middle.expand(7, 3))
    step = (path.centers[6] - path.centers[0]).norm().item()
    assert math.isclose(step, 2 * 3.0 * math.sin(math.radians(30)), rel_tol=1e-5)
    assert (path.centers[6] - path.centers[0]) @ START.cam2world[0, :3, 0] < 0, "to the left"


def test_through_meets_every_key() -> None:
    keys = testing.random_cameras(torch.Generator().manual_seed(1), 3, (44, 80))
    path = through(keys, straight(5))
    for frame, key in ((0, 0), (2, 1), (4, 2)):
        assert torch.equal(path[frame].cam2world, keys[key].cam2world)
        assert torch.equal(path[frame].intrinsics, keys[key].intrinsics)


def test_a_move_needs_one_camera_to_start_from() -> None:
    with pytest.raises(ValueError, match="start: expected one camera, got 2"):
        pan(Cameras.cat([START, START]), straight(3), 10)
