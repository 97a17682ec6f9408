# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The numbers that camera paths take."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from mirage import cameras as paths
from mirage.rollout import plan_chunks
from mirage_kernels import Cameras

START = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
ALONG = paths.straight(5)

REALS: dict[str, Callable[[Any], Any]] = {
    "degrees": lambda v: paths.pan(START, ALONG, v),
    "distance": lambda v: paths.dolly(START, ALONG, v),
    "radius": lambda v: paths.orbit(START, ALONG, 30, v),
    "windings": lambda v: paths.spiral(START, ALONG, 1, 2, windings=v),
    "speed": lambda v: paths.worldscore_path(START, ["push_in"], 5, speed=v),
    "step": lambda v: paths.CameraController(START, step=v).go("w*2"),
    "turn": lambda v: paths.CameraController(START, turn=v).go("l*2"),
}
INTEGERS: dict[str, Callable[[Any], Any]] = {
    "frames": paths.straight,
    "chunk": lambda v: plan_chunks(33, v, 2),
    "stride": lambda v: plan_chunks(37, 37, v),
}


@pytest.mark.parametrize("name", REALS)
def test_real_numbers(name: str) -> None:
    expected = REALS[name](0.5).cam2world
    for kind in (np.float32, np.float64, np.float16):
        assert torch.equal(REALS[name](kind(0.5)).cam2world, expected)
    for wrong in (math.nan, math.inf, 10**400):
        with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
            REALS[name](wrong)
    for other in (None, "1", True, [1.0], torch.tensor(0.5)):
        with pytest.raises(TypeError, match=f"^{name}: expected a number, got "):
            REALS[name](other)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name: str) -> None:
    assert str(INTEGERS[name](np.int64(3))) == str(INTEGERS[name](3))
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        INTEGERS[name](-1)
    for other in (3.0, math.nan, None, "3", True):
        with pytest.raises(TypeError, match=f"^{name}: expected an integer, got "):
            INTEGERS[name](other)


@pytest.mark.parametrize("move", [paths.pan, paths.dolly, paths.truck])
def test_progress(move: Any) -> None:
    assert torch.equal(move(START, ALONG.float(), 1).cam2world, move(START, ALONG, 1).cam2world)
    for along, error in ((5, TypeError), (torch.arange(5), TypeError), (ALONG[None], ValueError)):
        with pytest.raises(error, match=r"^along: expected .*, got "):
            move(START, along, 1)
    with pytest.raises(ValueError, match=r"^start: expected one camera, got 2"):
        move(START[[0, 0]], ALONG, 1)
    with pytest.raises(TypeError, match=r"^start: expected Cameras, got Tensor"):
        move(torch.eye(4), ALONG, 1)


def test_a_path_without_cameras_cannot_be_moved() -> None:
    with pytest.raises(ValueError, match="cameras: expected at least one camera, got 0"):
        paths.rebase(START[:0])


@pytest.mark.parametrize("wrong", [0.0, 180.0, math.nan, -1])
def test_fields_of_view(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"^degrees: expected "):
        paths.intrinsics_from_fov(wrong, (96, 128))
    assert (
        paths.intrinsics_from_fov(np.float32(90), (np.int64(96), 128))[0, 0]
        == paths.intrinsics_from_fov(90, (96, 128))[0, 0]
    )  # type: ignore[arg-type]
