# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Procedural scenes: clips of rooms and corridors with exact depth, poses, and masks of what moves and of the sky.

For training and for tests in which the truth is known. A seed determines a scene and its clip; they are drawn by ray
casting (:mod:`.ray_casting`) on the CPU, from photographs of scikit-image and patterns of noise.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from mirage_kernels import Cameras, check

from .procedural_furniture import furnish, movers
from .procedural_paths import cameras_along, walk
from .procedural_rooms import Builder, Mover, build_walls, make_plan
from .procedural_textures import textures
from .procedural_types import LIGHTING, Clip, Look, Revisit
from .ray_casting import Boxes, Rays, cast, surface_of

__all__ = ["Clip", "Look", "ProceduralScene", "Revisit", "make_clip"]

MAX_FRAMES = 1 << 20


class ProceduralScene:
    """Rooms with furniture, lights and things that move.

    Args:
        seed: determines the scene.
        frames: length of the clips that it is made for, frames: how slowly things move.
        look: ``"day"``, or ``"night"``, when lamps give most of the light. It changes colors only.

    Attributes:
        boxes: everything, moving things around the origin.
        path: what a camera can walk along.
        caption: a description in a few words.

    Raises:
        TypeError, ValueError: an argument has the wrong type or is out of range.
        DataError: scikit-image is not installed.

    Example:
        >>> from mirage.data.procedural import ProceduralScene
        >>> scene = ProceduralScene(seed=1)
        >>> clip = scene.clip(frames=2, size=(64, 96))
        >>> clip.frames.shape, clip.depth.shape
        (torch.Size([2, 3, 64, 96]), torch.Size([2, 64, 96]))
    """

    def __init__(self, seed: int, *, frames: int = 81, look: Look = "day") -> None:
        self.seed = check.integer("seed", seed, 0, (1 << 63) - 1)
        self._frames = check.integer("frames", frames, 1, MAX_FRAMES)
        self._lighting = LIGHTING[check.choice("look", look, tuple(LIGHTING))]
        rng = random.Random(self.seed)
        plan = make_plan(rng)
        self.path = walk(rng, plan)
        builder = Builder(rng, textures())
        build_walls(builder, plan)
        furnish(builder, plan, self.path.points)
        self._movers: list[Mover] = movers(builder, plan, self.path.points, self._frames)
        self.boxes: Boxes = builder.boxes()
        self._lights = [((*plan.center(cell), -plan.height + 0.3), rng.uniform(0.5, 1.1)) for cell in plan.cells()]
        self._horizon = (rng.uniform(0.75, 1.0), rng.uniform(0.75, 0.92), rng.uniform(0.7, 1.0))
        self._path_seed = rng.getrandbits(62)
        where = "a furnished room" if len(plan.cells()) == 1 else "furnished rooms"
        self.caption = f"a walk through {where}" + (" where something moves" if self._movers else "")

    def cameras(self, frames: int, size: tuple[int, int], revisit: Revisit | None = None) -> Cameras:
        """Return cameras along the path: the same for the same arguments.

        Args:
            frames: number of cameras.
            size: (H, W) of the images.
            revisit: ``"back"`` comes back the same way, ``"turn"`` turns once around, ``"on"`` walks on; None lets the
                seed choose.
        """
        frames = check.integer("frames", frames, 1, MAX_FRAMES)
        height, width = check.size("size", size)
        rng = random.Random(self._path_seed)
        return cameras_along(rng, self.path, frames, (height, width), revisit)

    def clip(
        self, frames: int | None = None, size: tuple[int, int] = (256, 384), revisit: Revisit | None = None
    ) -> Clip:
        """Draw a clip along the path.

        Args:
            frames: number of frames; None for those that the scene was made for.
            size: (H, W).
            revisit: see :meth:`cameras`.
        """
        cameras = self.cameras(self._frames if frames is None else frames, size, revisit)
        drawn = [self.draw(cameras[t], t) for t in range(len(cameras))]
        images, depth, moving = (torch.stack(parts) for parts in zip(*drawn, strict=True))
        return Clip(images, depth, cameras, moving, depth == 0, self.seed)

    def draw(self, camera: Cameras, frame: float) -> tuple[Tensor, Tensor, Tensor]:
        """Draw one camera's view.

        Args:
            camera: one camera over (H, W).
            frame: time, in frames: where moving things are.

        Returns:
            (3, H, W) uint8; (H, W) float32 z-depth, 0 where the sky is; (H, W) bool, True where something moving is.
        """
        boxes = self._at(frame)
        rays = Rays.of(camera)
        hits = cast(rays, boxes)
        surface = surface_of(rays, boxes, hits)
        look = textures()
        tile = boxes.tile[surface.box]
        span = torch.where(tile[:, None] > 0, tile[:, None], surface.sides)
        shown = hits.box >= 0
        distance = hits.depth[shown]
        uv = surface.face / span + 0.5
        albedo = look.sample(boxes.texture[surface.box], uv, distance / camera.intrinsics[0, 0, 0] / span.amin(1))
        color = albedo * boxes.tint[surface.box] * self._light(surface.point, surface.normal)
        image = self._sky_of(rays)
        image[shown] = color
        depth = torch.where(shown, hits.depth, 0.0)
        moving = torch.zeros_like(shown)
        moving[shown] = boxes.mover[surface.box] >= 0
        return (image.clamp(0, 1) * 255).round().to(torch.uint8).movedim(2, 0), depth, moving

    def _at(self, frame: float) -> Boxes:
        """All boxes, moving ones where they are in a frame."""
        if not self._movers:
            return self.boxes
        center = self.boxes.center.clone()
        for number, mover in enumerate(self._movers):
            x, z = mover.position(frame)
            center[self.boxes.mover == number] += torch.tensor([x, 0.0, z], dtype=torch.float32, device="cpu")
        return self.boxes._replace(center=center)

    def _light(self, point: Tensor, normal: Tensor) -> Tensor:
        """(P, 3) light: ambient light, and lamps below the ceilings without shadows, by Lambert's law."""
        lamps = torch.zeros_like(point[:, 0])
        for (x, z, y), power in self._lights:
            to = torch.tensor([x, y, z], dtype=torch.float32, device="cpu") - point
            squared = to.square().sum(1)
            facing = (to * normal).sum(1).clamp(min=0) * squared.rsqrt()
            lamps += power * facing / (1 + 0.35 * squared)
        ambient, tint = (torch.tensor(color, dtype=torch.float32, device="cpu") for color in self._lighting[:2])
        return ambient + lamps[:, None] * tint

    def _sky_of(self, rays: Rays) -> Tensor:
        """(H, W, 3): lighter towards the horizon, with clouds."""
        up = -rays.y / (rays.x.square() + rays.y.square() + rays.z.square()).sqrt()
        share = up.clamp(0, 1)[..., None]
        zenith = torch.tensor([0.25, 0.45, 0.85], dtype=torch.float32, device="cpu")
        horizon = torch.tensor(self._horizon, dtype=torch.float32, device="cpu")
        color = horizon * (1 - share) + zenith * share
        level = up.clamp(min=0.08)
        waves = torch.sin(3 * rays.x / level + self.seed % 7) * torch.cos(2 * rays.z / level) + torch.sin(
            (5 * rays.x + 7 * rays.z) / level
        )
        clouds = (waves / 2).clamp(0, 1)[..., None] * (up > 0.05)[..., None]
        tint = torch.tensor(self._lighting.sky, dtype=torch.float32, device="cpu")
        return (color * (1 - 0.7 * clouds) + 0.7 * clouds) * tint


def make_clip(
    seed: int, *, frames: int = 81, size: tuple[int, int] = (256, 384), revisit: Revisit | None = None
) -> Clip:
    """Make a scene and draw a clip of it.

    Args:
        seed: determines scene and path.
        frames: number of frames.
        size: (H, W).
        revisit: ``"back"``, ``"turn"`` or ``"on"``; None lets the seed choose.

    Raises:
        TypeError, ValueError: an argument has the wrong type or is out of range.
        DataError: scikit-image is not installed.

    Example:
        >>> clip = make_clip(3, frames=2, size=(32, 48))
        >>> bool((clip.depth > 0).logical_or(clip.sky).all())
        True
    """
    return ProceduralScene(seed, frames=frames).clip(size=size, revisit=revisit)
