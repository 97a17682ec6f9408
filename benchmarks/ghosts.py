# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A real cut-out that moves through a real recording, and what of it a memory remembers.

40 latent frames of hololens (every fourth frame of the recording, MIRAGE_DATA). The cow of spatia case_3, or a man of
the berlin photographs, is set into every frame with a depth of its own, hidden by what is nearer: it sways across the
picture and comes and goes, 0.9 to 1.5 m before the camera, with as much noise as the recording has (1 %).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as nnf

from benchmarks.scenes import recordings
from mirage.filters import Filters
from mirage.geometry.grids import cells_of
from mirage.io.files import read_image
from mirage.memory import LatentSpatialMemory
from mirage.recordings.hololens import read_rgbd
from mirage.rollout.write_back import MemoryWriter, WriteResult
from mirage_kernels import Cameras

SIZE, GRID, FRAMES = (352, 528), (44, 66), 40
NOISE = 0.01
SAME = 0.05


class CutOut(NamedTuple):
    """A picture (3, H, W) of a thing and where it is the thing (H, W) bool."""

    picture: Tensor
    mask: Tensor


class Haunted(NamedTuple):
    """T frames (3, T, H, W) with depth (T, H, W), cameras, and where the thing is (T, H, W) bool; the depth of the
    scene without it, (T, H, W)."""

    frames: Tensor
    depth: Tensor
    cameras: Cameras
    thing: Tensor
    scene: Tensor


class Outcome(NamedTuple):
    """What a memory holds after the walk.

    Attributes:
        ghosts: points that are of the thing.
        static: (T, h, w) bool, the cells of all views that read back as the scene's surface, within 5 %.
        refused: of the cells that show only the scene, those that filters put out.
        memory, written: as they came about.
    """

    ghosts: int
    static: Tensor
    refused: float
    memory: LatentSpatialMemory
    written: list[WriteResult]


def read_grey(path: Path) -> Tensor:
    """(H, W) uint8."""
    return torch.from_numpy(np.asarray(Image.open(path).convert("L")).copy())


def cow() -> CutOut:
    folder = recordings() / "spatia_trajectories" / "case_3"
    return _crop(read_image(folder / "img.jpg"), read_grey(folder / "mask.png") > 127, (480, 800, 180, 390))


def walker() -> CutOut:
    """The man with a rucksack in the second photograph."""
    folder = recordings() / "opensfm_berlin_outdoor"
    mask = read_grey(folder / "masks" / "02.jpg.png") < 128
    return _crop(read_image(folder / "images" / "02.jpg"), mask, (960, 1140, 1900, 2360))


def _crop(picture: Tensor, mask: Tensor, box: tuple[int, int, int, int]) -> CutOut:
    left, right, top, bottom = box
    return CutOut(picture[:, top:bottom, left:right], mask[top:bottom, left:right])


def haunt(thing: CutOut, height: float) -> Haunted:
    """Set the thing, so many metres high, into the recording; a height of 0 leaves it as it was."""
    recording = read_rgbd(recordings() / "hololens_dev")
    every = [*range(10), *range(10, 27, 4), *range(27, len(recording.images))][:FRAMES]
    cameras = recording.cameras[every].rescale(SIZE)
    frames = nnf.interpolate(recording.images[every], SIZE, mode="area").movedim(1, 0).contiguous()
    scene = nnf.interpolate(recording.depth[every, None], SIZE, mode="nearest-exact")[:, 0]
    depth, where = scene.clone(), torch.zeros_like(scene, dtype=torch.bool)
    # where the recording has no depth, what is around it hides the thing or does not
    behind = fill(scene)
    noise = torch.Generator().manual_seed(0)
    for t in range(FRAMES if height else 0):
        z = 1.2 + 0.3 * math.sin(0.5 * t)
        high = round(height * cameras.intrinsics[t, 1, 1].item() / z)
        wide = max(round(high * thing.mask.shape[1] / thing.mask.shape[0]), 1)
        picture = nnf.interpolate(thing.picture[None], (high, wide), mode="area")[0]
        inside = nnf.interpolate(thing.mask[None, None].float(), (high, wide), mode="area")[0, 0] > 0.5
        left = round((0.5 + 0.5 * math.sin(0.35 * t)) * (SIZE[1] - wide))
        top = round(0.55 * SIZE[0] - high / 2)
        rows = slice(max(top, 0), min(top + high, SIZE[0]))
        inside, picture = inside[rows.start - top : rows.stop - top], picture[:, rows.start - top : rows.stop - top]
        columns = slice(left, left + wide)
        inside = inside & (behind[t, rows, columns] > z)
        own = z * (1 + NOISE * torch.randn(inside.shape, generator=noise))
        where[t, rows, columns] = inside
        depth[t, rows, columns] = torch.where(inside, own, scene[t, rows, columns])
        frames[:, t, rows, columns] = torch.where(inside, picture, frames[:, t, rows, columns])
    return Haunted(frames, depth, cameras, where, scene)


def fill(depth: Tensor, reach: int = 8) -> Tensor:
    """Depth (T, H, W) with the mean of what is valid within so many pixels where there is none; +inf beyond."""
    side = 2 * reach + 1
    total = nnf.avg_pool2d(depth[:, None], side, 1, reach)[:, 0]
    share = nnf.avg_pool2d((depth > 0).float()[:, None], side, 1, reach)[:, 0]
    return torch.where(depth > 0, depth, torch.where(share > 0, total / share, torch.inf))


CHUNK = 8  # latents


def walk(haunted: Haunted, filters: Filters, *, exclude: Tensor | None = None, carve: bool = True) -> Outcome:
    """Write every frame, then look at what is remembered."""
    # the one channel tells the thing's cells from the scene's: their depth is that of one of its pixels
    marks = torch.zeros(1, FRAMES, *GRID)
    mixed = torch.zeros(FRAMES, *GRID, dtype=torch.bool)
    truth = torch.zeros(FRAMES, *GRID)
    for t in range(FRAMES):
        alone = cells_of(torch.where(haunted.thing[t], haunted.depth[t], 0), haunted.cameras[t], GRID)
        shown = cells_of(haunted.depth[t], haunted.cameras[t], GRID)
        rest = cells_of(torch.where(haunted.thing[t], 0, haunted.scene[t]), haunted.cameras[t], GRID)
        mixed[t] = alone.depth.isfinite()
        marks[0, t] = (mixed[t] & ((shown.depth - alone.depth).abs() < (shown.depth - rest.depth).abs())).float()
        truth[t] = cells_of(haunted.scene[t], haunted.cameras[t], GRID).depth
    memory = LatentSpatialMemory(1)
    writer = MemoryWriter(memory, filters=filters, carve=carve)
    written: list[WriteResult] = []
    for start in range(0, FRAMES, CHUNK):
        now = slice(start, start + CHUNK)
        written += writer.write(
            marks[:, now],
            haunted.frames[:, now],
            haunted.cameras[now],
            depth=haunted.depth[now],
            exclude=None if exclude is None else exclude[now],
            stamps=range(FRAMES)[now],
        )
    view = memory.read(haunted.cameras.rescale(GRID))
    right = truth.isfinite() & view.mask & ((view.depth - truth).abs() <= SAME * truth) & (view.latents[0] == 0)
    plain = truth.isfinite() & ~mixed
    refused = torch.stack([w.filter_result.mask for w in written if w.filter_result is not None]) & plain
    ghosts = int((memory.cache.features()[:, 0] > 0).sum())
    return Outcome(ghosts, right, (refused.sum() / plain.sum()).item(), memory, written)
