# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Cameras of a browser, and the thread that does its work."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from walls import CAMERA

from mirage.viewer.poses import browser_camera, to_quaternion, to_rotation, vertical_fov
from mirage.viewer.worker import Worker


def test_quaternions_stand_for_their_matrices() -> None:
    random = torch.Generator().manual_seed(0)
    half_turns = [torch.diag(torch.tensor(axes)).double() for axes in ([1.0, -1, -1], [-1.0, 1, -1], [-1.0, -1, 1])]
    for matrix in [torch.linalg.qr(torch.randn(3, 3, generator=random).double())[0] for _ in range(50)] + half_turns:
        rotation = matrix * torch.linalg.det(matrix)
        assert (to_rotation(to_quaternion(rotation)) - rotation).abs().max() < 1e-12
    assert to_quaternion(torch.eye(3)) == (1, 0, 0, 0)
    assert to_quaternion(torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))[3] == pytest.approx(math.sqrt(0.5))


def test_a_browser_at_a_camera_has_its_view() -> None:
    camera = CAMERA.translate((1, 2, 3)).crop(5, 10, (20, 30))  # with a principal point off the center
    same = browser_camera(to_quaternion(camera.cam2world[0, :3, :3]), (0.5, 2, 3), vertical_fov(camera), camera,
                          (0.5, 0, 0))  # fmt: skip
    assert torch.equal(same.cam2world, camera.cam2world)
    assert (same.intrinsics - camera.intrinsics).abs().max() < 1e-5
    with pytest.raises(ValueError, match="fov: expected"):
        browser_camera((1, 0, 0, 0), (0, 0, 0), math.nan, camera, (0, 0, 0))


def test_a_worker_skips_what_is_out_of_date_and_survives_errors() -> None:
    done, errors, begun, finished = [], [], threading.Event(), threading.Event()
    worker = Worker(errors.append)
    worker.submit("a", begun.wait)
    for number in range(5):
        worker.submit("b", lambda number=number: done.append(number))
    worker.submit("c", lambda: 1 / 0)
    worker.submit("d", finished.set)
    begun.set()
    assert finished.wait(5)
    worker.close()
    worker.submit("a", lambda: done.append("late"))
    assert done == [4]
    assert [type(error) for error in errors] == [ZeroDivisionError]
