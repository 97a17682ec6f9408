# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The latent spatial memory: a model's latents, stored at the 3D points that they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from mirage_kernels import Cameras, Storage, VoxelCache, check, load_tensors, save_tensors
from mirage_kernels.compat.placement import Placement

from ..errors import DataError
from .frame_writing import FrameWriting
from .frames import (
    NewFrame,
    UnprojectedFrame,
    check_codec,
    check_frames,
    check_settings,
    nearest_depth,
    unproject_frames,
)
from .history import History, References
from .locks import locked
from .past_latents import PastLatent
from .row_layers import RowLayers
from .seen_voxels import SeenVoxels
from .view import MemoryView, make_view
from .view_rule import SAME_SURFACE

# Voxel size in median footprints. With larger voxels, closer cells replace the rows of coarser ones and leave gaps.
VOXEL_SCALE = 1 / 16
KIND, VERSION = "memory", 2  # of the files


class LatentSpatialMemory(FrameWriting):
    """A persistent map of latent cells at 3D points that can be rendered from any camera.

    Frames are written by the view rule (:mod:`mirage.memory.view_rule`): a cell is stored only where the memory does
    not render its surface yet, so that frames that revisit a place add little. Each stored cell is a row of a
    :class:`mirage_kernels.VoxelCache`, whose voxels are so small that they only merge observations of the same point.

    Args:
        channels: channels C of the latents.
        dtype: dtype in which latents are stored: float32, bfloat16 or float16.
        device: device of all tensors.
        storage: ``"int8"`` quantizes latents to a quarter of the size of float32.
        extent_scale: half-size of the square that a row is rendered as, in footprints of the row. Values slightly above
            0.5 close the gaps between neighboring cells; 0 renders points.
        max_bytes: memory budget of the rows in bytes, None for no limit; the oldest rows are evicted first.
        max_frames: maximum number of past latent frames in :attr:`history`; 0 keeps none, and nothing is retrieved.
        codec: name of the codec that made the latents, such as ``"dct-16"``; saved in files.
        origin: (x, y, z) in world units, of the coordinates of the rows: for a scene far from the world's origin, such
            as one in UTM coordinates, a point in it. Points more than about 65,000 footprints away are rejected.
        placement: "exact", or "release" to store points where the released code of LatentSpatialMemory does: half a
            latent cell off, at depth that is resampled bilinearly. For adapters that were trained on its renderings. It
            needs ``max_frames`` of at least 1; see :mod:`mirage_kernels.compat.latent_spatial_memory`.
        history_storage: ``"int8"`` stores the latents that :meth:`retrieve` returns in 8 bits, with one scale for each
            channel of a frame: they are off by at most 1/254 of the channel's largest magnitude. None stores them in
            ``dtype``.
        reference_voxel_size: size in world units of the voxels by which :meth:`retrieve` compares views.

    Threads may share a memory: methods wait for each other, but for a compiled :meth:`read`. On a GPU, threads that use
    different streams have to synchronize them.

    Attributes:
        cache: the rows, relative to ``origin`` as ``history.to_local(cameras)``; only the memory may change them.
        history: past latent frames, for :meth:`retrieve`.

    Example:
        Write one frame and read it back:

        >>> import torch
        >>> from mirage.memory import LatentSpatialMemory
        >>> from mirage_kernels import Cameras
        >>> camera = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
        >>> memory = LatentSpatialMemory(channels=4)
        >>> latents, depth = torch.ones(4, 1, 6, 8), torch.full((1, 96, 128), 2.0)
        >>> memory.write(latents, camera, depth)
        [48]
        >>> view = memory.read(camera.rescale((6, 8)))
        >>> torch.equal(view.latents, latents)
        True
        >>> memory.write(latents, camera, depth)  # nothing is new
        [0]
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
        origin: Sequence[float] = (0.0, 0.0, 0.0),
        placement: Placement = "exact",
        history_storage: Storage | None = "int8",
        reference_voxel_size: float = 0.1,
    ) -> None:
        self._codec = check_codec(codec)
        if history_storage is not None:
            check.choice("history_storage", history_storage, get_args(Storage))
        cache = VoxelCache(
            "auto",
            channels,
            dtype=dtype,
            device=device,
            storage=storage,
            extent_scale=extent_scale,
            max_bytes=max_bytes,
            auto_scale=VOXEL_SCALE,
        )
        self.history = History(
            channels,
            dtype=dtype,
            device=device,
            max_frames=max_frames,
            voxel_size=check.positive("reference_voxel_size", reference_voxel_size),
            origin=origin,
            placement=placement,
            storage=history_storage,
        )
        self._use(cache)
        self._layers = RowLayers(device)
        self._seen = SeenVoxels(self.history.voxel_size, device)

    @locked
    def read(
        self,
        cameras: Cameras,
        *,
        latents: bool = True,
        filled: bool = True,
        finer: bool = False,
        near: float = 1e-6,
        blend: bool = False,
        offsets: bool = False,
    ) -> MemoryView:
        """Render the memory.

        Rows are rendered as points first, then as squares where the points leave holes or lie behind a square.
        Superseded rows are rendered where the other rows leave holes or lie behind them. Rows whose depth was filled in
        from the background are rendered where all other rows leave holes. Reading does not change the memory.

        Args:
            cameras: T cameras over the grid (h, w) of the result; cameras over pixels are converted by
                ``cameras.rescale((h, w))``.
            latents: whether to gather the latents; without them ``view.latents`` has no channels.
            filled: whether to render rows whose depth was filled in.
            finer: whether the grid is finer than that of the latents. Squares that touch their neighbors are then
                rendered before the larger ones, instead of points, so that a place shows the row that covers it.
            near: world units, 1e-6 to 3e38; rows up to this depth are skipped. A row just in front of a camera covers
                the whole view.
            blend: whether latents are resampled at the centers of the cells (:func:`mirage_kernels.blend_cells`).
                Without it, a cell has the latent of one point, which lies up to half a cell away from its center.
            offsets: whether to return where in its cell the point of every cell lies.

        Returns:
            The view: latents (C, T, h, w), mask, depth, footprint, stamp and row (T, h, w), and with ``offsets``
            offset (2, T, h, w).

        Example:
            >>> camera = Cameras(torch.tensor([[4.0, 0, 4], [0, 4, 3], [0, 0, 1]]), torch.eye(4), (6, 8))
            >>> view = LatentSpatialMemory(channels=4).read(camera)
            >>> view.latents.shape, bool(view.mask.any()), view.depth[0, 0, 0].item()
            (torch.Size([4, 1, 6, 8]), False, inf)
        """
        local = self.history.to_local(cameras)
        rendered = self._render(local, filled=filled, finer=finer, near=near)
        band = SAME_SURFACE if blend else None
        return make_view(self.cache, rendered, local, latents=latents, offsets=offsets, band=band)

    @locked
    def retrieve(
        self, cameras: Cameras, *, k: int = 4, threshold: float = 0.1, before: int | None = None
    ) -> References:
        """Retrieve the past latent frames whose views overlap most with target views.

        Args:
            cameras: target views, over a grid of any size.
            k: maximum number of frames.
            threshold: minimum overlap, 0 to 1.
            before: only frames with a smaller stamp are considered; None considers all.

        Returns:
            The frames in descending order of overlap; see :meth:`mirage.memory.history.History.retrieve`.
        """
        xyz, seen = self.cache.xyz, self._seen
        return self.history.retrieve(cameras, xyz, k=k, threshold=threshold, before=before, seen=seen)

    def write(
        self,
        latents: Tensor,
        cameras: Cameras,
        depth: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        stamps: Sequence[int] | None = None,
        history_latents: Tensor | None = None,
        fill_depth: bool = False,
    ) -> list[int]:
        """Write T latent frames, one after the other: all of them, or none if that fails or is interrupted.

        With ``depth``, a cell is written where the memory renders nothing, a surface more than 5 % farther, or the same
        surface as seen from at least twice the distance. A surface that an earlier frame of the history has observed
        from about the same distance is written only where the memory renders nothing, or a surface more than 10 %
        farther.

        Without ``depth``, the frame is written at the depth that the memory renders, with holes filled by the
        background around them (:func:`mirage.geometry.hole_filling.fill_from_far_side`). Only cells in holes are
        written, and none that would occlude a surface in the view of an earlier frame that has observed it. Such cells
        are never rendered where a cell that was written with depth is, and they do not keep one from being written.

        Args:
            latents: (C, T, h, w) float32, bfloat16 or float16, on the memory's device. Cells with a value that is not
                finite in the memory's dtype are rejected.
            cameras: T cameras, over a grid of any size.
            depth: (T, H, W) float32 z-depth in world units; not finite or not positive where invalid.
            mask: (T, H, W) bool of pixels or (T, h, w) bool of cells, True where nothing must be written. Without
                ``depth`` it must be a mask of cells. It may also be uint8 or floating point, where whatever is not 0 is
                True.
            stamps: T numbers, such as frame numbers, stored with the points of each frame; 0 by default.
            history_latents: (C, T, h, w), latents to store in the history, and to return from :meth:`retrieve`, instead
                of ``latents``. Values that are not finite are stored as 0.
            fill_depth: with ``depth``, whether to write the cells that have none as well, in the way of a frame without
                depth. Masked cells are not written.

        Returns:
            The number of points that each frame added. Rejected cells are counted in :attr:`rejected`; the first ones
            give a warning.

        Raises:
            TypeError: an argument has the wrong type or dtype.
            ValueError: shapes do not match.

        Example:
            >>> camera = Cameras(torch.tensor([[64.0, 0, 64], [0, 64, 48], [0, 0, 1]]), torch.eye(4), (96, 128))
            >>> memory = LatentSpatialMemory(channels=4)
            >>> depth = torch.full((1, 96, 128), 2.0)
            >>> depth[:, :, :64] = 0  # the left half has no depth
            >>> memory.write(torch.ones(4, 1, 6, 8), camera, depth, stamps=[7])
            [24]
            >>> memory.write(torch.ones(4, 1, 6, 8), camera)  # fills the hole at the depth around it
            [24]
        """
        check_frames(self.channels, self.cache.xyz, latents, cameras, depth, mask, stamps, history_latents)
        count, h, w = latents.shape[1:]
        if mask is not None and mask.dtype is not torch.bool:
            mask = mask != 0
        self.history.check_grid((h, w))
        cells = cameras.rescale((h, w))
        local = self.history.to_local(cells)
        values = latents.detach().to(self.cache.dtype)  # and not how they were computed
        past: Sequence[PastLatent | None] = [None] * count
        if self.history.max_frames and count:
            past = self.history.stored((latents if history_latents is None else history_latents).detach())
        unprojected: Sequence[UnprojectedFrame | None] = [None] * count
        if depth is not None and count:
            unprojected = unproject_frames(values, local, depth.detach(), mask, self.history.placement)
        of_frames = [cells[t] for t in range(count)]
        local_of_frames = of_frames if local is cells else [local[t] for t in range(count)]
        frames = [
            NewFrame(
                values[:, t],
                of_frames[t],
                local_of_frames[t],
                unprojected[t],
                None if mask is None else mask[t],
                0 if stamps is None else stamps[t],
                past[t],
            )
            for t in range(count)
        ]
        return self.atomic(lambda: [self._write_frame(frame, fill_depth) for frame in frames])

    def carve(self, depth: Tensor, camera: Cameras, grid: tuple[int, int], tolerance: float = 2 * SAME_SURFACE) -> int:
        """Remove points that a depth map proves to be gone.

        A point is removed if the depth map shows only surfaces that are farther than the point by more than a fraction
        ``tolerance``, in the cell that contains the point and in the eight cells around it. Cells in which less than
        half of the pixels have valid depth prove nothing, because sensors often miss near and thin surfaces.

        Args:
            depth: (H, W) float32 z-depth in world units; not finite or not positive where invalid.
            camera: one camera over (H, W).
            grid: (h, w) of the cells in which points and depths are compared.
            tolerance: relative difference of depths.

        Returns:
            The number of points removed.
        """
        local = self.history.to_local(camera)
        nearest = nearest_depth(depth, local, grid)
        return self.atomic(lambda: self._carve(nearest, local.rescale(grid), tolerance))

    def _carve(self, depth: Tensor, camera: Cameras, tolerance: float) -> int:
        remap = self.cache.carve(depth, camera, tolerance)
        self._layers.remap(remap)
        self._seen.remap(remap)
        return len(remap) - len(self)

    @locked
    def save(self, path: str | Path) -> None:
        """Save the memory to a safetensors file.

        The file is replaced atomically: if writing fails, an existing file is unchanged.

        Args:
            path: the file.

        Raises:
            OSError: the file cannot be written.

        Example:
            >>> import tempfile
            >>> memory = LatentSpatialMemory(channels=4, codec="dct-16")
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     path = Path(folder) / "memory.safetensors"
            ...     memory.save(path)
            ...     LatentSpatialMemory.load(path).codec
            'dct-16'
        """
        save_tensors(path, self._tensors(), kind=KIND, version=VERSION, settings=self._settings())

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> LatentSpatialMemory:
        """Load a memory that was saved by :meth:`save`.

        Args:
            path: the file.
            device: device of the memory.

        Returns:
            The memory, with the settings it was saved with.

        Raises:
            TypeError, ValueError: ``device`` is not a device of this machine.
            DataError: the file is missing, damaged, or not a memory.
        """
        device = check.device("device", device)
        try:
            tensors, settings = load_tensors(path, kind=KIND, version=VERSION, device=device)
        except (ValueError, OSError) as error:
            raise DataError(str(error)) from None
        try:
            return cls._from_tensors(tensors, settings, device)
        except torch.OutOfMemoryError:
            raise
        except (KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:400]
            raise DataError(f"{path}: expected a memory, got a file that does not fit together ({reason})") from None

    @classmethod
    def _from_tensors(
        cls, tensors: dict[str, Tensor], settings: dict[str, Any], device: torch.device | str
    ) -> LatentSpatialMemory:
        notes = check_settings(settings)
        parts: dict[str, dict[str, Tensor]] = {"cache": {}, "history": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            if part in parts:
                parts[part][rest] = tensor
            elif name not in RowLayers.NAMES:
                raise ValueError(f"{name}: expected a tensor of a memory, got an unknown name")
        cache = VoxelCache.from_state_dict(settings["cache"], parts["cache"], device)
        memory = cls(cache.channels, dtype=cache.dtype, device=device, **notes)
        memory._use(cache)
        memory.history.load(parts["history"])
        memory._layers.load(tensors, len(cache))
        return memory
