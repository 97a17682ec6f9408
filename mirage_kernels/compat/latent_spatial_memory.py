# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for LatentSpatialMemory (microsoft/LatentSpatialMemory, package ``mirage``).

Two lines, after which its pipeline runs unchanged::

    import mirage.inference.mirage_pipeline as pipeline
    from mirage_kernels.compat import latent_spatial_memory

    latent_spatial_memory.patch(pipeline)

**Faster**: views of a chunk (one call for all of them), retrieval of reference latents (bit sets that are kept, instead
of Python sets that are made again), and updates (no copy of the whole cloud).

**Placement**. ``placement="release"``, the default, places points as the released code does, so that a released adapter
is shown what it was trained on: depth is resampled to the latent grid bilinearly, across edges and holes; the point of
cell (i, j) lies on the ray through its corner (j, i) instead of its center, half a cell off; projections are rounded,
which is the same half cell. ``placement="exact"`` places points at the centers of cells, at the median of their valid
depths, with pixel centers at +0.5, as the rest of :mod:`mirage_kernels` does.

**Differs**: the nearest point of a cell wins always, and ties go to the lower index; the original sorts, scatters and
leaves repeated indices to PyTorch, so that farther points show, another set in every run. Points that are not finite
are skipped. Rounding is ``floor(u + 0.5)``: exact halves go up, not to the even number. Points and features that are
not valid are zeros. Files are read without pickled objects. ``from_image_path`` is not here: it needs models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mirage_kernels import Cameras, Points, Splat, atomic_write, check, splat, unproject

from ._arrays import as_tensor, cameras_of, intrinsics_matrix, scale_intrinsics
from ._modes import without_gradients
from ._seen_voxels import VoxelNumbers
from .latent_retrieval import frames_of, select_reference_latents, update_frame_visibility
from .placement import OFFSETS, PLACEMENTS, Placement, resample_depth

__all__ = [
    "LatentPointCloud",
    "patch",
    "project_lpc_sequence",
    "select_reference_latents",
    "update_frame_visibility",
]

_GROWTH = 1.5


class LatentPointCloud:
    """A point cloud that only grows, with a latent feature vector per point.

    Args:
        points_world: (N, 3) float32, world units.
        features: (N, C) float32.
        valid_mask: (N,) bool; points that are False are not rendered.
        intrinsics_latent: (3, 3) float32, intrinsics of the latent grid.
        latent_hw: (h, w) of the latent grid.
        placement: where points and projections lie in a cell; see the module.

    Example:
        >>> import torch
        >>> from mirage_kernels.compat.latent_spatial_memory import LatentPointCloud
        >>> intrinsics = torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]])
        >>> depth, latent = torch.full((96, 128), 2.0), torch.randn(4, 1, 6, 8)
        >>> cloud = LatentPointCloud.from_geometry(depth, intrinsics, torch.eye(4), latent)
        >>> image, mask = cloud.project(torch.eye(4))
        >>> torch.equal(image, latent[:, 0]), bool(mask.all())
        (True, True)
    """

    def __init__(
        self,
        points_world: Tensor,
        features: Tensor,
        valid_mask: Tensor,
        intrinsics_latent: Tensor,
        latent_hw: tuple[int, int],
        *,
        placement: Placement = "release",
    ) -> None:
        dims: check.Dims = {}
        check.tensor("points_world", points_world, ("N", 3), dims)
        like = ("points_world", points_world)
        check.tensor("features", features, ("N", "C"), dims, check.FEATURE_DTYPES, like)
        check.tensor("valid_mask", valid_mask, ("N",), dims, (torch.bool,), like)
        self.placement = check.choice("placement", placement, PLACEMENTS)
        self.latent_hw = check.size("latent_hw", latent_hw)
        self.intrinsics_latent = as_tensor("intrinsics_latent", intrinsics_latent, (3, 3), {}, points_world.device)
        self._rows = (points_world, features, valid_mask)
        self._count = len(points_world)
        self._numbers: dict[float, VoxelNumbers] = {}

    @property
    def points_world(self) -> Tensor:
        """(N, 3) float32, world units."""
        return self._rows[0][: self._count]

    @property
    def features(self) -> Tensor:
        """(N, C), latents."""
        return self._rows[1][: self._count]

    @property
    def valid_mask(self) -> Tensor:
        """(N,) bool."""
        return self._rows[2][: self._count]

    def __len__(self) -> int:
        return self._count

    def __copy__(self) -> LatentPointCloud:
        """Return a cloud with rows of its own, which grows on its own."""
        other = type(self).__new__(type(self))
        other.__dict__ |= self.__dict__ | {"intrinsics_latent": self.intrinsics_latent.clone(), "_numbers": {}}
        other._rows = (self.points_world.clone(), self.features.clone(), self.valid_mask.clone())
        return other

    @classmethod
    def from_geometry(
        cls,
        depth: Any,
        intrinsics: Any,
        cam2world: Any,
        latent: Tensor,
        mask: Any = None,
        device: torch.device | str | None = None,
        *,
        placement: Placement = "release",
    ) -> LatentPointCloud:
        """Build a cloud from one frame.

        Args:
            depth: (H, W), z-depth in world units; not positive where there is none.
            intrinsics: (3, 3), of the depth map.
            cam2world: (4, 4), OpenCV axes.
            latent: (C, 1, h, w), converted to float32. Gradients flow from views to it, but not to the latents of
                :meth:`update`.
            mask: (H, W), above 0 at pixels to exclude.
            device: device of the cloud; by default a GPU if there is one.
            placement: see the module.

        Raises:
            TypeError, ValueError: an argument has another type or shape.
        """
        default = "cuda" if torch.cuda.is_available() else "cpu"
        where = check.device("device", default if device is None else device)
        dims: check.Dims = {}
        latents = as_tensor("latent", latent, ("C", 1, "h", "w"), dims, where)
        depths = as_tensor("depth", depth, ("H", "W"), dims, where)[None]
        masks = None if mask is None else as_tensor("mask", mask, ("H", "W"), dims, where)[None]
        k = as_tensor("intrinsics", intrinsics, (3, 3), {}, where)
        placement = check.choice("placement", placement, PLACEMENTS)
        points = _lift(depths, k, cam2world, latents[:, 0][None], masks, placement)
        grid = (dims["h"], dims["w"])
        scaled = scale_intrinsics(k, depths.shape[1:], grid)
        return cls(points.xyz, points.features, points.valid, scaled, grid, placement=placement)

    @classmethod
    def from_video_geometry(
        cls,
        geometry: Any,
        frame_idx: int,
        latent: Tensor,
        mask: Any = None,
        device: torch.device | str | None = None,
        *,
        placement: Placement = "release",
    ) -> LatentPointCloud:
        """Build a cloud from frame ``frame_idx`` of an object with ``depths``, ``intrinsics`` and ``poses_c2w``."""
        return cls.from_geometry(
            geometry.depths[frame_idx],
            geometry.intrinsics[frame_idx],
            geometry.poses_c2w[frame_idx],
            latent,
            mask,
            device,
            placement=placement,
        )

    @without_gradients
    def update(self, depths: Any, intrinsics: Any, cam2worlds: Any, latents: Tensor, masks: Any = None) -> None:
        """Append the valid cells of T frames, or of one frame without the dimension T.

        Args:
            depths: (T, H, W), z-depth in world units; not positive where there is none.
            intrinsics: (T, 3, 3), of the depth maps, or (3, 3) for all; also as rows ``fx, fy, cx, cy``.
            cam2worlds: (T, 4, 4).
            latents: (T, C, h, w).
            masks: (T, H, W), above 0 at pixels to exclude.

        Raises:
            TypeError, ValueError: an argument has another type or shape.
        """
        where, dims = self.points_world.device, {"C": self.features.shape[1]}
        latents = as_tensor("latents", _batched(latents, 3), ("T", "C", "h", "w"), dims, where, self.features.dtype)
        depths = as_tensor("depths", _batched(depths, 2), ("T", "H", "W"), dims, where)
        if masks is not None:
            masks = as_tensor("masks", _batched(masks, 2), ("T", "H", "W"), dims, where)
        points = _lift(depths, intrinsics, cam2worlds, latents, masks, self.placement)
        self._append(points)

    def _append(self, points: Points) -> None:
        kept = points.valid.nonzero().squeeze(1)
        needed = self._count + len(kept)
        rows = self._rows
        with torch.inference_mode(False), torch.no_grad():  # the rows may be appended to outside of it
            if needed > len(rows[0]) or any(part.is_inference() for part in rows):
                capacity = max(needed, int(_GROWTH * self._count))
                rows = tuple(part.new_empty(capacity, *part.shape[1:]) for part in rows)  # type: ignore[assignment]
                for part, before in zip(rows, self._rows, strict=True):
                    part[: self._count] = before[: self._count]
            for part, new in zip(rows, points[:3], strict=True):
                torch.index_select(new, 0, kept, out=part[self._count : needed])
        self._rows, self._count = rows, needed

    def project(self, cam2world: Any, intrinsics: Any = None) -> tuple[Tensor, Tensor]:
        """Render the cloud into one view.

        Args:
            cam2world: (4, 4).
            intrinsics: (3, 3) of the latent grid; by default those of the cloud.

        Returns:
            The features (C, h, w), zeros in holes, and the mask (h, w) bool, False in holes.

        Raises:
            TypeError, ValueError: an argument has another type or shape.
        """
        view = self.splat(cam2world, intrinsics)
        if len(view.mask) != 1:
            raise check.value_error("cam2world", "(4, 4); project_views renders several", (len(view.mask), 4, 4))
        return view.features[0], view.mask[0]

    def project_views(self, cam2worlds: Any, intrinsics: Any = None) -> tuple[Tensor, Tensor]:
        """Render V views in one call: features (V, C, h, w) and mask (V, h, w).

        Args:
            cam2worlds: (V, 4, 4).
            intrinsics: (V, 3, 3) or (3, 3), of the latent grid; by default those of the cloud.
        """
        view = self.splat(cam2worlds, intrinsics)
        return view.features, view.mask

    def splat(self, cam2worlds: Any, intrinsics: Any = None) -> Splat:
        """Render V views, with the depth and the index of the point of every cell: see :func:`mirage_kernels.splat`."""
        cameras = self.cameras(cam2worlds, intrinsics)
        return splat(self.points_world, self.features, cameras, valid=self.valid_mask)

    def cameras(self, cam2worlds: Any, intrinsics: Any = None) -> Cameras:
        """The cameras of V views, as the cloud's placement projects."""
        k = self.intrinsics_latent if intrinsics is None else intrinsics
        offset = OFFSETS[self.placement]
        device = self.points_world.device
        return cameras_of(k, cam2worlds, self.latent_hw, device, inverse=False, offset=offset, name="cam2world")

    def save(self, path: str | Path) -> None:
        """Save the cloud to a file that the original reads as well. The file is replaced as a whole."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = {"points_world": self.points_world, "features": self.features, "valid_mask": self.valid_mask}
        rows = {name: tensor.clone() for name, tensor in rows.items()}  # without the capacity for more rows
        settings = {"latent_hw": self.latent_hw, "placement": self.placement}
        with atomic_write(path) as partial:
            torch.save(rows | settings | {"intrinsics_latent": self.intrinsics_latent}, partial)

    @classmethod
    def from_file(cls, path: str | Path, map_location: torch.device | str | None = None) -> LatentPointCloud:
        """Load a cloud that this class or the original has saved. Only tensors and numbers are read, no objects.

        Raises:
            OSError: the file is missing or cannot be read.
            ValueError: the file is not such a cloud; the message names it.
        """
        names = ("points_world", "features", "valid_mask", "intrinsics_latent", "latent_hw")
        try:
            data = torch.load(path, map_location=map_location, weights_only=True)
            if not isinstance(data, dict) or not set(names) <= set(data):
                raise check.value_error("content", ", ".join(names), type(data).__name__)
            return cls(*(data[name] for name in names), placement=data.get("placement", "release"))
        except (OSError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # torch.load raises many kinds for files that are damaged, or something else
            kind = type(error).__name__
            reason = "damaged, or with objects" if kind == "UnpicklingError" else check.one_line(error) or kind
            raise check.value_error("path", "a file of a LatentPointCloud", f"{path} ({reason})") from error

    def voxel_numbers(self, voxel_size: float) -> VoxelNumbers:
        """The voxels of the points, numbered for :func:`select_reference_latents`."""
        numbers = self._numbers.setdefault(voxel_size, VoxelNumbers(voxel_size, self.points_world.device))
        numbers.extend(self.points_world, self.valid_mask)
        return numbers


def _batched(value: Any, dims: int) -> Any:
    return value[None] if getattr(value, "ndim", None) == dims else value


def _lift(
    depths: Tensor, intrinsics: Any, cam2worlds: Any, latents: Tensor, masks: Tensor | None, placement: Placement
) -> Points:
    """Unproject the cells of T frames with one of the placements; arguments as those of ``update``."""
    (_, height, width), (_, _, h, w) = depths.shape, latents.shape
    size, grid = (height, width), (h, w)
    excluded = None if masks is None else masks > 0
    if placement == "exact":
        cameras = cameras_of(intrinsics, cam2worlds, size, depths.device, inverse=False, name="cam2worlds")
        return unproject(depths, latents, cameras, mask=excluded)
    depths, excluded = resample_depth(depths, excluded, grid)
    k = intrinsics_matrix(intrinsics, len(depths), depths.device, offset=0.0)
    k = scale_intrinsics(k, size, grid)
    half = OFFSETS["release"]
    cameras = cameras_of(k, cam2worlds, grid, depths.device, inverse=False, offset=half, name="cam2worlds")
    return unproject(depths, latents, cameras, mask=excluded, pooling="nearest")


def project_lpc_sequence(*, lpc: LatentPointCloud, geometry: Any, frame_indices: Sequence[int]) -> Tensor:
    """Render the views of frames of a geometry in one call: (C, T, h, w)."""
    intrinsics, poses = frames_of(lpc, geometry, frame_indices)
    return lpc.project_views(poses, intrinsics)[0].movedim(0, 1)


def patch(pipeline: Any) -> None:
    """Replace the class and functions of a pipeline's module by those of this module.

    Args:
        pipeline: the module ``mirage.inference.mirage_pipeline`` of LatentSpatialMemory.

    Raises:
        ValueError: it has no such names.
    """
    stand_ins = (LatentPointCloud, project_lpc_sequence, select_reference_latents, update_frame_visibility)
    for stand_in in stand_ins:
        if not hasattr(pipeline, stand_in.__name__):
            raise check.value_error("pipeline", f"a module with {stand_in.__name__}", pipeline)
    for stand_in in stand_ins:
        setattr(pipeline, stand_in.__name__, stand_in)
