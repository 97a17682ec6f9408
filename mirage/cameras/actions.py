# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Walking by keys: ``w*16 l*24`` is 16 frames ahead, then 24 frames of turning to the right.

========  ==========================================
keys      what happens in a frame
========  ==========================================
w, s      a step ahead, back
a, d      a step to the left, right
r, f      a step up, down
j, l      a turn to the left, right
i, k      a look up, down
========  ==========================================

Pieces are separated by spaces or commas; ``*16`` repeats one for that many frames, ``+`` joins keys that are held at
once (``w+l*8``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch

from mirage_kernels import Cameras

from .trajectories import relative_to, tilts, turns

STEP = 0.05
TURN = 1.0
MOST_FRAMES = 100_000

# what a key changes: 0 to the right, 1 down, 2 ahead, 3 turn to the right, 4 look up
_KEYS = {
    "w": (2, 1), "s": (2, -1),
    "a": (0, -1), "d": (0, 1),
    "r": (1, -1), "f": (1, 1),
    "j": (3, -1), "l": (3, 1),
    "i": (4, 1), "k": (4, -1),
}  # fmt: skip
_PIECE = re.compile(r"([a-z](?:\+[a-z])*)(?:\*([0-9]{1,9}))?")


class Action(NamedTuple):
    """Keys held for some frames.

    Attributes:
        keys: as they were written, each of another direction.
        frames: at least 1.
    """

    keys: tuple[str, ...]
    frames: int


def parse_actions(text: str) -> list[Action]:
    """Read an action string. Capital letters are as good as small ones.

    Raises:
        ValueError: showing the piece that cannot be read, or is longer than 100,000 frames, or holds two keys of one
            direction.
    """
    actions = []
    for piece in text.replace(",", " ").split():
        match = _PIECE.fullmatch(piece.lower())
        if not match:
            raise ValueError(f"actions: expected keys and a number of frames like w*16 or w+l*8, got {piece!r}")
        keys, frames = tuple(match[1].split("+")), int(match[2] or 1)
        for key in keys:
            if key not in _KEYS:
                raise ValueError(f"actions: expected keys of {' '.join(_KEYS)}, got {key!r} in {piece!r}")
        if len({_KEYS[key][0] for key in keys}) < len(keys):
            raise ValueError(f"actions: expected keys of different directions, got {piece!r}")
        if frames < 1:
            raise ValueError(f"actions: expected at least 1 frame, got {piece!r}")
        actions.append(Action(keys, frames))
        if sum(action.frames for action in actions) > MOST_FRAMES:
            raise ValueError(f"actions: expected at most {MOST_FRAMES} frames, got more with {piece!r}")
    if not actions:
        raise ValueError("actions: expected keys and numbers of frames like 'w*16 l*24', got none")
    return actions


class CameraController:
    """Someone who walks by keys, from one camera on.

    A frame turns first and steps then, along the new heading. Steps follow the heading as a person's do: looking up or
    down does not lead off the ground, which is level in the start camera's frame. Looking goes as far as straight up
    and straight down. A way out and back ends at the pose it began with, bit for bit.

    Args:
        start: the one camera to start from; intrinsics stay.
        step: world units of a step, in a frame.
        turn: degrees of a turn or a look, in a frame.
    """

    def __init__(self, start: Cameras, *, step: float = STEP, turn: float = TURN) -> None:
        if len(start) != 1:
            raise ValueError(f"start: expected one camera, got {len(start)}")
        for name, value in (("step", step), ("turn", turn)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}: expected a number above 0, got {value:g}")
        self._start, self._step, self._turn = start, step, turn
        self._position = torch.zeros(3, dtype=torch.float64)  # in steps, in the start camera's frame
        self._angles = torch.zeros(2, dtype=torch.float64)  # of the heading, to the right, and of the look, up; degrees

    def go(self, actions: str) -> Cameras:
        """Walk on from where the last call ended.

        Returns:
            One camera for every frame of the actions; the one that they start from is not among them.

        Raises:
            ValueError: see :func:`parse_actions`; also where a look would go beyond straight up or down. The walker
                then stays where it was.
        """
        plan = parse_actions(actions)
        change = torch.zeros(len(plan), 5, dtype=torch.float64)
        for row, action in zip(change, plan, strict=True):
            for key in action.keys:
                axis, sign = _KEYS[key]
                row[axis] = sign
        change = change.repeat_interleave(torch.tensor([action.frames for action in plan]), 0)
        angles = self._angles + (change[:, 3:] * self._turn).cumsum(0)
        if bool((angles[:, 1].abs() > 90 + 1e-9).any()):
            raise ValueError(f"actions: expected a look within 90 degrees of level, got more in {actions!r}")
        # rounding errors are cut off, far below what can be seen, so that what comes back is back exactly
        angles = angles.round(decimals=9)
        angles[:, 0] %= 360
        facing = turns(angles[:, 0].deg2rad())
        steps = (facing[:, :3, :3] @ change[:, :3, None])[:, :, 0]
        position = (self._position + steps.cumsum(0)).round(decimals=9)
        local = facing @ tilts(angles[:, 1].deg2rad())
        local[:, :3, 3] = position * self._step
        self._position, self._angles = position[-1], angles[-1]
        return relative_to(self._start, local)
