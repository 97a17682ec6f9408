# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Past latent frames with their cameras and depth, retrieved by the overlap of their views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from mirage_kernels import Cameras, Storage, check, keep_sets, overlap, splat
from mirage_kernels.compat.placement import OFFSETS, PLACEMENTS, Placement

from ..errors import DataError
from .frames import MAX_FRAMES, Frames, frames_of
from .inference import outside_inference_mode
from .locks import Locked, OwnLock, locked
from .past_latents import PastLatent, read_latents, store_latents
from .seen_voxels import SeenVoxels
from .view_rule import occludes

_SETTINGS = ("max_frames", "voxel_size", "origin", "placement", "storage")
_NEWER = ("placement", "storage")  # earlier pickles have none of them
EVICTION_DIVISOR = 16  # a full history evicts max_frames // EVICTION_DIVISOR frames at once, besides the excess
MORE_FRAMES = 16  # that the surfaces grow by: they are a small part of a frame, and copying all of them takes little


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
        storage: ``"int8"`` stores latents in 8 bits with one scale for each channel of a frame, None in ``dtype``.

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
        storage: Storage | None = None,
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
        self.storage: Storage | None = None if storage is None else check.choice("storage", storage, get_args(Storage))
        self.lock_owner: Locked = OwnLock()
        self._like = torch.zeros(0, channels, dtype=dtype, device=device)
        self._next_name = 0
        # The surface has spare capacity, so that few frames copy it.
        self.version = Frames(
            None,
            torch.zeros(0, dtype=torch.int64, device=device),
            (),
            (),
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
        return self._latents_of([frame])[:, 0]

    def _latents_of(self, frames: Iterable[int]) -> Tensor:
        latents = self.version.latents
        like = self._like[:, :, None, None].expand(0, -1, *self._surface.shape[1:])
        return read_latents([latents[frame] for frame in frames], like)

    @property
    @locked
    def surface(self) -> Tensor:
        """(F, h, w) float32, depth of the surface that each frame observed; +inf where none. A view of the state."""
        return self._surface[: len(self)]

    @property
    def settings(self) -> dict[str, Any]:
        """JSON values for files."""
        settings = {"max_frames": self.max_frames, "origin": list(self.origin), "placement": self.placement}
        return {**settings, "history_storage": self.storage, "reference_voxel_size": self.voxel_size}

    @property
    def nbytes(self) -> int:
        """Allocated bytes, including spare capacity."""
        kept = [self._surface, self.version.stamps]
        if self.cameras is not None:
            kept += self.cameras.matrices().values()
        return sum(t.nbytes for t in kept) + sum(latent.nbytes for latent in self.version.latents)

    @locked
    @outside_inference_mode
    def add(
        self,
        latent: Tensor | PastLatent,
        camera: Cameras,
        surface: Tensor,
        stamp: int,
        xyz: Tensor,
        seen: SeenVoxels | None = None,
    ) -> None:
        """Add a frame. If the history is full, evict frames.

        Args:
            latent: (C, h, w), or one of those that :meth:`stored` returns.
            camera: one camera over (h, w).
            surface: (h, w) float32, depth of the surface that the frame observed; +inf where it observed none.
            stamp: number of the frame.
            xyz: (N, 3) float32, points of the memory, which decide what frames are evicted.
            seen: the voxels of these points that frames have in view, as far as they are known.

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
        past = latent if isinstance(latent, PastLatent) else self.stored(latent[:, None])[0]
        surfaces = frames.surface if count < len(frames.surface) else self._grown_surface(camera.size)
        surfaces[count] = surface  # the present version does not use it
        version = Frames(
            camera if frames.cameras is None else Cameras.cat([frames.cameras, camera]),
            torch.cat([frames.stamps, frames.stamps.new_tensor([stamp])]),
            (*frames.names, self._next_name),
            (*frames.latents, past),
            surfaces,
        )
        self._next_name += 1
        self.version = version if count < self.max_frames else self._evicted(version, xyz, seen)

    @outside_inference_mode
    def stored(self, latents: Tensor) -> list[PastLatent]:
        """Return latents (C, T, h, w) as the history stores them, for :meth:`add`."""
        return store_latents(latents, self._like.dtype, self.storage)

    def check_grid(self, grid: tuple[int, int]) -> None:
        """Raise ValueError if the grid (h, w) of a frame differs from that of earlier frames."""
        cameras = self.version.cameras
        if cameras is not None and grid != cameras.size:
            raise ValueError(f"latents: expected a grid of {cameras.size} like earlier frames, got {grid}")

    def _grown_surface(self, grid: tuple[int, int]) -> Tensor:
        """Return a copy of the surfaces with room for more frames."""
        known = self.version.surface  # all of it is in use
        capacity = min(len(known) + MORE_FRAMES, self.max_frames + 1)
        surface = known.new_empty(capacity, *grid)
        if len(known):
            surface[: len(known)] = known
        return surface

    def _evicted(self, frames: Frames, xyz: Tensor, seen: SeenVoxels | None) -> Frames:
        """Evict frames one at a time, each time the one with the fewest voxels that no other frame has in view; ties:
        the oldest one."""
        bits = self._seen_by(frames, xyz, seen or self._nothing_seen(xyz))
        kept = keep_sets(bits, self.max_frames - self.max_frames // EVICTION_DIVISOR)
        assert frames.cameras is not None
        surface = torch.empty_like(frames.surface)
        torch.index_select(frames.surface, 0, kept, out=surface[: len(kept)])
        numbers = kept.tolist()
        names, latents = (tuple(values[n] for n in numbers) for values in (frames.names, frames.latents))
        return Frames(frames.cameras[kept], frames.stamps[kept], names, latents, surface)

    def _nothing_seen(self, xyz: Tensor) -> SeenVoxels:
        return SeenVoxels(self.voxel_size, xyz.device)

    def _seen_by(self, frames: Frames, xyz: Tensor, seen: SeenVoxels) -> Tensor:
        assert frames.cameras is not None
        return seen.update(xyz, self.to_local(frames.cameras), frames.names)

    @locked
    def retrieve(
        self,
        cameras: Cameras,
        xyz: Tensor,
        *,
        k: int = 4,
        threshold: float = 0.1,
        before: int | None = None,
        seen: SeenVoxels | None = None,
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
            seen: as for :meth:`add`.

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
            latents = self._like[:, :, None, None].expand(0, -1, *cameras.size).movedim(0, 1)
            return References(latents, cameras[:0], self.stamps, self._surface.new_zeros(0))
        seen = seen or self._nothing_seen(xyz)
        past = self._seen_by(self.version, xyz, seen)
        scores = overlap(seen.in_view(xyz, self.to_local(cameras.rescale(self.cameras.size))), past)[0]
        is_candidate = torch.ones_like(self.stamps, dtype=torch.bool) if before is None else self.stamps < before
        best = torch.where(is_candidate, scores, -1.0).sort(descending=True, stable=True).indices[:k]
        best = best[(scores[best] >= threshold) & is_candidate[best]]
        return References(self._latents_of(best.tolist()), self.cameras[best], self.stamps[best], scores[best])

    @locked
    def observed(self) -> tuple[Tensor, Cameras] | tuple[None, None]:
        """Return the surfaces that the frames observed, (F, h, w), with F cameras where the points lie; None before the
        first frame."""
        if self.cameras is None:
            return None, None
        return self.surface, self.to_local(self.cameras)

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
        features, cameras = xyz.new_zeros(len(xyz), 0), self.to_local(self.cameras)
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
            "latents": torch.stack([latent.values for latent in self.version.latents], 1),
            "surface": self.surface.contiguous(),
            "stamps": self.stamps,
            **self.scales(),
        }

    def scales(self) -> dict[str, Tensor]:
        """Return ``"scales"`` (F, C) float32 with storage "int8", else nothing."""
        scales = [latent.scales for latent in self.version.latents if latent.scales is not None]
        return {"scales": torch.stack(scales)} if scales else {}

    @locked
    def __getstate__(self) -> dict[str, Any]:
        tensors = {name: tensor.clone() for name, tensor in self.tensors().items()}
        # The empty tensor tells channels, dtype and device.
        return {"tensors": tensors, "empty": self._like.clone()} | {name: getattr(self, name) for name in _SETTINGS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "empty" not in state:
            raise DataError("history: expected a pickle of this version, got another one")
        empty: Tensor = state["empty"]
        settings = {name: state[name] for name in _SETTINGS if name in state or name not in _NEWER}
        History.__init__(self, empty.shape[1], dtype=empty.dtype, device=empty.device, **settings)
        self.load(state["tensors"])

    @locked
    @outside_inference_mode
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Replace the state.

        Args:
            tensors: as returned by :meth:`tensors`.

        Raises:
            ValueError: shapes or dtypes do not match, or there are more than ``max_frames`` frames.
        """
        if not tensors:
            return
        version = frames_of(tensors, self._like.shape[1], self._like.dtype, self.storage)
        if len(version.names) > self.max_frames:
            expected = f"at least {len(version.names)}, the number of frames"
            raise check.value_error("max_frames", expected, self.max_frames)
        self.version = version
        self._next_name = len(self.version.names)

    def rename(self, names: Sequence[int]) -> None:
        """Give the F frames the names that they had in another history, no name twice."""
        self.version = self.version._replace(names=tuple(names))
        self._next_name = max(names, default=-1) + 1
