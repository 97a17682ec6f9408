# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The operations that a memory runs for a frame or a view, on latents of a chunk.

The map is a cache of the first half of the chunk's cells; the view is that of its last camera, or of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

import mirage_kernels as mk
from benchmarks import scenes
from benchmarks.sizes import CHANNELS, Video
from benchmarks.timing import DEVICE, Case
from mirage_kernels import Cameras, Splat, VoxelCache, associate, blend_cells, cell_offsets, quantize, unproject
from mirage_kernels.testing import assert_same, same_bits, to_device


class Frames(NamedTuple):
    """A chunk, and a map of its first half."""

    latents: Tensor  # (T, C, h, w)
    grid: Cameras  # T cameras over the cells
    cells: Any  # Points of all cells
    cache: VoxelCache


@cache
def frames(scene: str, video: Video) -> Frames:
    depth, latents, cameras = (to_device(x, DEVICE) for x in scenes.chunk(scene, video))
    cells = unproject(depth, latents, cameras)
    known = VoxelCache("auto", CHANNELS, dtype=latents.dtype, device=DEVICE, extent_scale=0.65, auto_scale=1 / 16)
    known.insert(cells.xyz, cells.features, cells.footprint, valid=cells.valid & _first_half(cells.valid))
    return Frames(latents, cameras.rescale((latents.shape[2], latents.shape[3])), cells, known)


def _first_half(flags: Tensor) -> Tensor:
    return torch.arange(len(flags), device=flags.device) < len(flags) // 2


def check_same(run: Callable[[], Any]) -> Callable[[Any], None]:
    def check(result: Any) -> None:
        with mk.use_backend("reference"):
            expected = run()
        if isinstance(result, Tensor):
            assert same_bits(result.cpu(), expected.cpu())
        else:
            assert_same(to_device(result, "cpu"), to_device(expected, "cpu"))

    return check


def associate_frame(scene: str, video: Video) -> Case:
    """Compare the cells of the last frame with the map and with the surfaces of all frames before it."""
    f = frames(scene, video)
    size, camera = video.grid[0] * video.grid[1], f.grid[-1]
    own = [part[-size:] for part in f.cells]
    rendered = f.cache.splat_surface(camera)
    depth = camera.project(own[0])[1][0]
    past = f.cache.splat(f.grid[:-1], features=False).depth

    def run() -> Tensor:
        return associate(
            *(own[0], depth, own[3], rendered, f.cache.footprint),
            valid=own[2],
            past=past,
            past_cameras=f.grid[:-1],
        )

    facts = {"points": size, "bytes": size * (12 + 4 + 4 + 1 + 4 + 8 + 1)}
    return Case("associate", scene, f"a frame of {video.height}x{video.width}", run, check_same(run), facts=facts)


def read_surface(scene: str, video: Video) -> Case:
    """Render the map as a surface into all cameras, without features."""
    f = frames(scene, video)

    def run() -> Splat:
        return f.cache.splat_surface(f.grid)

    facts = {"rows": len(f.cache), "views": video.latents, "bytes": 16 * len(f.cache) + 12 * video.cells}
    return Case("surface", scene, video.name, run, check_same(run), facts=facts)


def blend_view(scene: str, video: Video) -> Case:
    """Compute where points lie in their cells, and resample the features of all views."""
    f = frames(scene, video)
    view = f.cache.splat_surface(f.grid)
    features = f.cache.feature_maps(view.index)

    def run() -> Tensor:
        return blend_cells(features, cell_offsets(f.cache.xyz, view.index, f.grid), view.depth)

    nbytes = 2 * features.nbytes + video.cells * (8 + 12 + 4)
    return Case("blend", scene, video.name, run, check_same(run), facts={"views": video.latents, "bytes": nbytes})


def quantize_latents(scene: str, video: Video) -> Case:
    """Store the latents of a chunk in 8 bits."""
    rows = frames(scene, video).latents.flatten(0, 1).flatten(1)

    def run() -> mk.Quantized:
        return quantize(rows)

    return Case(
        "quantize", scene, video.name, run, check_same(run), facts={"bytes": rows.nbytes + rows.numel() + 4 * len(rows)}
    )
