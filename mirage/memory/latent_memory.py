# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The latent spatial memory: a model's own latents, kept at the places in the world that they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import (
    Cameras,
    InsertCounts,
    Points,
    Splat,
    Storage,
    VoxelCache,
    load_tensors,
    save_tensors,
    splat,
    unproject,
)

from ..errors import DataError
from ..geometry.hole_filling import fill_from_far_side
from .history import History, References
from .row_mask import RowMask
from .view import MemoryView
from .view_rule import SAME_SURFACE, compare, composite_depth

VOXEL = 1 / 16  # of the median footprint: larger voxels let a closer look take the row of a coarse one and leave gaps
KIND, VERSION = "memory", 2  # of the files


class LatentSpatialMemory:
    """Latent cells at their places in the world: written where the memory does not know better, read through any
    camera.

    Rows live in a :class:`mirage_kernels.VoxelCache` whose voxels are so small that they only catch what is the same
    point again; what saves room is asking the memory what it already shows before a frame is written.

    Args:
        channels: C of the latents.
        dtype: what they are kept in: float32, bfloat16 or float16.
        device: where.
        storage: ``"int8"`` for latents of a quarter of float32's size.
        extent_scale: a row is drawn as a square of this many footprints' half-size. A little over half closes the gaps
            between neighbours; 0 draws points.
        max_bytes: a budget for the rows; the oldest go first.
        max_frames: how many past latent frames are remembered, for :meth:`retrieve` and to keep what is imagined later
            from hiding what they saw.
        codec: a note of what the latents are, such as ``"dct-16"``; kept in files.
    """

    def __init__(
        self,
        channels: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        storage: Storage | None = None,
        extent_scale: float = 0.65,
        max_bytes: int | None = None,
        max_frames: int = 256,
        codec: str = "",
    ) -> None:
        self.codec = codec
        self.cache = VoxelCache(
            "auto",
            channels,
            dtype=dtype,
            device=device,
            storage=storage,
            extent_scale=extent_scale,
            max_bytes=max_bytes,
            auto_scale=VOXEL,
        )
        self.history = History(channels, dtype=dtype, device=device, max_frames=max_frames)
        # A closer look at the same surface is kept too: such rows show only where that one does not.
        self._coarse = RowMask(device)

    def __len__(self) -> int:
        """How many rows are kept."""
        return len(self.cache)

    @property
    def channels(self) -> int:
        return self.cache.channels

    @property
    def nbytes(self) -> int:
        """Bytes of every tensor that is kept, past frames and room to grow included."""
        return self.cache.nbytes + self._coarse.nbytes + self.history.nbytes

    def read(self, cameras: Cameras) -> MemoryView:
        """What the cameras see, on their grid. Changes nothing."""
        drawn = self._draw(cameras)
        return self._describe(Splat(self.cache.feature_maps(drawn.index), drawn.depth, drawn.index))

    def _draw(self, cameras: Cameras) -> Splat:
        """Every row where it lands, then squares where nothing does or what does lies behind one; and a coarse look
        only where no closer look at the same surface shows. Without features, which only the last winner is asked
        for."""
        fine = self._coarse.clear(len(self)) if self._coarse.any else None
        points = self.cache.splat(cameras, valid=fine, extent_scale=0, features=False)
        drawn = composite_depth(points, self.cache.splat(cameras, valid=fine, features=False))
        if not self._coarse.any:
            return drawn
        return composite_depth(drawn, self.cache.splat(cameras, valid=self._coarse.set(len(self)), features=False))

    def _describe(self, drawn: Splat) -> MemoryView:
        winner = drawn.index.clamp(min=0)
        known = self.cache.footprint[winner] if len(self) else drawn.depth
        stamp = self.cache.stamp[winner] if len(self) else drawn.index
        return MemoryView(
            drawn.features.movedim(0, 1),
            drawn.mask,
            drawn.depth,
            torch.where(drawn.mask, known, torch.inf),
            torch.where(drawn.mask, stamp, -1),
        )

    def retrieve(
        self, cameras: Cameras, *, k: int = 4, threshold: float = 0.1, before: int | None = None
    ) -> References:
        """Past latent frames that see what target views see; see :meth:`mirage.memory.history.History.retrieve`."""
        return self.history.retrieve(cameras, self.cache.xyz, k=k, threshold=threshold, before=before)

    def write(
        self,
        latents: Tensor,
        cameras: Cameras,
        depth: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        stamps: Sequence[int] | None = None,
        remembered: Tensor | None = None,
    ) -> list[int]:
        """Write T latent frames one after the other, each where the memory does not show its cells already.

        With ``depth``, a cell is written where the memory shows nothing, or a surface more than 5 % farther, or the
        same surface seen from at least twice the distance. What a remembered view has seen from as near is taken in
        again only where the memory shows nothing, or a surface more than 10 % farther. Without ``depth``, it is the
        memory's own, holes taking the far side's; then only holes are written, and nothing that would hide a surface
        from a view that saw it.

        Args:
            latents: (C, T, h, w).
            cameras: T cameras, over a grid of any size.
            depth: (T, H, W) float32, world units.
            mask: (T, H, W) bool of pixels or (T, h, w) of cells, True where nothing may be remembered;
                without ``depth``, of cells.
            stamps: what is noted on the points of every frame, such as its number; 0 by default.
            remembered: (C, T, h, w), what :meth:`retrieve` returns for these frames, instead of ``latents``.

        Returns:
            How many points each frame added.
        """
        channels, count, h, w = latents.shape
        if channels != self.channels or len(cameras) != count:
            expected = f"(C={self.channels}, T={len(cameras)}, h, w)"
            raise ValueError(f"latents: expected {expected}, got {tuple(latents.shape)}")
        if depth is not None and (depth.dim() != 3 or len(depth) != count):
            raise ValueError(f"depth: expected (T={count}, H, W), got {tuple(depth.shape)}")
        shapes = [(count, h, w)] if depth is None else [tuple(depth.shape), (count, h, w)]
        if mask is not None and tuple(mask.shape) not in shapes:
            raise ValueError(f"mask: expected {' or '.join(map(str, shapes))}, got {tuple(mask.shape)}")
        if remembered is not None and remembered.shape != latents.shape:
            raise ValueError(f"remembered: expected {tuple(latents.shape)}, got {tuple(remembered.shape)}")
        return [
            self._write_frame(
                latents[:, t],
                cameras[t].rescale((h, w)),
                None if depth is None else depth[t],
                None if mask is None else mask[t],
                0 if stamps is None else stamps[t],
                (latents if remembered is None else remembered)[:, t],
            )
            for t in range(count)
        ]

    def _write_frame(
        self,
        latent: Tensor,
        camera: Cameras,
        depth: Tensor | None,
        mask: Tensor | None,
        stamp: int,
        remembered: Tensor,
    ) -> int:
        drawn = self._draw(camera)
        view = self._describe(drawn)
        imagined = depth is None
        depth = fill_from_far_side(view.depth)[0] if depth is None else depth
        pixels = None if mask is None or mask.shape != depth.shape else mask[None]
        points = unproject(
            depth[None].contiguous(),
            latent[None].to(self.cache.dtype),
            camera.rescale((depth.shape[0], depth.shape[1])),
            mask=pixels,
        )
        new = points.valid.reshape(camera.size)
        new = new if mask is None or pixels is not None else new & ~mask
        _, z, _ = camera.project(points.xyz)
        z = torch.where(new, z[0].reshape(camera.size), torch.inf)
        superseded = drawn.index[:0]
        if imagined:
            new = new & ~view.mask[0]
            new = new & ~self._would_hide(points, new.flatten()).reshape(camera.size)
            z = torch.where(new, z, view.depth[0])
        else:
            adds, closer = compare(view, z, points.footprint.reshape(camera.size))
            at = (new & view.mask[0] & (adds | closer)).flatten().nonzero().squeeze(1)
            known = torch.zeros_like(points.valid)
            known[at] = self.history.saw(points.xyz[at], points.footprint[at], SAME_SURFACE)
            known = known.reshape(camera.size)
            # What a view has seen is not taken in twice because its neighbours have moved in the meantime.
            adds = adds & ~(known & (view.depth[0] <= z * (1 + SAME_SURFACE) ** 2))
            closer = closer & ~known
            new = new & (adds | closer)
            superseded = drawn.index[0, new & closer]
        counts = self._insert(points, new.flatten(), superseded, stamp)
        self.history.add(remembered, camera, z, stamp, self.cache.xyz)
        return counts.added

    def carve(self, depth: Tensor, camera: Cameras, grid: tuple[int, int], tolerance: float = 2 * SAME_SURFACE) -> int:
        """Drop what a new depth map (H, W) sees through: it shows only surfaces that lie farther by more than a share
        ``tolerance``, in the cell of ``grid`` where a point is seen and in the eight around it. A cell of which less
        than half has depth shows nothing: what sensors lose is often near and thin.

        Returns:
            How many points.
        """
        unknown, nothing = ~(depth.isfinite() & (depth > 0))[None], depth.new_zeros(1, 0, *grid)
        seen = unproject(torch.ones_like(depth)[None], nothing, camera, mask=unknown, max_masked=0.5).valid
        points = unproject(depth[None].contiguous(), nothing, camera, pooling="min")
        z = torch.where(points.valid, camera.project(points.xyz)[1][0], torch.inf).reshape(1, *grid)
        nearest = torch.where(seen.reshape(z.shape), -nnf.max_pool2d(-z, 3, 1, 1), torch.inf)
        remap = self.cache.carve(nearest, camera.rescale(grid), tolerance)
        self._coarse.move(remap)
        return len(remap) - len(self)

    def _insert(self, points: Points, new: Tensor, superseded: Tensor, stamp: int) -> InsertCounts:
        before = self.cache.footprint[superseded]
        counts = self.cache.insert(points.xyz, points.features, points.footprint, valid=new, stamp=stamp)
        if counts.remap is not None:
            self._coarse.move(counts.remap)
            superseded = counts.remap[superseded]
            superseded, before = superseded[superseded >= 0], before[superseded >= 0]
        # a closer look that fell into the very voxel of the coarse one has taken its row
        self._coarse.mark(superseded[self.cache.footprint[superseded] == before], len(self))
        return counts

    def _would_hide(self, points: Points, candidates: Tensor) -> Tensor:
        """Which of the candidates (N,) would lie in front of a surface in a remembered view that saw it."""
        hiding = torch.zeros_like(candidates)
        if self.history.cameras is None:
            return hiding
        nothing = points.features[:, :0]
        extent = self.cache.extent_scale * points.footprint
        surface = self.history.surface
        while True:  # a point that is in the way may itself hide another that is
            view = splat(points.xyz, nothing, self.history.cameras, valid=candidates & ~hiding, extent=extent)
            in_front = view.mask & surface.isfinite() & (surface > view.depth * (1 + SAME_SURFACE))
            if not in_front.any():
                return hiding
            hiding[view.index[in_front]] = True

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"cache.{name}": tensor for name, tensor in self.cache.state_dict().items()}
        tensors |= {f"history.{name}": tensor for name, tensor in self.history.tensors().items()}
        return tensors | {"coarse": self._coarse.set(len(self))}

    def save(self, path: str | Path) -> None:
        """Write one safetensors file. A file of that name is replaced only once the new one is whole and on disk."""
        settings = {"cache": self.cache.settings, "max_frames": self.history.max_frames, "codec": self.codec}
        save_tensors(path, self._tensors(), kind=KIND, version=VERSION, settings=settings)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> LatentSpatialMemory:
        """Read what :meth:`save` wrote.

        Raises:
            DataError: the file is missing, damaged, or of another kind.
        """
        try:
            tensors, settings = load_tensors(path, kind=KIND, version=VERSION, device=device)
        except (ValueError, OSError) as error:
            raise DataError(str(error)) from None
        try:
            return cls._from_tensors(tensors, settings, device)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path}: expected a memory, got a file that does not fit together ({error})") from None

    @classmethod
    def _from_tensors(
        cls, tensors: dict[str, Tensor], settings: dict[str, Any], device: torch.device | str
    ) -> LatentSpatialMemory:
        parts: dict[str, dict[str, Tensor]] = {"cache": {}, "history": {}}
        for name, tensor in tensors.items():
            if "." in name:
                part, name = name.split(".", 1)
                parts[part][name] = tensor
        cache = VoxelCache.from_state_dict(settings["cache"], parts["cache"], device)
        notes = {name: settings[name] for name in ("max_frames", "codec")}
        memory = cls(cache.channels, dtype=cache.dtype, device=device, **notes)
        memory.cache = cache
        memory.history.load(parts["history"])
        coarse = tensors["coarse"]
        if coarse.dtype != torch.bool or coarse.shape != (len(cache),):
            raise ValueError(f"coarse: expected bool ({len(cache)},), got {coarse.dtype} {tuple(coarse.shape)}")
        memory._coarse.mark(coarse.nonzero().squeeze(1), len(cache))
        return memory
