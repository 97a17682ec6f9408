# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Floor plans of procedural scenes: rooms and corridors with doors, windows, furniture and things that move.

Meters; the floor is at y = 0, and y points down, so that a ceiling is at a negative y. A plan is a grid of rooms.
"""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import torch

from .procedural_textures import Textures
from .ray_casting import Boxes

THICKNESS = 0.12  # of walls
DOOR, DOOR_HEIGHT = (0.95, 1.3), 2.05
WINDOW, SILL, LINTEL = (1.0, 2.2), 0.9, 2.1
CLEARANCE = 0.75  # between furniture and the path of the camera

Point = tuple[float, float]  # x, z
Cell = tuple[int, int]  # column, row


class Plan(NamedTuple):
    """A grid of rooms.

    Attributes:
        xs, zs: borders of the columns and of the rows.
        height: of the rooms.
        doors: center of the opening between two neighboring cells.
        open_pairs: neighbors without a wall between them.
    """

    xs: list[float]
    zs: list[float]
    height: float
    doors: dict[tuple[Cell, Cell], Point]
    open_pairs: set[tuple[Cell, Cell]]

    def center(self, cell: Cell) -> Point:
        """The middle of a cell."""
        return (self.xs[cell[0]] + self.xs[cell[0] + 1]) / 2, (self.zs[cell[1]] + self.zs[cell[1] + 1]) / 2

    def cells(self) -> list[Cell]:
        """All cells."""
        return [(i, j) for i in range(len(self.xs) - 1) for j in range(len(self.zs) - 1)]

    def neighbors(self, cell: Cell) -> list[Cell]:
        """The cells that a door or an opening leads to."""
        return [b if a == cell else a for a, b in self.doors if cell in (a, b)]


class Mover(NamedTuple):
    """A thing that moves to and fro on a line.

    Attributes:
        start, end: ends of the line.
        period: of the motion, frames.
        phase: 0 to 1.
    """

    start: Point
    end: Point
    period: float
    phase: float

    def position(self, frame: float) -> Point:
        """Return its position in a frame."""
        share = 0.5 - 0.5 * math.cos(2 * math.pi * (frame / self.period + self.phase))
        return tuple(a + share * (b - a) for a, b in zip(self.start, self.end, strict=True))  # type: ignore[return-value]


def make_plan(rng: random.Random) -> Plan:
    """Make a single room, a row of rooms, or a corridor with rooms at its sides."""
    kind = rng.choice(("room", "rooms", "rooms", "corridor"))
    if kind == "corridor":
        widths = [rng.uniform(3, 4.5), rng.uniform(1.7, 2.4), rng.uniform(3, 4.5)]
        depths = [rng.uniform(3, 5) for _ in range(rng.randint(2, 4))]
    else:
        widths = [rng.uniform(4, 7) for _ in range(1 if kind == "room" else rng.randint(1, 2))]
        depths = [rng.uniform(4, 7) for _ in range(1 if kind == "room" else rng.randint(2, 3))]
    xs, zs = _borders(widths), _borders(depths)
    plan = Plan(xs, zs, rng.uniform(2.4, 3.1), {}, set())
    for cell in plan.cells():
        for other in ((cell[0] + 1, cell[1]), (cell[0], cell[1] + 1)):
            if other[0] == len(widths) or other[1] == len(depths):
                continue
            in_corridor = kind == "corridor" and cell[0] == other[0] == 1
            leads = in_corridor or kind == "rooms" or 1 in (cell[0], other[0])
            if not leads or (kind == "corridor" and cell[0] == other[0] != 1):
                continue
            plan.doors[cell, other] = _opening(plan, cell, other, rng)
            if in_corridor:
                plan.open_pairs.add((cell, other))
    return plan


def _borders(sizes: list[float]) -> list[float]:
    borders = [0.0]
    for size in sizes:
        borders.append(borders[-1] + size)
    return borders


def _opening(plan: Plan, cell: Cell, other: Cell, rng: random.Random) -> Point:
    x, _ = plan.center(cell)
    if other[0] > cell[0]:
        low, high = plan.zs[cell[1]], plan.zs[cell[1] + 1]
        return plan.xs[other[0]], rng.uniform(low + 1, high - 1)
    low, high = plan.xs[cell[0]], plan.xs[cell[0] + 1]
    corridor = (cell, other) in plan.open_pairs or high - low < 2.6
    return (x if corridor else rng.uniform(low + 1, high - 1)), plan.zs[other[1]]


class Builder:
    """Collects the boxes of a scene.

    Args:
        rng: chooses everything.
        textures: to choose from.
    """

    def __init__(self, rng: random.Random, textures: Textures) -> None:
        self.rng, self.textures = rng, textures
        self._rows: list[tuple[tuple[float, ...], tuple[float, ...], float, int, float, tuple[float, ...], int]] = []

    def look(self, bright: float = 1.0) -> tuple[int, float, tuple[float, float, float]]:
        """Choose a texture of a surface, how large it repeats, and a tint."""
        rng, shade = self.rng, self.rng.uniform(0.7, 1.0)
        tint = tuple(bright * shade * rng.uniform(0.85, 1.0) for _ in range(3))
        return rng.choice(self.textures.tiles), rng.uniform(0.8, 2.4), tint  # type: ignore[return-value]

    def add(
        self,
        center: tuple[float, float, float],
        sides: tuple[float, float, float],
        look: tuple[int, float, tuple[float, float, float]],
        yaw: float = 0.0,
        mover: int = -1,
    ) -> None:
        """Add a box by its center and its sides; one without extent is left out."""
        if min(sides) > 1e-3:
            self._rows.append((center, tuple(side / 2 for side in sides), yaw, look[0], look[1], look[2], mover))

    def boxes(self) -> Boxes:
        """Return all boxes."""
        center, half, yaw, texture, tile, tint, mover = zip(*self._rows, strict=True)

        def numbers(values: object) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float32, device="cpu")

        kinds = [torch.tensor(values, dtype=torch.int64, device="cpu") for values in (texture, mover)]
        return Boxes(numbers(center), numbers(half), numbers(yaw), kinds[0], numbers(tile), numbers(tint), kinds[1])


def build_walls(builder: Builder, plan: Plan) -> None:
    """Add floors, ceilings, and walls with doors and windows."""
    height = plan.height
    for i, j in plan.cells():
        (x, z), width, depth = plan.center((i, j)), plan.xs[i + 1] - plan.xs[i], plan.zs[j + 1] - plan.zs[j]
        builder.add((x, 0.05, z), (width, 0.1, depth), builder.look())
        builder.add((x, -height - 0.05, z), (width, 0.1, depth), builder.look(1.1))
    for i, x in enumerate(plan.xs):
        for j in range(len(plan.zs) - 1):
            cells = ((i - 1, j), (i, j))
            hole = _hole(builder, plan, cells, axis=1, outside=i in (0, len(plan.xs) - 1))
            if hole is not None:
                _wall(builder, (x, plan.zs[j]), plan.zs[j + 1] - plan.zs[j], 1, hole, height)
    for j, z in enumerate(plan.zs):
        for i in range(len(plan.xs) - 1):
            cells = ((i, j - 1), (i, j))
            hole = _hole(builder, plan, cells, axis=0, outside=j in (0, len(plan.zs) - 1))
            if hole is not None:
                _wall(builder, (plan.xs[i], z), plan.xs[i + 1] - plan.xs[i], 0, hole, height)


Hole = tuple[float, float, float, float]  # first, last along the wall; lower and upper edge above the floor


def _hole(builder: Builder, plan: Plan, cells: tuple[Cell, Cell], axis: int, outside: bool) -> Hole | None:
    """The hole in a wall, of no size where there is none; None where there is no wall."""
    rng = builder.rng
    if cells in plan.open_pairs:
        return None
    if cells in plan.doors:
        middle, width = plan.doors[cells][axis], rng.uniform(*DOOR)
        return middle - width / 2, middle + width / 2, 0.0, DOOR_HEIGHT
    if outside and rng.random() < 0.55:
        inside = cells[1] if cells[1] in plan.cells() else cells[0]
        borders = plan.zs if axis else plan.xs
        low, high = borders[inside[axis]], borders[inside[axis] + 1]
        width = min(rng.uniform(*WINDOW), high - low - 0.8)
        middle = rng.uniform(low + 0.3 + width / 2, high - 0.3 - width / 2)
        return middle - width / 2, middle + width / 2, SILL, min(LINTEL, plan.height - 0.2)
    return 0.0, 0.0, 0.0, 0.0


def _wall(builder: Builder, start: Point, length: float, axis: int, hole: Hole, height: float) -> None:
    """Add a wall along x (axis 0) or z (axis 1) as the boxes around its hole."""
    look = builder.look()
    begin = start[axis]
    first, last, sill, lintel = hole
    if last <= first:
        first = last = begin + length
    parts = [
        (begin, first, 0.0, height), (last, begin + length, 0.0, height),
        (first, last, 0.0, sill), (first, last, lintel, height),
    ]  # fmt: skip
    for low, high, below, above in parts:
        along, middle = high - low, (low + high) / 2
        center = (middle, -(below + above) / 2, start[1]) if axis == 0 else (start[0], -(below + above) / 2, middle)
        sides = (along, above - below, THICKNESS) if axis == 0 else (THICKNESS, above - below, along)
        builder.add(center, sides, look)
