# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Past latent frames with their cameras and depth, retrieved by the overlap of their views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mirage_kernels import Cameras, check, group_voxels, overlap, splat, visible
from mirage_kernels.compat.placement import OFFSETS, PLACEMENTS, Placement

from ..errors import DataError
from ..geometry.grids import flat_index
from .frames import MAX_FRAMES, Frames, clear_non_finite, frames_of
from .inference import outside_inference_mode
from .locks import Locked, OwnLock, locked
from .view_rule import occludes

_SETTINGS = ("max_frames", "voxel_size", "origin", "placement")
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

    When the history is full, frames whose voxels are also in view of other frames are evicted first. Every change is
    atomic: on an error or an interrupt the history is unchanged.

    Args:
        channels: channels C of the latents.
        dtype: dtype of the latents.
        device: device of all tensors.
        max_frames: maximum number of frames; 0 keeps none.
        voxel_size: size in world units of the voxels by which views are compared.
        origin: (x, y, z) in world units: the origin of the points that methods take.
        placement: where in its cell a point lies; see :class:`mirage.memory.LatentSpatialMemory`.

    Raises:
        TypeError, ValueError: an argument has the wrong type, or is not finite or out of range.

    Attributes:
        lock_owner: has the lock that the methods hold; the history of a memory has that of the memory.
        version: the frames. Assign an earlier one to return to it.
    """

    @outside_inference_mode
    def __init__(
        self,
        channels: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        max_frames: int = 256,
        voxel_size: float = 0.1,
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        placement: Placement = "exact",
    ) -> None:
        channels, dtype = check.integer("channels", channels, 0), check.dtype("dtype", dtype)
        device = check.device("device", device)
        self.max_frames = check.integer("max_frames", max_frames, 0, MAX_FRAMES)
        self.voxel_size = check.positive("voxel_size", voxel_size)
        if not isinstance(origin, (tuple, list)) or len(origin) != 3:
            raise check.value_error("origin", "(x, y, z)", repr(origin))
        x, y, z = (check.number(f"origin[{axis}]", value, -1e30, 1e30) for axis, value in enumerate(origin))
        self.origin: tuple[float, float, float] = (x, y, z)
        self.placement = check.choice("placement", placement, PLACEMENTS)
        if self.placement == "release" and self.max_frames == 0:  # the grid of the frames is that of the history
            raise check.value_error("max_frames", 'at least 1 with placement="release"', 0)
        self.lock_owner: Locked = OwnLock()
        # Latents and surface have spare capacity, so that adding a frame takes constant time.
        self.version = Frames(
            None,
            torch.zeros(0, dtype=torch.int64, device=device),
            [],
            torch.zeros(0, channels, 0, 0, dtype=dtype, device=device),
            torch.zeros(0, 0, 0, dtype=torch.float32, device=device),
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _SETTINGS and name in self.__dict__:  # a file with other ones than the constructor takes is not read
            raise AttributeError(f"{name} of a History cannot change: pass it to the constructor")
        super().__setattr__(name, value)

    @property
    def lock(self) -> Any:
        """The ``threading.RLock`` that every method holds. Hold it to call several methods on one version."""
        return self.lock_owner.lock

    @property
    @locked
    def cameras(self) -> Cameras | None:
        """F cameras over the grid (h, w); None before the first frame."""
        return self.version.cameras

    @property
    @locked
    def stamps(self) -> Tensor:
        """(F,) int64; a copy."""
        return self.version.stamps.clone()

    @property
    def _latents(self) -> Tensor:
        return self.version.latents

    @property
    def _slots(self) -> list[int]:
        return self.version.slots

    @property
    def _surface(self) -> Tensor:
        return self.version.surface

    def __len__(self) -> int:
        """Return the number F of frames."""
        return len(self.version.stamps)

    def to_local(self, cameras: Cameras) -> Cameras:
        """Convert cameras from the world to where the points lie: relative to ``origin``, and with
        ``placement="release"`` half a latent cell off, in a grid of any size."""
        x, y, z = self.origin
        local = cameras if x == y == z == 0 else cameras.translate((-x, -y, -z))
        if self.placement == "exact":
            return local
        height, width = cameras.size if self.version.cameras is None else self.version.cameras.size
        down, right = (OFFSETS[self.placement] * a / b for a, b in zip(cameras.size, (height, width), strict=True))
        return local.crop(-down, -right, cameras.size)

    @property
    @locked
    def latents(self) -> Tensor:
        """(C, F, h, w), a copy of the latents of all frames."""
        return self._latents_of(range(len(self)))

    @locked
    def latent(self, frame: int) -> Tensor:
        """Return a copy of the latent (C, h, w) of one frame; negative numbers count from the last."""
        return self._latents[self._slots[frame]].clone()

    def _latents_of(self, frames: Iterable[int]) -> Tensor:
        return self._latents[[self._slots[frame] for frame in frames]].movedim(0, 1)

    @property
    @locked
    def surface(self) -> Tensor:
        """(F, h, w) float32, depth of the surface that each frame observed; +inf where none. A view of the state."""
        return self._surface[: len(self)]

    @property
    def settings(self) -> dict[str, Any]:
        """JSON values for files."""
        return {"max_frames": self.max_frames, "origin": list(self.origin), "placement": self.placement}

    @property
    def nbytes(self) -> int:
        """Allocated bytes, including spare capacity."""
        kept = [self._latents, self._surface, self.stamps]
        if self.cameras is not None:
            kept += [self.cameras.intrinsics, self.cameras.cam2world]
        return sum(t.numel() * t.element_size() for t in kept)

    @locked
    @outside_inference_mode
    def add(self, latent: Tensor, camera: Cameras, surface: Tensor, stamp: int, xyz: Tensor) -> None:
        """Add a frame. If the history is full, evict frames.

        Args:
            latent: (C, h, w).
            camera: one camera over (h, w).
            surface: (h, w) float32, depth of the surface that the frame observed; +inf where it observed none.
            stamp: number of the frame.
            xyz: (N, 3) float32, points of the memory, which decide what frames are evicted.

        Raises:
            TypeError, ValueError: the stamp is not an integer of 64 bits, or the grid differs from that of earlier
                frames.
        """
        stamp = check.integer("stamp", stamp, -(1 << 63))
        if self.max_frames == 0:
            return
        self.check_grid(camera.size)
        frames = self.version
        count = len(frames.stamps)
        latents, surfaces = frames.latents, frames.surface
        if count == len(latents):
            latents, surfaces = self._grown(camera.size)
        slot = min(set(range(len(latents))).difference(frames.slots))
        latents[slot], surfaces[count] = latent, surface  # the present version uses neither
        clear_non_finite(latents[slot])
        version = Frames(
            camera if frames.cameras is None else Cameras.cat([frames.cameras, camera]),
            torch.cat([frames.stamps, frames.stamps.new_tensor([stamp])]),
            [*frames.slots, slot],
            latents,
            surfaces,
        )
        self.version = version if count < self.max_frames else self._evicted(version, xyz)

    def check_grid(self, grid: tuple[int, int]) -> None:
        """Raise ValueError if the grid (h, w) of a frame differs from that of earlier frames."""
        cameras = self.version.cameras
        if cameras is not None and grid != cameras.size:
            raise ValueError(f"latents: expected a grid of {cameras.size} like earlier frames, got {grid}")

    def _grown(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return copies of the latents and surfaces with room for more frames."""
        frames = self.version
        count = len(frames.stamps)  # all slots are in use
        capacity = min(max(INITIAL_CAPACITY, int(count * GROWTH)), self.max_frames + 1)
        latents = frames.latents.new_empty(capacity, frames.latents.shape[1], *grid)
        surface = frames.surface.new_empty(capacity, *grid)
        if count:
            latents[:count], surface[:count] = frames.latents, frames.surface
        return latents, surface

    def _evicted(self, frames: Frames, xyz: Tensor) -> Frames:
        """Evict frames one at a time, each time the one with the fewest voxels that no other frame has in view.

        Ties: the oldest frame is evicted.
        """
        assert frames.cameras is not None
        groups, count = group_voxels(xyz, self.voxel_size)
        words = visible(xyz, self.to_local(frames.cameras), groups=groups, num_groups=count)
        flags = words.view(torch.uint8)[:, :, None] >> torch.arange(8, dtype=torch.uint8, device=words.device) & 1
        in_view = flags.flatten(1).view(torch.bool)  # (F, voxels)
        views = flags.flatten(1).sum(0, dtype=torch.int32)  # (voxels,), number of frames that have a voxel in view
        unique = in_view[:, views == 1].sum(1)  # (F,), voxels that only this frame has in view
        is_kept = torch.ones(len(in_view), dtype=torch.bool, device=words.device)
        for _ in range(len(in_view) - self.max_frames + self.max_frames // EVICTION_DIVISOR):
            evicted = torch.where(is_kept, unique, torch.iinfo(torch.int64).max).argmin()
            is_kept[evicted] = False
            unique = unique + in_view[:, in_view[evicted] & (views == 2)].sum(1)
            views = views - in_view[evicted].int()
        kept = is_kept.nonzero().squeeze(1)
        surface = torch.empty_like(frames.surface)
        surface[: len(kept)] = frames.surface[kept]
        slots = [frames.slots[frame] for frame in kept.tolist()]
        return Frames(frames.cameras[kept], frames.stamps[kept], slots, frames.latents, surface)

    @locked
    def retrieve(
        self, cameras: Cameras, xyz: Tensor, *, k: int = 4, threshold: float = 0.1, before: int | None = None
    ) -> References:
        """Retrieve the frames whose views overlap most with target views.

        The score of a frame is the intersection over union of two sets of voxels: those inside its view, and those
        inside any of the target views. Occlusion is ignored.

        Args:
            cameras: target views, over a grid of any size.
            xyz: (N, 3) float32, points of the memory; their voxels are compared.
            k: maximum number of frames, at least 0.
            threshold: minimum score, 0 to 1.
            before: only frames with a smaller stamp are considered; None considers all.

        Returns:
            The frames in descending order of score; ties: the older frame first.

        Raises:
            TypeError, ValueError: an argument has the wrong type, or is not finite or out of range.
        """
        if not isinstance(cameras, Cameras):
            raise check.type_error("cameras", "Cameras", cameras)
        k, threshold = check.integer("k", k, 0), check.number("threshold", threshold, 0, 1)
        if before is not None:
            before = check.integer("before", before, -(1 << 63))
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

    @locked
    def was_observed(self, xyz: Tensor, footprint: Tensor, tolerance: float) -> Tensor:
        """Test which points lie on a surface that some frame observed from about as near.

        Args:
            xyz: (N, 3) float32 points in world units.
            footprint: (N,) float32 footprints of the points in world units.
            tolerance: maximum relative difference of the point's and the surface's depth; the frame's footprint may be
                larger than the point's by the same fraction.

        Returns:
            (N,) bool.

        Raises:
            TypeError, ValueError: the tolerance is not a finite number of at least 0.
        """
        tolerance = check.number("tolerance", tolerance, 0)
        if self.cameras is None or len(xyz) == 0:
            return torch.zeros_like(footprint, dtype=torch.bool)
        uv, z, inside = self.to_local(self.cameras).project(xyz)
        surface = self.surface.flatten(1).gather(1, flat_index(uv, inside, self.surface.shape[2]))  # (F, N)
        near = z / self.cameras.intrinsics[:, 0, 0, None] <= (1 + tolerance) * footprint
        return (inside & near & ((surface - z).abs() <= tolerance * z)).any(0)

    @locked
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

    @locked
    def tensors(self) -> dict[str, Tensor]:
        """Return the state as named tensors; empty if there are no frames."""
        if self.cameras is None:
            return {}
        return {
            **self.cameras.matrices(),
            "latents": self.latents.contiguous(),
            "surface": self.surface.contiguous(),
            "stamps": self.stamps,
        }

    @locked
    def __getstate__(self) -> dict[str, Any]:
        tensors = {name: tensor.clone() for name, tensor in self.tensors().items()}
        empty = self._latents.new_empty(0, self._latents.shape[1])  # tells channels, dtype and device
        return {"tensors": tensors, "empty": empty} | {name: getattr(self, name) for name in _SETTINGS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "empty" not in state:
            raise DataError("history: expected a pickle of this version, got another one")
        empty: Tensor = state["empty"]
        settings = {name: state[name] for name in _SETTINGS if name in state or name != "placement"}  # it is newer
        History.__init__(self, empty.shape[1], dtype=empty.dtype, device=empty.device, **settings)
        self.load(state["tensors"])

    @locked
    @outside_inference_mode
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Replace the state.

        Args:
            tensors: as returned by :meth:`tensors`.

        Raises:
            ValueError: shapes or dtypes do not match.
        """
        if not tensors:
            return
        self.version = frames_of(tensors, self._latents.shape[1], self._latents.dtype)
