# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The latent spatial memory: a model's own latents, kept at the places in the world that they show."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mirage_kernels import Cameras, Points, Splat, splat, unproject

from .depth import fill_from_far_side
from .errors import DataError

SAME_SURFACE = 0.05  # depths within 5 % of one another are of one surface
CLOSER_LOOK = 2.0  # a surface is written again when it is seen from this many times nearer
VERSION = 1  # of the files


class MemoryView(NamedTuple):
    """What the memory shows to T cameras over a grid (h, w).

    Attributes:
        latents: (C, T, h, w), zeros in holes.
        mask: (T, h, w) bool, False in holes.
        depth: (T, h, w) float32, +inf in holes.
        footprint: (T, h, w) float32, how wide the cell was when it was written, world units; +inf in holes.
        stamp: (T, h, w) int64, when it was written; -1 in holes.
    """

    latents: Tensor
    mask: Tensor
    depth: Tensor
    footprint: Tensor
    stamp: Tensor


class LatentSpatialMemory:
    """Latent cells as points in the world: written where the memory does not know better, read through any camera.

    Args:
        channels: C of the latents.
        dtype: what they are kept in: float32, bfloat16 or float16.
        device: where.
        extent_scale: a point is drawn as a square of this many footprints' half-size. A little over half closes the
            gaps between neighbours; 0 draws points.
        max_frames: how many written views are remembered, to keep what is imagined later from hiding what they saw. The
            oldest are forgotten first.
    """

    def __init__(
        self,
        channels: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        extent_scale: float = 0.6,
        max_frames: int = 256,
    ) -> None:
        self.extent_scale = extent_scale
        self.max_frames = max_frames
        self.xyz = torch.zeros(0, 3, device=device)
        self.features = torch.zeros(0, channels, dtype=dtype, device=device)
        self.footprint = torch.zeros(0, device=device)
        self.stamp = torch.zeros(0, dtype=torch.int64, device=device)
        self.coarse = torch.zeros(0, dtype=torch.bool, device=device)  # a closer look at the same surface is kept too
        self._any_coarse = False
        # Written views by grid size: their cameras, and the depth of the surface each of them saw (+inf elsewhere).
        self._seen: dict[tuple[int, int], tuple[Cameras, Tensor]] = {}

    def __len__(self) -> int:
        """How many points are kept."""
        return self.xyz.shape[0]

    @property
    def channels(self) -> int:
        return self.features.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of every tensor that is kept."""
        return sum(t.numel() * t.element_size() for t in self._tensors().values())

    def read(self, cameras: Cameras) -> MemoryView:
        """What the cameras see, on their grid. Changes nothing."""
        return self._describe(self._draw(cameras))

    def _draw(self, cameras: Cameras) -> Splat:
        """The points, except that a coarse look shows only where no closer look at the same surface does."""
        extent = self.extent_scale * self.footprint
        closest = splat(self.xyz, self.features, cameras, valid=~self.coarse, extent=extent)
        if not self._any_coarse:
            return closest
        coarse = splat(self.xyz, self.features, cameras, valid=self.coarse, extent=extent)
        other = closest.depth > coarse.depth * (1 + SAME_SURFACE)  # true in the closest look's holes: they are +inf
        return Splat(
            torch.where(other[:, None], coarse.features, closest.features),
            torch.where(other, coarse.depth, closest.depth),
            torch.where(other, coarse.index, closest.index),
        )

    def _describe(self, drawn: Splat) -> MemoryView:
        winner = drawn.index.clamp(min=0)
        known = self.footprint[winner] if len(self) else drawn.depth
        stamp = self.stamp[winner] if len(self) else drawn.index
        return MemoryView(
            drawn.features.movedim(0, 1),
            drawn.mask,
            drawn.depth,
            torch.where(drawn.mask, known, torch.inf),
            torch.where(drawn.mask, stamp, -1),
        )

    def write(
        self,
        latents: Tensor,
        cameras: Cameras,
        depth: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        stamps: Sequence[int] | None = None,
    ) -> list[int]:
        """Write T latent frames one after the other, each where the memory does not show its cells already.

        With ``depth``, a cell is written where the memory shows nothing, or a surface more than 5 % farther, or the
        same surface seen from at least twice the distance. Without, the depth is the memory's own, holes taking the far
        side's; then only holes are written, and nothing that would hide a surface from a view that saw it.

        Args:
            latents: (C, T, h, w).
            cameras: T cameras, over a grid of any size.
            depth: (T, H, W) float32, world units.
            mask: (T, H, W) bool, True where nothing may be remembered. Needs ``depth``.
            stamps: what is noted on the points of every frame, such as its number; 0 by default.

        Returns:
            How many points each frame added.
        """
        channels, count, h, w = latents.shape
        if channels != self.channels or len(cameras) != count:
            expected = f"(C={self.channels}, T={len(cameras)}, h, w)"
            raise ValueError(f"latents: expected {expected}, got {tuple(latents.shape)}")
        if depth is not None and (depth.dim() != 3 or len(depth) != count):
            raise ValueError(f"depth: expected (T={count}, H, W), got {tuple(depth.shape)}")
        if mask is not None and depth is None:
            raise ValueError("mask: expected depth with it, got none")
        return [
            self._write_frame(
                latents[:, t],
                cameras[t].rescale((h, w)),
                None if depth is None else depth[t],
                None if mask is None else mask[t],
                0 if stamps is None else stamps[t],
            )
            for t in range(count)
        ]

    def _write_frame(
        self, latent: Tensor, camera: Cameras, depth: Tensor | None, mask: Tensor | None, stamp: int
    ) -> int:
        drawn = self._draw(camera)
        view = self._describe(drawn)
        imagined = depth is None
        depth = fill_from_far_side(view.depth)[0] if depth is None else depth
        points = unproject(
            depth[None].contiguous(),
            latent[None].to(self.features.dtype),
            camera.rescale((depth.shape[0], depth.shape[1])),
            mask=None if mask is None else mask[None],
        )
        _, z, _ = camera.project(points.xyz)
        z = torch.where(points.valid, z[0], torch.inf).reshape(camera.size)
        new = points.valid.reshape(camera.size)
        if imagined:
            new = new & ~view.mask[0]
            new = new & ~self._would_hide(points, new.flatten()).reshape(camera.size)
            z = torch.where(new, z, view.depth[0])
        else:
            adds, closer = compare(view, z, points.footprint.reshape(camera.size))
            new = new & adds
            self.coarse[drawn.index[0, new & closer]] = True
            self._any_coarse = self._any_coarse or bool((new & closer).any())
        self._append(points, new.flatten(), stamp)
        self._remember(camera, z[None])
        return int(new.sum())

    def _append(self, points: Points, keep: Tensor, stamp: int) -> None:
        count = int(keep.sum())
        self.xyz = torch.cat([self.xyz, points.xyz[keep]])
        self.features = torch.cat([self.features, points.features[keep]])
        self.footprint = torch.cat([self.footprint, points.footprint[keep]])
        self.stamp = torch.cat([self.stamp, self.stamp.new_full((count,), stamp)])
        self.coarse = torch.cat([self.coarse, self.coarse.new_zeros(count)])

    def _would_hide(self, points: Points, candidates: Tensor) -> Tensor:
        """Which of the candidates (N,) would lie in front of a surface in a remembered view that saw it."""
        hiding = torch.zeros_like(candidates)
        nothing = points.features[:, :0]
        extent = self.extent_scale * points.footprint
        for cameras, surface in self._seen.values():
            while True:  # a point that is in the way may itself hide another that is
                view = splat(points.xyz, nothing, cameras, valid=candidates & ~hiding, extent=extent)
                known = surface.isfinite()
                winners = view.index[view.mask & known & (surface > view.depth * (1 + SAME_SURFACE))]
                if winners.numel() == 0:
                    break
                hiding[winners] = True
        return hiding

    def _remember(self, camera: Cameras, surface: Tensor) -> None:
        cameras, surfaces = self._seen.get(camera.size, (camera[:0], surface[:0]))
        cameras, surfaces = Cameras.cat([cameras, camera]), torch.cat([surfaces, surface])
        self._seen[camera.size] = cameras[-self.max_frames :], surfaces[-self.max_frames :]

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"xyz": self.xyz, "features": self.features, "footprint": self.footprint}
        tensors |= {"stamp": self.stamp, "coarse": self.coarse}
        for (h, w), (cameras, surface) in self._seen.items():
            tensors[f"seen.{h}x{w}.intrinsics"] = cameras.intrinsics
            tensors[f"seen.{h}x{w}.cam2world"] = cameras.cam2world
            tensors[f"seen.{h}x{w}.surface"] = surface
        return tensors

    def save(self, path: str | Path) -> None:
        """Write one safetensors file. A file of that name is replaced only once the new one is whole and on disk."""
        path = Path(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        settings = {"version": VERSION, "extent_scale": self.extent_scale, "max_frames": self.max_frames}
        # one entry: safetensors writes several in any order, and the same memory should be the same bytes
        header = {"mirage.memory": json.dumps(settings)}
        try:
            save_file({name: t.contiguous() for name, t in self._tensors().items()}, partial, header)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> LatentSpatialMemory:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: the file is missing, damaged, or of another kind.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(f"{path}: no such memory")
        try:
            with safe_open(path, "pt", device=str(device)) as file:
                header = (file.metadata() or {}).get("mirage.memory")
                # Copies: what safetensors hands out is the file itself, mapped, and may be cut off under our feet.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path}: expected a memory, got a damaged file ({error})") from None
        if header is None:
            raise DataError(f"{path}: expected a memory, got another kind of safetensors file")
        try:
            settings = json.loads(header)
            if settings["version"] != VERSION:
                raise DataError(f"{path}: expected a memory of version {VERSION}, got version {settings['version']}")
            return cls._from_tensors(tensors, settings)
        except DataError:
            raise
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path}: expected a memory, got a file that does not fit together ({error})") from None

    @classmethod
    def _from_tensors(cls, tensors: dict[str, Tensor], settings: dict[str, Any]) -> LatentSpatialMemory:
        features = tensors["features"]
        memory = cls(
            features.shape[1],
            dtype=features.dtype,
            device=features.device,
            extent_scale=settings["extent_scale"],
            max_frames=settings["max_frames"],
        )
        for name in ("xyz", "features", "footprint", "stamp", "coarse"):
            value, empty = tensors.pop(name), getattr(memory, name)
            if value.dtype != empty.dtype or value.shape != (len(features), *empty.shape[1:]):
                raise ValueError(f"{name}: {value.dtype} {tuple(value.shape)}")
            setattr(memory, name, value)
        memory._any_coarse = bool(memory.coarse.any())
        for name in [name for name in tensors if name.endswith(".surface")]:
            stem, surface = name.removesuffix(".surface"), tensors[name]
            cameras = Cameras(
                tensors[f"{stem}.intrinsics"],
                tensors[f"{stem}.cam2world"],
                (surface.shape[1], surface.shape[2]),
            )
            if len(cameras) != len(surface):
                raise ValueError(f"{name}: {tuple(surface.shape)}")
            memory._seen[cameras.size] = cameras, surface
        return memory


def compare(view: MemoryView, depth: Tensor, footprint: Tensor) -> tuple[Tensor, Tensor]:
    """Hold a new frame against what the memory shows to its camera.

    Args:
        view: what the memory shows (T = 1).
        depth: (h, w) of the new cells; +inf where there is none.
        footprint: (h, w) of the new cells.

    Returns:
        Which cells (h, w) the memory is better with: it shows nothing there, or something more than 5 % farther, or the
        same surface seen from at least twice the distance; and which of them are such a closer look.
    """
    shown = view.depth[0]
    farther = shown > depth * (1 + SAME_SURFACE)
    same = (shown - depth).abs() <= SAME_SURFACE * depth
    closer = same & (view.footprint[0] >= CLOSER_LOOK * footprint)
    return ~view.mask[0] | farther | closer, closer
