# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Camera control by action strings: ``w*16 l*24`` moves forward for 16 frames, then turns right for 24 frames.

========  ==========================================
keys      motion per frame
========  ==========================================
w, s      move forward, backward
a, d      move left, right
r, f      move up, down
j, l      turn left, right (yaw)
i, k      look up, down (pitch)
========  ==========================================

Actions are separated by spaces or commas. ``*16`` repeats an action for 16 frames; ``+`` combines keys (``w+l*8``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch

from mirage_kernels import Cameras, check

from .trajectories import check_one, pitch_poses, relative_to, yaw_poses

STEP = 0.05  # world units per frame
TURN = 1.0  # degrees per frame
MAX_FRAMES = 100_000

# axis and sign of each key; axes: 0 right, 1 down, 2 forward, 3 yaw to the right, 4 pitch up
_KEYS = {
    "w": (2, 1), "s": (2, -1),
    "a": (0, -1), "d": (0, 1),
    "r": (1, -1), "f": (1, 1),
    "j": (3, -1), "l": (3, 1),
    "i": (4, 1), "k": (4, -1),
}  # fmt: skip
_ACTION = re.compile(r"([a-z](?:\+[a-z])*)(?:\*([0-9]{1,9}))?")


class Action(NamedTuple):
    """Keys that are held for a number of frames.

    Attributes:
        keys: lowercase keys, each of a different axis.
        frames: number of frames, at least 1.
    """

    keys: tuple[str, ...]
    frames: int


def parse_actions(text: str) -> list[Action]:
    """Parse an action string.

    Args:
        text: actions, such as ``"w*16 w+l*8"``, in upper or lower case; see :mod:`mirage.cameras.actions`.

    Returns:
        The actions in order.

    Raises:
        TypeError: ``text`` is not a string.
        ValueError: an action, which the error shows, cannot be parsed or has two keys of the same axis; the string is
            empty; or there are more than 100,000 frames in total.

    Example:
        >>> parse_actions("w*16, W+L*8 k")
        [Action(keys=('w',), frames=16), Action(keys=('w', 'l'), frames=8), Action(keys=('k',), frames=1)]
    """
    if not isinstance(text, str):
        raise check.type_error("actions", "a string", text)
    actions = []
    for piece in text.replace(",", " ").split():
        match = _ACTION.fullmatch(piece.lower())
        if not match:
            raise ValueError(f"actions: expected keys and a number of frames, such as 'w*16' or 'w+l*8', got {piece!r}")
        keys, frames = tuple(match[1].split("+")), int(match[2] or 1)
        for key in keys:
            if key not in _KEYS:
                raise ValueError(f"actions: expected keys among {' '.join(_KEYS)}, got {key!r} in {piece!r}")
        if len({_KEYS[key][0] for key in keys}) < len(keys):
            raise ValueError(f"actions: expected keys of different axes, got {piece!r}")
        if frames < 1:
            raise ValueError(f"actions: expected at least 1 frame, got {piece!r}")
        actions.append(Action(keys, frames))
        total = sum(action.frames for action in actions)
        if total > MAX_FRAMES:
            raise ValueError(f"actions: expected at most {MAX_FRAMES} frames, got {total} with {piece!r}")
    if not actions:
        raise ValueError(f"actions: expected keys and numbers of frames, such as 'w*16 l*24', got {text!r}")
    return actions


class CameraController:
    """A camera that is steered by action strings.

    In each frame, the camera rotates first and then moves along its new heading. Moves are horizontal in the frame of
    the start camera, whatever the pitch. The pitch is limited to straight up and straight down. Actions that undo each
    other lead back to the same pose, bit for bit.

    Args:
        start: the camera to start from; all frames have its intrinsics.
        step: distance of a move per frame, in world units.
        turn: angle of a rotation per frame, in degrees.

    Raises:
        TypeError, ValueError: ``start`` is not a single camera, or a number is not positive and finite.

    Example:
        >>> import torch
        >>> from mirage_kernels import Cameras
        >>> start = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> controller = CameraController(start, step=0.5, turn=45)
        >>> controller.go("w*2").cam2world[:, :3, 3]  # positions: forward is +z
        tensor([[0.0000, 0.0000, 0.5000],
                [0.0000, 0.0000, 1.0000]])
        >>> controller.go("l*2 w").cam2world[-1, :3, 3]  # right is +x
        tensor([0.5000, 0.0000, 1.0000])
    """

    def __init__(self, start: Cameras, *, step: float = STEP, turn: float = TURN) -> None:
        check_one(start)
        self._start, self._step, self._turn = start, check.positive("step", step), check.positive("turn", turn)
        # In units of step, in the frame of the start camera.
        self._position = torch.zeros(3, dtype=torch.float64, device="cpu")
        self._angles = torch.zeros(2, dtype=torch.float64, device="cpu")  # degrees of yaw to the right and pitch up

    def go(self, actions: str) -> Cameras:
        """Move on from the pose where the last call ended.

        Args:
            actions: action string; see :func:`parse_actions`.

        Returns:
            One camera for each frame of the actions; the camera that they start from is not included.

        Raises:
            ValueError: the string cannot be parsed, or the pitch would exceed 90 degrees. The pose is then unchanged.
        """
        plan = parse_actions(actions)
        change = torch.zeros(len(plan), 5, dtype=torch.float64, device="cpu")
        for row, action in zip(change, plan, strict=True):
            for key in action.keys:
                axis, sign = _KEYS[key]
                row[axis] = sign
        frames = torch.tensor([action.frames for action in plan], dtype=torch.int64, device="cpu")
        change = change.repeat_interleave(frames, 0)
        angles = self._angles + (change[:, 3:] * self._turn).cumsum(0)
        too_steep = (angles[:, 1].abs() > 90 + 1e-9).nonzero()
        if len(too_steep):
            frame = int(too_steep[0])
            got = f"{angles[frame, 1].item():g} degrees in frame {frame} of {actions!r}"
            raise ValueError(f"actions: expected a pitch within 90 degrees, got {got}")
        # Remove rounding errors, so that actions that undo each other lead back to exactly the same pose.
        angles = angles.round(decimals=9)
        angles[:, 0] %= 360
        heading = yaw_poses(angles[:, 0].deg2rad())
        steps = (heading[:, :3, :3] @ change[:, :3, None])[:, :, 0]
        position = (self._position + steps.cumsum(0)).round(decimals=9)
        local = heading @ pitch_poses(angles[:, 1].deg2rad())
        local[:, :3, 3] = position * self._step
        self._position, self._angles = position[-1], angles[-1]
        return relative_to(self._start, local)
