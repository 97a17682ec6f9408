# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Action strings against poses worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from mirage.cameras import Action, CameraController, parse_actions
from mirage_kernels import Cameras, testing

ORIGIN = testing.plain_cameras(1, (44, 80))
START = testing.random_cameras(torch.Generator().manual_seed(4), 1, (44, 80))


def pose(heading: float, look: float, at: tuple[float, float, float]) -> torch.Tensor:
    """Where one looks who has turned to the right by ``heading`` and then looked up by ``look`` degrees."""
    c, s = math.cos(math.radians(heading)), math.sin(math.radians(heading))
    d, t = math.cos(math.radians(look)), math.sin(math.radians(look))
    rows = [[c, s * t, s * d, at[0]], [0, d, -t, at[1]], [-s, c * t, c * d, at[2]], [0, 0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float32)


def test_strings_are_read() -> None:
    assert parse_actions("w*16 l*24") == [Action(("w",), 16), Action(("l",), 24)]
    assert parse_actions("a, D,w+J*2") == [Action(("a",), 1), Action(("d",), 1), Action(("w", "j"), 2)]


@pytest.mark.parametrize(("actions", "heading", "look", "at"), [
    ("w", 0, 0, (0, 0, 0.5)),
    ("w*3", 0, 0, (0, 0, 1.5)),
    ("s", 0, 0, (0, 0, -0.5)),
    ("a", 0, 0, (-0.5, 0, 0)),
    ("d", 0, 0, (0.5, 0, 0)),
    ("r", 0, 0, (0, -0.5, 0)),
    ("f", 0, 0, (0, 0.5, 0)),
    ("j", -30, 0, (0, 0, 0)),
    ("l", 30, 0, (0, 0, 0)),
    ("i", 0, 30, (0, 0, 0)),
    ("k", 0, -30, (0, 0, 0)),
    ("l*3 w*2", 90, 0, (1, 0, 0)),
    ("j*3 w*2", -90, 0, (-1, 0, 0)),
    ("l*3 a", 90, 0, (0, 0, 0.5)),
    ("i*2 w r", 0, 60, (0, -0.5, 0.5)),  # looking up does not lead off the ground
    ("l k d", 30, -30, (0.5 * math.sqrt(0.75), 0, -0.25)),
    ("w+l*3", 90, 0, (0.25 + 0.5 * math.sqrt(0.75) + 0.5, 0, 0.5 * math.sqrt(0.75) + 0.25)),  # turns before it steps
    ("w+d", 0, 0, (0.5, 0, 0.5)),
])  # fmt: skip
def test_actions_end_as_expected(actions: str, heading: float, look: float, at: tuple[float, float, float]) -> None:
    path = CameraController(ORIGIN, step=0.5, turn=30).go(actions)
    assert len(path) == sum(action.frames for action in parse_actions(actions))
    torch.testing.assert_close(path.cam2world[-1], pose(heading, look, at), rtol=0, atol=1e-6)
    assert torch.equal(path.intrinsics[-1], ORIGIN.intrinsics[0])
    elsewhere = CameraController(START, step=0.5, turn=30).go(actions)
    torch.testing.assert_close(elsewhere.cam2world[-1], START.cam2world[0] @ pose(heading, look, at))


def test_every_frame_is_one_step() -> None:
    path = CameraController(ORIGIN, step=0.25, turn=10).go("w*2 l*2")
    expected = [pose(0, 0, (0, 0, 0.25)), *[pose(h, 0, (0, 0, 0.5)) for h in (0, 10, 20)]]
    torch.testing.assert_close(path.cam2world, torch.stack(expected), rtol=0, atol=1e-6)


def test_a_controller_continues_from_its_pose() -> None:
    whole = CameraController(START).go("w*5 l+w*7 i*3 d*4")
    controller = CameraController(START)
    parts = [controller.go(piece) for piece in ("w*5", "l+w*7 i*2", "i", "d*4")]
    assert torch.equal(Cameras.cat(parts).cam2world, whole.cam2world)


@pytest.mark.parametrize("actions", [
    "w*16 s*16", "l*24 j*24", "l*360", "l*33 i*40 w*7 s*7 k*40 j*33", "w*10 l*90 w*10 l*90 w*10 l*90 w*10 l*90",
])  # fmt: skip
@pytest.mark.parametrize("step", [0.05, 1e-7])
@pytest.mark.parametrize("start", [ORIGIN, START])
def test_who_comes_back_is_back_bit_for_bit(actions: str, step: float, start: Cameras) -> None:
    assert torch.equal(CameraController(start, step=step).go(actions).cam2world[-1], start.cam2world[0])


@pytest.mark.parametrize("actions", ["l*33 i*7 j*33 k*7", "j*3600", "l+w*33 l*1800 w+j*33 j*1800"])
def test_turns_of_no_round_size_come_back_too(actions: str) -> None:
    path = CameraController(ORIGIN, turn=0.1).go(actions)
    assert torch.equal(path.cam2world[-1, :3, :3], torch.eye(3))


BAD = [
    ("", "expected keys and numbers of frames, such as 'w*16 l*24', got ''"),
    (" , ", "got ' , '"),
    ("w*16 q*2", "expected keys among w s a d r f j l i k, got 'q' in 'q*2'"),
    ("w*16 l*", "got 'l*'"),
    ("w16", "expected keys and a number of frames, such as 'w*16' or 'w+l*8', got 'w16'"),
    ("ww", "got 'ww'"),
    ("w*2.5", "got 'w*2.5'"),
    ("w*-2", "got 'w*-2'"),
    ("w *2", "got '*2'"),
    ("w++l", "got 'w++l'"),
    ("w*0", "expected at least 1 frame, got 'w*0'"),
    ("d w+s*4", "expected keys of different axes, got 'w+s*4'"),
    ("l+l", "expected keys of different axes, got 'l+l'"),
    ("w*60000 s*60000", "expected at most 100000 frames, got 120000 with 's*60000'"),
    ("w*99999999999", "got 'w*99999999999'"),
    ("i*91", "expected a pitch within 90 degrees, got 91 degrees in frame 90 of 'i*91'"),
]  # fmt: skip


@pytest.mark.parametrize(("actions", "message"), BAD)
def test_bad_actions_show_the_piece_and_leave_the_pose(actions: str, message: str) -> None:
    controller = CameraController(START)
    controller.go("w")
    with pytest.raises(ValueError, match=r"^actions: ") as error:
        controller.go(actions)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert torch.equal(controller.go("s").cam2world[0], START.cam2world[0])


@pytest.mark.parametrize(("options", "message"), [
    ({"step": 0.0}, "step: expected a number above 0, got 0"),
    ({"turn": -1.0}, "turn: expected a number above 0, got -1"),
    ({"turn": math.inf}, "turn: expected a number above 0, got inf"),
    ({"step": math.nan}, "step: expected a number above 0, got nan"),
])  # fmt: skip
def test_bad_sizes(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraController(START, **options)


def test_a_controller_starts_from_one_camera() -> None:
    with pytest.raises(ValueError, match="start: expected one camera, got 2"):
        CameraController(Cameras.cat([START, START]))
