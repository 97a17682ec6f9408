# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Past latent frames with their cameras and depth, retrieved by the overlap of their views."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras, check, group_voxels, overlap, splat, visible

from ..geometry.grids import flat_index
from .view_rule import occludes

EVICTION_DIVISOR = 16  # a full history evicts max_frames // EVICTION_DIVISOR frames at once, besides the excess
INITIAL_CAPACITY, GROWTH = 16, 1.5  # frames


class References(NamedTuple):
    """Past latent frames whose views overlap with target views, in descending order of overlap.

    Attributes:
        latents: (C, R, h, w) in the memory's dtype.
        cameras: R cameras over (h, w).
        stamps: (R,) int64.
        scores: (R,) float32, intersection over union of the voxels in view, 0 to 1.
    """

    latents: Tensor
    cameras: Cameras
    stamps: Tensor
    scores: Tensor


class History:
    """A bounded set of past latent frames, all over the same grid.

    When the history is full, frames whose voxels are also in view of other frames are evicted first.

    Args:
        channels: channels C of the latents.
        dtype: dtype of the latents.
        device: device of all tensors.
        max_frames: maximum number of frames, at least 1.
        voxel_size: size in world units of the voxels by which views are compared.
        origin: (x, y, z) in world units: the origin of the points that methods take.

    Attributes:
        cameras: F cameras over the grid (h, w), in world coordinates; None before the first frame.
        stamps: (F,) int64.
    """

    def __init__(
        self,
        channels: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        max_frames: int = 256,
        voxel_size: float = 0.1,
        origin: Sequence[float] = (0.0, 0.0, 0.0),
    ) -> None:
        if max_frames < 1:
            raise ValueError(f"max_frames: expected at least 1, got {max_frames}")
        self.max_frames, self.voxel_size = max_frames, voxel_size
        if not isinstance(origin, (tuple, list)) or len(origin) != 3:
            raise check.value_error("origin", "(x, y, z)", repr(origin))
        x, y, z = (check.number(f"origin[{axis}]", value, -1e30, 1e30) for axis, value in enumerate(origin))
        self.origin: tuple[float, float, float] = (x, y, z)
        self.cameras: Cameras | None = None
        self.stamps = torch.zeros(0, dtype=torch.int64, device=device)
        # Both tensors have spare capacity, so that adding a frame takes constant time. Latents keep their slot when
        # other frames are evicted, because closing the gaps would move nearly all of them.
        self._latents = torch.zeros(0, channels, 0, 0, dtype=dtype, device=device)  # (capacity, C, h, w)
        self._slots: list[int] = []  # slot of each frame in _latents
        self._surface = torch.zeros(0, 0, 0, device=device)  # (capacity, h, w), in the order of frames

    def __len__(self) -> int:
        """Return the number F of frames."""
        return len(self.stamps)

    def to_local(self, cameras: Cameras) -> Cameras:
        """Convert cameras from world coordinates to those of the points: relative to ``origin``."""
        x, y, z = self.origin
        return cameras if x == y == z == 0 else cameras.translate((-x, -y, -z))

    @property
    def latents(self) -> Tensor:
        """(C, F, h, w), a copy of the latents of all frames."""
        return self._latents_of(range(len(self)))

    def latent(self, frame: int) -> Tensor:
        """Return the latent (C, h, w) of one frame; negative numbers count from the last."""
        return self._latents[self._slots[frame]]

    def _latents_of(self, frames: Iterable[int]) -> Tensor:
        return self._latents[[self._slots[frame] for frame in frames]].movedim(0, 1)

    @property
    def surface(self) -> Tensor:
        """(F, h, w) float32, depth of the surface that each frame observed; +inf where it observed none."""
        return self._surface[: len(self)]

    @property
    def nbytes(self) -> int:
        """Allocated bytes, including spare capacity."""
        kept = [self._latents, self._surface, self.stamps]
        if self.cameras is not None:
            kept += [self.cameras.intrinsics, self.cameras.cam2world]
        return sum(t.numel() * t.element_size() for t in kept)

    def add(self, latent: Tensor, camera: Cameras, surface: Tensor, stamp: int, xyz: Tensor) -> None:
        """Add a frame. If the history is full, evict frames.

        Args:
            latent: (C, h, w).
            camera: one camera over (h, w).
            surface: (h, w) float32, depth of the surface that the frame observed; +inf where it observed none.
            stamp: number of the frame.
            xyz: (N, 3) float32, points of the memory, which decide what frames are evicted.

        Raises:
            ValueError: the grid differs from that of earlier frames.
        """
        if self.cameras is None:
            self.cameras = camera[:0]
        elif camera.size != self.cameras.size:
            raise ValueError(f"latents: expected a grid of {self.cameras.size} like earlier frames, got {camera.size}")
        index = len(self)
        if index == len(self._latents):
            self._grow(camera.size)
        slot = min(set(range(len(self._latents))).difference(self._slots))
        self._latents[slot], self._surface[index] = latent, surface
        _clear_non_finite(self._latents[slot])
        self.cameras = Cameras.cat([self.cameras, camera])
        self.stamps = torch.cat([self.stamps, self.stamps.new_tensor([stamp])])
        self._slots.append(slot)
        if len(self) > self.max_frames:
            self._evict(xyz)

    def _grow(self, grid: tuple[int, int]) -> None:
        count = len(self)  # all slots are in use
        capacity = min(max(INITIAL_CAPACITY, int(count * GROWTH)), self.max_frames + 1)
        latents = self._latents.new_empty(capacity, self._latents.shape[1], *grid)
        surface = self._surface.new_empty(capacity, *grid)
        if count:
            latents[:count], surface[:count] = self._latents, self._surface
        self._latents, self._surface = latents, surface

    def _evict(self, xyz: Tensor) -> None:
        """Evict frames one at a time, each time the one with the fewest voxels that no other frame has in view.

        Ties: the oldest frame is evicted.
        """
        assert self.cameras is not None
        groups, count = group_voxels(xyz, self.voxel_size)
        words = visible(xyz, self.to_local(self.cameras), groups=groups, num_groups=count)
        flags = words.view(torch.uint8)[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=words.device) & 1
        in_view = flags.flatten(1).view(torch.bool)  # (F, voxels)
        views = flags.flatten(1).sum(0, dtype=torch.int32)  # (voxels,), number of frames that have a voxel in view
        unique = in_view[:, views == 1].sum(1)  # (F,), voxels that only this frame has in view
        is_kept = torch.ones(len(self), dtype=torch.bool, device=words.device)
        for _ in range(len(self) - self.max_frames + self.max_frames // EVICTION_DIVISOR):
            evicted = torch.where(is_kept, unique, torch.iinfo(torch.int64).max).argmin()
            is_kept[evicted] = False
            unique = unique + in_view[:, in_view[evicted] & (views == 2)].sum(1)
            views = views - in_view[evicted].int()
        kept = is_kept.nonzero().squeeze(1)
        self.cameras, self.stamps = self.cameras[kept], self.stamps[kept]
        self._slots = [self._slots[frame] for frame in kept.tolist()]
        self._surface[: len(kept)] = self._surface[kept]

    def retrieve(
        self, cameras: Cameras, xyz: Tensor, *, k: int = 4, threshold: float = 0.1, before: int | None = None
    ) -> References:
        """Retrieve the frames whose views overlap most with target views.

        The score of a frame is the intersection over union of two sets of voxels: those inside its view, and those
        inside any of the target views. Occlusion is ignored.

        Args:
            cameras: target views, over a grid of any size.
            xyz: (N, 3) float32, points of the memory; their voxels are compared.
            k: maximum number of frames.
            threshold: minimum score, 0 to 1.
            before: only frames with a smaller stamp are considered; None considers all.

        Returns:
            The frames in descending order of score; ties: the older frame first.
        """
        if self.cameras is None:
            latents = self._latents.new_zeros(self._latents.shape[1], 0, *cameras.size)
            return References(latents, cameras[:0], self.stamps, self._surface.new_zeros(0))
        groups, count = group_voxels(xyz, self.voxel_size)
        all_cameras = self.to_local(Cameras.cat([self.cameras, cameras.rescale(self.cameras.size)]))
        words = visible(xyz, all_cameras, groups=groups, num_groups=count)
        target = words.new_zeros(1, words.shape[1])
        for view in words[len(self) :]:
            target |= view
        scores = overlap(target, words[: len(self)])[0]
        is_candidate = torch.ones_like(self.stamps, dtype=torch.bool) if before is None else self.stamps < before
        best = torch.where(is_candidate, scores, -1.0).sort(descending=True, stable=True).indices[:k]
        best = best[(scores[best] >= threshold) & is_candidate[best]]
        return References(self._latents_of(best.tolist()), self.cameras[best], self.stamps[best], scores[best])

    def was_observed(self, xyz: Tensor, footprint: Tensor, tolerance: float) -> Tensor:
        """Test which points lie on a surface that some frame observed from about as near.

        Args:
            xyz: (N, 3) float32 points in world units.
            footprint: (N,) float32 footprints of the points in world units.
            tolerance: maximum relative difference of the point's and the surface's depth; the frame's footprint may be
                larger than the point's by the same fraction.

        Returns:
            (N,) bool.
        """
        if self.cameras is None or len(xyz) == 0:
            return torch.zeros_like(footprint, dtype=torch.bool)
        uv, z, inside = self.to_local(self.cameras).project(xyz)
        surface = self.surface.flatten(1).gather(1, flat_index(uv, inside, self.surface.shape[2]))  # (F, N)
        near = z / self.cameras.intrinsics[:, 0, 0, None] <= (1 + tolerance) * footprint
        return (inside & near & ((surface - z).abs() <= tolerance * z)).any(0)

    def find_occluders(self, xyz: Tensor, extent: Tensor, candidates: Tensor) -> Tensor:
        """Find the points that would occlude an observed surface in the view of the frame that observed it.

        Args:
            xyz: (N, 3) float32 points in world units.
            extent: (N,) float32, half the side of the squares that points are rendered as, in world units.
            candidates: (N,) bool, the points to test.

        Returns:
            (N,) bool, the candidates that occlude a surface.
        """
        occluding = torch.zeros_like(candidates)
        if self.cameras is None:
            return occluding
        features, cameras = self._latents.new_zeros(len(xyz), 0), self.to_local(self.cameras)
        while True:  # an occluder may be in front of another one
            rendered = splat(xyz, features, cameras, valid=candidates & ~occluding, extent=extent)
            in_front = occludes(rendered, self.surface)
            if not in_front.any():
                return occluding
            occluding[rendered.index[in_front]] = True

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as named tensors; empty if there are no frames."""
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
        """Replace the state.

        Args:
            tensors: as returned by :meth:`tensors`.

        Raises:
            ValueError: shapes or dtypes do not match.
        """
        if not tensors:
            return
        surface, latents, stamps = tensors["surface"], tensors["latents"], tensors["stamps"]
        count, h, w = surface.shape
        cameras = Cameras(tensors["intrinsics"], tensors["cam2world"], (h, w))
        expected = (self._latents.shape[1], count, h, w)
        if latents.shape != expected or latents.dtype != self._latents.dtype:
            got = f"{latents.dtype} {tuple(latents.shape)}"
            raise ValueError(f"latents: expected {self._latents.dtype} {expected}, got {got}")
        if len(cameras) != count:
            raise ValueError(f"intrinsics: expected F={count} cameras, got {len(cameras)}")
        if stamps.shape != (count,) or stamps.dtype != torch.int64:
            raise ValueError(f"stamps: expected int64 (F={count},), got {stamps.dtype} {tuple(stamps.shape)}")
        self.cameras, self.stamps = cameras, stamps
        self._latents, self._surface = latents.movedim(1, 0).contiguous(), surface.contiguous()
        self._slots = list(range(count))


def _clear_non_finite(latent: Tensor) -> None:
    """Set the values of a latent (C, h, w) that are not finite to 0, in place."""
    # On a CPU, a sum takes a small part of the time of nan_to_num. On a GPU, it would wait for the device.
    if not latent.is_cpu or not math.isfinite(latent.sum().item()):
        latent.nan_to_num_(0.0, 0.0, 0.0)
