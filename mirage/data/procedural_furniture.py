# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Furniture, wall decoration and moving objects of procedural rooms."""

from __future__ import annotations

import math
import random

from .procedural_rooms import CLEARANCE, THICKNESS, Builder, Mover, Plan, Point

MAX_TRIES = 12  # to find a place


def furnish(builder: Builder, plan: Plan, path: list[Point]) -> None:
    """Add furniture beside the path, clutter on it, and pictures on walls."""
    rng = builder.rng
    for i, j in plan.cells():
        x0, x1, z0, z1 = plan.xs[i], plan.xs[i + 1], plan.zs[j], plan.zs[j + 1]
        placed: list[tuple[Point, float]] = []
        for _ in range(rng.randint(1, 2) if x1 - x0 < 2.6 else rng.randint(7, 14)):
            kind = rng.choice((_table, _shelf, _cabinet, _bed, _chair, _stack))
            width, depth = rng.uniform(0.4, 1.6), rng.uniform(0.35, 0.8)
            reach = math.hypot(width, depth) / 2
            place = _free_place(rng, (x0, x1, z0, z1), reach, path, placed)
            if place is not None:
                placed.append((place, reach))
                kind(builder, place, width, depth, rng.choice((0.0, math.pi / 2, rng.uniform(0, math.pi))))
        for _ in range(rng.randint(0, 3)):
            _picture(builder, plan, (x0, x1, z0, z1))
        if rng.random() < 0.5:
            size = (rng.uniform(1, x1 - x0 - 0.6), rng.uniform(1, z1 - z0 - 0.6)) if x1 - x0 > 2.6 else (0.9, 2.0)
            builder.add(((x0 + x1) / 2, -0.005, (z0 + z1) / 2), (size[0], 0.01, size[1]), builder.look())


def movers(builder: Builder, plan: Plan, path: list[Point], first_frames: int) -> list[Mover]:
    """Add up to three things that move, at y of the floor and around x = z = 0; they are moved there frame by frame.

    Args:
        builder: receives their boxes.
        plan: the rooms.
        path: of the camera; nothing moves close to it.
        first_frames: length of a clip, in frames, which periods are chosen for.
    """
    rng, found = builder.rng, list[Mover]()
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        i, j = rng.choice(plan.cells())
        room = (plan.xs[i], plan.xs[i + 1], plan.zs[j], plan.zs[j + 1])
        ends = [_free_place(rng, room, 0.3, path, []) for _ in range(2)]
        start, end = ends
        if start is None or end is None:
            continue
        between = [tuple(a + k / 8 * (b - a) for a, b in zip(start, end, strict=True)) for k in range(9)]
        if min(_distance(point, path) for point in between) < CLEARANCE:  # type: ignore[arg-type]
            continue
        number, look = len(found), builder.look()
        if rng.random() < 0.6:  # a figure: body and head
            builder.add((0.0, -0.7, 0.0), (0.45, 1.4, 0.3), look, mover=number)
            builder.add((0.0, -1.56, 0.0), (0.24, 0.28, 0.24), builder.look(), mover=number)
        else:
            side = rng.uniform(0.3, 0.6)
            builder.add((0.0, -side / 2, 0.0), (side, side, side), look, rng.uniform(0, 1.5), mover=number)
        found.append(Mover(start, end, rng.uniform(0.4, 1.5) * first_frames, rng.random()))
    return found


def _distance(point: Point, path: list[Point]) -> float:
    return min((math.hypot(point[0] - x, point[1] - z) for x, z in path), default=math.inf)


def _free_place(
    rng: random.Random,
    room: tuple[float, float, float, float],
    reach: float,
    path: list[Point],
    placed: list[tuple[Point, float]],
) -> Point | None:
    x0, x1, z0, z1 = room
    margin = reach + THICKNESS
    for _ in range(MAX_TRIES):
        if x1 - x0 < 2 * margin or z1 - z0 < 2 * margin:
            return None
        point = rng.uniform(x0 + margin, x1 - margin), rng.uniform(z0 + margin, z1 - margin)
        apart = all(math.hypot(point[0] - p[0], point[1] - p[1]) > reach + other for p, other in placed)
        if apart and _distance(point, path) > reach + CLEARANCE / 2:
            return point
    return None


def _table(builder: Builder, at: Point, width: float, depth: float, yaw: float) -> None:
    height, look = builder.rng.uniform(0.45, 0.8), builder.look()
    builder.add((at[0], -height, at[1]), (width, 0.05, depth), look, yaw)
    for a in (-1, 1):
        for b in (-1, 1):
            x, z = _turned(a * (width / 2 - 0.05), b * (depth / 2 - 0.05), yaw)
            builder.add((at[0] + x, -height / 2, at[1] + z), (0.05, height, 0.05), look, yaw)
    side = builder.rng.uniform(0.1, min(width, depth) / 2)
    builder.add((at[0], -height - 0.025 - side / 2, at[1]), (side, side, side), _pictured(builder), yaw + 0.5)


def _shelf(builder: Builder, at: Point, width: float, depth: float, yaw: float) -> None:
    height, look = builder.rng.uniform(1.2, 2.0), builder.look()
    depth = min(depth, 0.4)
    for side in (-1, 1):
        x, z = _turned(side * width / 2, 0, yaw)
        builder.add((at[0] + x, -height / 2, at[1] + z), (0.04, height, depth), look, yaw)
    for level in range(4):
        y = height * level / 3
        builder.add((at[0], -max(y, 0.02), at[1]), (width, 0.04, depth), look, yaw)
        if level < 3:
            x, z = _turned(builder.rng.uniform(-0.3, 0.3) * width, 0, yaw)
            size = (0.35 * width, 0.2 * height, 0.7 * depth)
            builder.add((at[0] + x, -y - 0.02 - size[1] / 2, at[1] + z), size, builder.look(), yaw)


def _cabinet(builder: Builder, at: Point, width: float, depth: float, yaw: float) -> None:
    height = builder.rng.uniform(0.6, 2.0)
    builder.add((at[0], -height / 2, at[1]), (width, height, depth), builder.look(), yaw)


def _bed(builder: Builder, at: Point, width: float, depth: float, yaw: float) -> None:
    builder.add((at[0], -0.2, at[1]), (width, 0.4, depth), builder.look(), yaw)
    builder.add((at[0], -0.47, at[1]), (0.94 * width, 0.14, 0.94 * depth), builder.look(1.1), yaw)


def _chair(builder: Builder, at: Point, width: float, depth: float, yaw: float) -> None:
    look, side = builder.look(), min(width, depth, 0.5)
    builder.add((at[0], -0.225, at[1]), (0.9 * side, 0.45, 0.9 * side), look, yaw)
    x, z = _turned(0, side / 2, yaw)
    builder.add((at[0] + x, -0.5, at[1] + z), (side, 1.0, 0.05), look, yaw)


def _stack(builder: Builder, at: Point, width: float, depth: float, yaw: float) -> None:
    top = 0.0
    for _ in range(builder.rng.randint(1, 3)):
        height, share = builder.rng.uniform(0.2, 0.5), builder.rng.uniform(0.5, 1.0)
        sides = (share * min(width, 0.7), height, share * depth)
        turned = yaw + builder.rng.uniform(-0.4, 0.4)
        builder.add((at[0], -top - height / 2, at[1]), sides, _pictured(builder), turned)
        top += height


def _pictured(builder: Builder) -> tuple[int, float, tuple[float, float, float]]:
    """A look that is a photograph on every face, or that of a surface."""
    if builder.rng.random() < 0.5:
        return builder.look()
    return builder.rng.choice(builder.textures.pictures), 0.0, (1.0, 1.0, 1.0)


def _picture(builder: Builder, plan: Plan, room: tuple[float, float, float, float]) -> None:
    """Hang a picture on one of the four walls, wherever on it: before a window or a door, it hangs in the air."""
    rng, (x0, x1, z0, z1) = builder.rng, room
    side, gap = rng.uniform(0.4, 1.1), THICKNESS / 2 + 0.015
    y = -rng.uniform(1.3, min(1.7, plan.height - side / 2 - 0.1))
    look = (rng.choice(builder.textures.pictures), 0.0, (1.0, 1.0, 1.0))
    along_x, along_z = rng.uniform(x0 + side, x1 - side), rng.uniform(z0 + side, z1 - side)
    places = [
        ((x0 + gap, y, along_z), (0.02, side, side)), ((x1 - gap, y, along_z), (0.02, side, side)),
        ((along_x, y, z0 + gap), (side, side, 0.02)), ((along_x, y, z1 - gap), (side, side, 0.02)),
    ]  # fmt: skip
    center, sides = rng.choice(places)
    builder.add(center, sides, look)


def _turned(x: float, z: float, yaw: float) -> Point:
    return math.cos(yaw) * x + math.sin(yaw) * z, -math.sin(yaw) * x + math.cos(yaw) * z
