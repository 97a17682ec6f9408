# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Past latent frames: what each of them was, where it stood, and which of them saw what is about to be shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras, group_voxels, overlap, visible

ROOM_MADE = 16  # of a full history, one frame in so many is forgotten at once
FIRST_ROOM, GROWTH = 16, 1.5  # frames there is room for at first, and how many times as many when that is full


class References(NamedTuple):
    """Past latent frames that see the same places as some target views, best first.

    Attributes:
        latents: (C, R, h, w).
        cameras: R cameras over (h, w).
        stamps: (R,) int64.
        scores: (R,) float32, the overlap with the target views, intersection over union of voxels.
    """

    latents: Tensor
    cameras: Cameras
    stamps: Tensor
    scores: Tensor


class History:
    """At most ``max_frames`` latent frames, over one grid.

    Args:
        channels: C of the latents.
        dtype, device: of the latents.
        max_frames: when there are more, those go first whose voxels the others see too.
        voxel_size: world units; the voxels by which frames are compared.
    """

    def __init__(
        self,
        channels: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        max_frames: int = 256,
        voxel_size: float = 0.1,
    ) -> None:
        if max_frames < 1:
            raise ValueError(f"max_frames: expected at least 1, got {max_frames}")
        self.max_frames, self.voxel_size = max_frames, voxel_size
        self.cameras: Cameras | None = None
        self.stamps = torch.zeros(0, dtype=torch.int64, device=device)
        # With room for more, so that a frame costs the same however many there are. A latent stays where it was put: to
        # close the gaps of those that are forgotten would move nearly all.
        self._latents = torch.zeros(0, channels, 0, 0, dtype=dtype, device=device)  # (R, C, h, w)
        self._slots: list[int] = []  # of the frames among them
        self._surface = torch.zeros(0, 0, 0, device=device)  # (R, h, w), in the frames' order

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def latents(self) -> Tensor:
        """(C, F, h, w), a copy of the latents of all frames."""
        return self._latents_of(range(len(self)))

    def _latents_of(self, frames: Iterable[int]) -> Tensor:
        return self._latents[[self._slots[frame] for frame in frames]].movedim(0, 1)

    @property
    def surface(self) -> Tensor:
        """(F, h, w) float32, the depth of the surface that each saw, +inf where it saw none."""
        return self._surface[: len(self)]

    @property
    def nbytes(self) -> int:
        """Every allocated byte, room for more frames included."""
        kept = [self._latents, self._surface, self.stamps]
        if self.cameras is not None:
            kept += [self.cameras.intrinsics, self.cameras.cam2world]
        return sum(t.numel() * t.element_size() for t in kept)

    def add(self, latent: Tensor, camera: Cameras, surface: Tensor, stamp: int, xyz: Tensor) -> None:
        """Remember a frame: its latent (C, h, w), its camera over (h, w), the depth (h, w) of the surface it saw (+inf
        elsewhere) and its stamp. ``xyz`` (N, 3) is what there is to see, by which frames are forgotten."""
        if self.cameras is None:
            self.cameras = camera[:0]
        elif camera.size != self.cameras.size:
            raise ValueError(f"latents: expected a grid of {self.cameras.size} like earlier frames, got {camera.size}")
        at = len(self)
        if at == len(self._latents):
            self._grow(camera.size)
        slot = min(set(range(len(self._latents))).difference(self._slots))
        self._latents[slot], self._surface[at] = latent, surface
        self.cameras = Cameras.cat([self.cameras, camera])
        self.stamps = torch.cat([self.stamps, self.stamps.new_tensor([stamp])])
        self._slots.append(slot)
        if len(self) > self.max_frames:
            self._forget(xyz)

    def _grow(self, grid: tuple[int, int]) -> None:
        count = len(self)  # all slots are taken
        room = min(max(FIRST_ROOM, int(count * GROWTH)), self.max_frames + 1)
        latents = self._latents.new_empty(room, self._latents.shape[1], *grid)
        surface = self._surface.new_empty(room, *grid)
        if count:
            latents[:count], surface[:count] = self._latents, self._surface
        self._latents, self._surface = latents, surface

    def _forget(self, xyz: Tensor) -> None:
        """Give up, one after the other, the frame that sees the fewest voxels which no other sees; of equals the
        oldest."""
        assert self.cameras is not None
        groups, count = group_voxels(xyz, self.voxel_size)
        words = visible(xyz, self.cameras, groups=groups, num_groups=count)
        flags = words.view(torch.uint8)[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=words.device) & 1
        seen = flags.flatten(1).view(torch.bool)
        times = flags.flatten(1).sum(0, dtype=torch.int32)
        alone = seen[:, times == 1].sum(1)
        left = torch.ones(len(self), dtype=torch.bool, device=words.device)
        for _ in range(len(self) - self.max_frames + self.max_frames // ROOM_MADE):
            first = torch.where(left, alone, torch.iinfo(torch.int64).max).argmin()
            left[first] = False
            alone = alone + seen[:, seen[first] & (times == 2)].sum(1)  # which one other is left to see
            times = times - seen[first].int()
        kept = left.nonzero().squeeze(1)
        self.cameras, self.stamps = self.cameras[kept], self.stamps[kept]
        self._slots = [self._slots[frame] for frame in kept.tolist()]
        self._surface[: len(kept)] = self._surface[kept]

    def retrieve(
        self, cameras: Cameras, xyz: Tensor, *, k: int = 4, threshold: float = 0.1, before: int | None = None
    ) -> References:
        """The frames that see most of what target views see.

        A frame's score is the intersection over union of the voxels inside its view with those inside any of the target
        views; what hides what is not looked at.

        Args:
            cameras: the target views.
            xyz: (N, 3), what there is to see.
            k: how many frames at most.
            threshold: the least score.
            before: only frames with a smaller stamp.

        Returns:
            The best first; of equals the older.
        """
        if self.cameras is None:
            grid = cameras[:0]
            latents = self._latents.new_zeros(self._latents.shape[1], 0, *cameras.size)
            return References(latents, grid, self.stamps, self._surface.new_zeros(0))
        groups, count = group_voxels(xyz, self.voxel_size)
        words = visible(xyz, Cameras.cat([self.cameras, cameras.rescale(self.cameras.size)]), groups=groups,
                        num_groups=count)  # fmt: skip
        target = words.new_zeros(1, words.shape[1])
        for view in words[len(self) :]:
            target |= view
        scores = overlap(target, words[: len(self)])[0]
        asked = torch.ones_like(self.stamps, dtype=torch.bool) if before is None else self.stamps < before
        best = torch.where(asked, scores, -1.0).sort(descending=True, stable=True).indices[:k]
        best = best[(scores[best] >= threshold) & asked[best]]
        return References(self._latents_of(best.tolist()), self.cameras[best], self.stamps[best], scores[best])

    def saw(self, xyz: Tensor, footprint: Tensor, tolerance: float) -> Tensor:
        """(N,) bool: points (N, 3) that lie on a surface some frame saw, within a share ``tolerance`` of its depth, and
        from no farther, to the same tolerance, than their ``footprint`` (N,) tells."""
        if self.cameras is None or len(xyz) == 0:
            return torch.zeros_like(footprint, dtype=torch.bool)
        uv, z, inside = self.cameras.project(xyz)
        column, row = torch.where(inside[..., None], uv, 0).long().unbind(-1)
        surface = self.surface.flatten(1).gather(1, row * self.surface.shape[2] + column)  # (F, N)
        near = z / self.cameras.intrinsics[:, 0, 0, None] <= (1 + tolerance) * footprint
        return (inside & near & ((surface - z).abs() <= tolerance * z)).any(0)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is kept, latents (C, F, h, w)."""
        if self.cameras is None:
            return {}
        return {
            "intrinsics": self.cameras.intrinsics,
            "cam2world": self.cameras.cam2world,
            "latents": self.latents.contiguous(),
            "surface": self.surface.contiguous(),
            "stamps": self.stamps,
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Replace every frame by those of :meth:`tensors`.

        Raises:
            ValueError: they do not fit together.
        """
        if not tensors:
            return
        surface, latents, stamps = tensors["surface"], tensors["latents"], tensors["stamps"]
        count, h, w = surface.shape
        cameras = Cameras(tensors["intrinsics"], tensors["cam2world"], (h, w))
        expected = (self._latents.shape[1], count, h, w)
        if latents.shape != expected or latents.dtype != self._latents.dtype:
            raise ValueError(f"latents: expected {self._latents.dtype} {expected}, got {tuple(latents.shape)}")
        if stamps.shape != (count,) or stamps.dtype != torch.int64 or len(cameras) != count:
            raise ValueError(f"stamps: expected as many as frames ({count})")
        self.cameras, self.stamps = cameras, stamps
        self._latents, self._surface = latents.movedim(1, 0).contiguous(), surface.contiguous()
        self._slots = list(range(count))
