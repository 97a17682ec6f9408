# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Paths of a camera through the rooms of procedural scenes, with revisits."""

from __future__ import annotations

import itertools
import math
import random
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from .procedural_rooms import Cell, Plan, Point
from .procedural_types import Revisit

STEP = 0.05  # meters between the points of a path
SMOOTH = 9  # points over which corners are rounded
EYE = (1.25, 1.65)  # meters above the floor


class Path(NamedTuple):
    """A way through the rooms.

    Attributes:
        points: :data:`STEP` apart.
        focus: what a camera looks at; None to look ahead.
    """

    points: list[Point]
    focus: Point | None


def walk(rng: random.Random, plan: Plan) -> Path:
    """A way from the middle of a room through doors to others, or a round in a single room, across which it looks."""
    cell = rng.choice(plan.cells())
    cells = [cell]
    for _ in range(rng.randint(1, 4)):
        ways = [other for other in plan.neighbors(cell) if other not in cells]
        if not ways:
            break
        cell = rng.choice(ways)
        cells.append(cell)
    if len(cells) == 1:
        return Path(_round(plan, cells[0], rng), plan.center(cells[0]))
    corners: list[Point] = [plan.center(cells[0])]
    for a, b in itertools.pairwise(cells):
        corners += [plan.doors[(a, b) if (a, b) in plan.doors else (b, a)], plan.center(b)]
    return Path(_rounded(_dense(corners)), None)


def _round(plan: Plan, cell: Cell, rng: random.Random) -> list[Point]:
    (x, z), i, j = plan.center(cell), *cell
    share, turn = rng.uniform(0.3, 0.6), rng.uniform(0, 2 * math.pi)
    a, b = share * (plan.xs[i + 1] - plan.xs[i]) / 2, share * (plan.zs[j + 1] - plan.zs[j]) / 2
    count = max(16, int(2 * math.pi * max(a, b) / STEP))
    angles = [turn + 2 * math.pi * k / count for k in range(count)]
    return [(x + a * math.cos(angle), z + b * math.sin(angle)) for angle in angles]


def _dense(corners: list[Point]) -> list[Point]:
    points = [corners[0]]
    for (x0, z0), (x1, z1) in itertools.pairwise(corners):
        count = max(1, round(math.hypot(x1 - x0, z1 - z0) / STEP))
        points += [(x0 + k / count * (x1 - x0), z0 + k / count * (z1 - z0)) for k in range(1, count + 1)]
    return points


def _rounded(points: list[Point]) -> list[Point]:
    rounded = []
    for k in range(len(points)):
        near = points[max(0, k - SMOOTH) : k + SMOOTH + 1]
        rounded.append((sum(x for x, _ in near) / len(near), sum(z for _, z in near) / len(near)))
    return rounded


def cameras_along(
    rng: random.Random, path: Path, frames: int, size: tuple[int, int], revisit: Revisit | None
) -> Cameras:
    """Cameras that follow a path, and look ahead or at its focus, and a little around.

    Args:
        rng: chooses height, field of view, speed and glances.
        path: through the rooms.
        frames: number of cameras.
        size: (H, W) of the images.
        revisit: how they come back; None chooses.
    """
    points = path.points
    how = rng.choice(get_args(Revisit)) if revisit is None else check.choice("revisit", revisit, get_args(Revisit))
    share = torch.linspace(0, 1, frames, dtype=torch.float64, device="cpu")
    if how == "back":
        share = 1 - (2 * share - 1).abs()
    length = min(1.0, rng.uniform(0.02, 0.06) * frames * (0.5 if how == "back" else 1.0) / (STEP * len(points)))
    begin = rng.uniform(0, 1 - length)
    at = (begin + length * share) * (len(points) - 1)
    x, z = _interpolated([p[0] for p in points], at), _interpolated([p[1] for p in points], at)
    ahead = (at + 12).clamp(max=len(points) - 1)
    behind = (at - 12).clamp(min=0)
    dx = _interpolated([p[0] for p in points], ahead) - _interpolated([p[0] for p in points], behind)
    dz = _interpolated([p[1] for p in points], ahead) - _interpolated([p[1] for p in points], behind)
    glance, slow = rng.uniform(0.1, 0.6), rng.uniform(0.5, 1.5)
    phase = rng.uniform(0, 2 * math.pi)
    if path.focus is not None:
        dx, dz = path.focus[0] - x, path.focus[1] - z
    yaw = torch.atan2(dx, dz) + glance * torch.sin(2 * math.pi * slow * share + phase)
    if how == "turn":  # once around, on the spot that is halfway
        middle = frames // 2
        x, z = x[middle].expand(frames), z[middle].expand(frames)
        yaw = yaw[middle] + rng.choice((-1, 1)) * 2 * math.pi * share
    pitch = rng.uniform(-0.12, 0.12) + 0.04 * torch.sin(2 * math.pi * share + phase)
    height = rng.uniform(*EYE)
    focal = size[1] / 2 / math.tan(rng.uniform(math.radians(55), math.radians(82)) / 2)
    k = torch.tensor([[focal, 0, size[1] / 2], [0, focal, size[0] / 2], [0, 0, 1]], dtype=torch.float64, device="cpu")
    return Cameras(k.expand(frames, 3, 3), _poses(x, z, height, yaw, pitch), size)


def _interpolated(values: list[float], at: Tensor) -> Tensor:
    known = torch.tensor(values, dtype=torch.float64, device="cpu")
    first = at.floor().long().clamp(max=max(len(values) - 2, 0))
    second = (first + 1).clamp(max=len(values) - 1)
    share = at - first
    return known[first] * (1 - share) + known[second] * share


def _poses(x: Tensor, z: Tensor, height: float, yaw: Tensor, pitch: Tensor) -> Tensor:
    """(F, 4, 4) float64 cam2world: first pitch about x, then yaw about the vertical axis."""
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    cy, sy, cp, sp = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin()
    rows = [
        [cy, sy * sp, sy * cp, x],
        [zero, cp, -sp, zero - height],
        [-sy, cy * sp, cy * cp, z],
        [zero, zero, zero, one],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)
