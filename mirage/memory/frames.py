# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Latent frames of the memory: the past ones, and checks and unprojection of new ones and of settings in files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from mirage_kernels import Cameras, Points, Storage, check, pool_depth, unproject
from mirage_kernels.compat.placement import Placement, resample_depth

from ..geometry.grids import nearest_around, unproject_depth, valid_depth
from .past_latents import STEPS, PastLatent

MAX_FRAMES = 1 << 20  # of the history, in a file
UnprojectedFrame: TypeAlias = tuple[Points, Tensor, Tensor]  # points, valid, depth


class Frames(NamedTuple):
    """One version of a history. A change makes another version and leaves this one as it is.

    Attributes:
        cameras: F cameras over the grid (h, w); None before the first frame.
        stamps: (F,) int64.
        names: an ascending number of each frame, which no later frame gets again.
        latents: of the frames.
        surface: (capacity, h, w), in the order of the frames.
    """

    cameras: Cameras | None
    stamps: Tensor
    names: tuple[int, ...]
    latents: tuple[PastLatent, ...]
    surface: Tensor


class NewFrame(NamedTuple):
    """A frame that is written to a memory.

    Attributes:
        latent: (C, h, w) in the dtype of the cache.
        camera: one camera over (h, w), in the world.
        local: the camera where the points lie.
        unprojected: its cells, if it has depth.
        mask: (H, W) bool of pixels or (h, w) bool of cells, True where nothing must be written.
        stamp: number of the frame.
        past: the latent for the history; None if that keeps no frames.
    """

    latent: Tensor
    camera: Cameras
    local: Cameras
    unprojected: UnprojectedFrame | None
    mask: Tensor | None
    stamp: int
    past: PastLatent | None


def check_codec(codec: Any) -> str:
    """Check the name of a codec and return it.

    Raises:
        ValueError: it is no text, longer than 200 characters, or has characters that cannot be printed.
    """
    if not isinstance(codec, str) or len(codec) > 200 or not codec.isprintable():
        raise check.value_error("codec", "a name of at most 200 characters", repr(codec)[:60])
    return codec


_MASK_DTYPES = (torch.bool, torch.uint8, torch.float32, torch.float64, torch.bfloat16, torch.float16)


def check_frames(
    channels: int,
    like: Tensor,
    latents: Tensor,
    cameras: Cameras,
    depth: Tensor | None,
    mask: Tensor | None,
    stamps: Sequence[int] | None,
    history_latents: Tensor | None,
) -> None:
    """Check the arguments of :meth:`mirage.memory.LatentSpatialMemory.write`.

    Args:
        channels: channels C of the memory.
        like: a tensor of the memory, on its device.

    Raises:
        TypeError: an argument has the wrong type or dtype.
        ValueError: shapes do not match.
    """
    if not isinstance(cameras, Cameras):
        raise check.type_error("cameras", "Cameras", cameras)
    dims: check.Dims = {"C": channels, "T": len(cameras)}
    on_device = ("the memory", like)
    check.tensor("latents", latents, ("C", "T", "h", "w"), dims, check.FEATURE_DTYPES, on_device)
    count, h, w = latents.shape[1:]
    check.size("latents' grid", (h, w))
    if depth is not None:
        check.tensor("depth", depth, ("T", "H", "W"), dims, like=on_device)
    shapes = [(count, h, w)] if depth is None else [tuple(depth.shape), (count, h, w)]
    if mask is not None:
        check.tensor("mask", mask, ("T", "rows", "columns"), {"T": count}, _MASK_DTYPES, on_device)
        if tuple(mask.shape) not in shapes:
            raise ValueError(f"mask: expected {' or '.join(map(str, shapes))}, got {tuple(mask.shape)}")
    if stamps is not None:
        try:
            given = len(stamps)
        except TypeError:
            raise check.type_error("stamps", "a sequence of integers", stamps) from None
        if given != count:
            raise ValueError(f"stamps: expected T={count} numbers, got {given}")
    if history_latents is None:
        return
    check.tensor("history_latents", history_latents, ("C", "T", "h", "w"), {}, check.FEATURE_DTYPES)
    if history_latents.shape != latents.shape:
        expected = f"{tuple(latents.shape)} like latents"
        raise ValueError(f"history_latents: expected {expected}, got {tuple(history_latents.shape)}")


def check_settings(settings: Any) -> dict[str, Any]:
    """Check the settings of a file that are not its cache's.

    Args:
        settings: as :meth:`LatentSpatialMemory.save` wrote them.

    Returns:
        ``max_frames``, ``codec``, and what older files do not have: ``origin``, ``placement``, ``history_storage`` and
        ``reference_voxel_size``.

    Raises:
        KeyError, TypeError, ValueError: one is missing or of another kind.
    """
    if not isinstance(settings, dict):
        raise check.type_error("settings", "an object", settings)
    max_frames = check.integer("max_frames", settings["max_frames"], 0, MAX_FRAMES)
    codec = check_codec(settings["codec"])
    defaults = {
        "origin": (0.0, 0.0, 0.0), "placement": "exact", "history_storage": None, "reference_voxel_size": 0.1,
    }  # fmt: skip
    later = {name: settings.get(name, default) for name, default in defaults.items()}
    return {"max_frames": max_frames, "codec": codec, **later}


def frames_of(tensors: dict[str, Tensor], channels: int, dtype: torch.dtype, storage: Storage | None) -> Frames:
    """Make a history's frames of tensors, which are copied.

    Args:
        tensors: as :meth:`mirage.memory.history.History.tensors` returns them, of one frame or more.
        channels: channels C of the history.
        dtype: dtype of its latents.
        storage: how it stores them.

    Raises:
        ValueError: shapes or dtypes do not match.
    """
    surface, latents, stamps = tensors["surface"], tensors["latents"], tensors["stamps"]
    dims: check.Dims = {"C": channels}
    check.tensor("surface", surface, ("F", "h", "w"), dims)
    check.tensor("latents", latents, ("C", "F", "h", "w"), dims, (torch.int8 if storage else dtype,))
    check.tensor("stamps", stamps, ("F",), dims, (torch.int64,))
    for name, shape in (("intrinsics", ("F", 3, 3)), ("cam2world", ("F", 4, 4))):
        check.tensor(name, tensors[name], shape, dims)
    cameras = Cameras.from_tensors({**tensors, "size": surface.shape[1:]})
    valid = [("surface", "depths above 0 or infinity", surface, surface > 0),
             ("latents", "finite numbers", latents, latents.isfinite())]  # fmt: skip
    scales = None
    if storage is not None:
        scales = tensors["scales"]
        check.tensor("scales", scales, ("F", "C"), dims)
        most = torch.finfo(dtype).max / STEPS * 1.001
        valid += [("scales", f"0 to {most:g}", scales, (scales >= 0) & (scales <= most)),
                  ("latents", f"at least -{STEPS}", latents, latents >= -STEPS)]  # fmt: skip
    for name, expected, values, good in valid:
        if not bool(good.all()):
            raise check.value_error(name, expected, f"{values[~good][0].item():g}")
    stored = tuple(
        PastLatent(
            latents[:, f].clone(memory_format=torch.contiguous_format), None if scales is None else scales[f].clone()
        )
        for f in range(len(stamps))
    )
    surface = surface.clone(memory_format=torch.contiguous_format)
    return Frames(cameras, stamps.clone(), tuple(range(len(stamps))), stored, surface)


def unproject_frames(
    latents: Tensor, cameras: Cameras, depth: Tensor, mask: Tensor | None, placement: Placement
) -> list[UnprojectedFrame]:
    """Unproject the cells of latent frames.

    Args:
        latents: (C, T, h, w).
        cameras: T cameras over (h, w), where the points lie.
        depth: (T, H, W) float32 z-depth in world units; not finite or not positive where invalid.
        mask: (T, H, W) bool of pixels or (T, h, w) bool of cells, True where nothing must be written; None masks
            nothing.
        placement: "exact" for the median depth of a cell, "release" for depth that is resampled bilinearly.

    Returns:
        Of each frame: the h * w points; (h, w) bool, whether each cell is valid; (h, w) float32, its depth, +inf where
        it is not.
    """
    pixels = None if mask is None or mask.shape != depth.shape else mask
    depths = depth.contiguous()
    if placement == "release":
        depths, pixels = resample_depth(depths, pixels, cameras.size)
    size, count = (depths.shape[1], depths.shape[2]), len(depths)
    points = unproject(depths, latents.movedim(1, 0), cameras.rescale(size), mask=pixels)
    valid = points.valid.reshape(count, *cameras.size)
    if mask is not None and pixels is None:  # of cells
        valid = valid & ~mask
    frames = [Points(*cells) for cells in zip(*(tensor.chunk(count) for tensor in points), strict=True)]
    z = cameras.project(points.xyz.reshape(count, -1, 3))[1].reshape(valid.shape)
    valid = valid & (z > 0)  # far from the origin, a tiny depth is rounded to nothing
    return list(zip(frames, valid, torch.where(valid, z, torch.inf), strict=True))


def nearest_depth(depth: Tensor, camera: Cameras, grid: tuple[int, int]) -> Tensor:
    """Return the minimum depth in the 3x3 cells around each cell of a depth map.

    Args:
        depth: (H, W) float32 z-depth in world units; not finite or not positive where invalid.
        camera: one camera over (H, W).
        grid: (h, w) of the cells.

    Returns:
        (1, h, w) float32; +inf in cells in which less than half of the pixels have valid depth.
    """
    invalid = ~valid_depth(depth)[None]
    covered = pool_depth(torch.ones_like(depth)[None], grid, mask=invalid, max_masked=0.5).isfinite()
    points = unproject_depth(depth[None], camera, grid, pooling="min")
    z = torch.where(points.valid, camera.project(points.xyz)[1][0], torch.inf).reshape(1, *grid)
    return torch.where(covered, nearest_around(z), torch.inf)
