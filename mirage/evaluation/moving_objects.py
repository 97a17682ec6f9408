# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""A real cut-out that moves through a real recording, and how much of it a memory keeps.

40 evenly spaced frames of hololens (MIRAGE_DATA). The cow of spatia case_3, or a man from the berlin photographs, is
composited into every frame with a depth of its own, occluded by what is nearer: it moves from side to side and back and
forth, 0.9 to 1.5 m in front of the camera, with as much noise as the recording has (1 %).
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

from mirage_kernels import Cameras

from ..filters import Filters
from ..geometry.grids import cells_of
from ..io.files import read_image
from ..memory import LatentSpatialMemory
from ..rollout.write_back import MemoryWriter, WriteResult
from .recording import data_folder, every_fourth, read_hololens

SIZE, GRID, FRAMES = (352, 528), (44, 66), 40
CHUNK = 8  # latents
NOISE = 0.01
TOLERANCE = 0.05  # of the depth


class CutOut(NamedTuple):
    """An image (3, H, W) of an object and its mask (H, W) bool."""

    image: Tensor
    mask: Tensor


class Composite(NamedTuple):
    """A recording with an object composited into it.

    Attributes:
        frames: (3, T, H, W).
        depth: (T, H, W).
        cameras: T cameras over (H, W).
        object: (T, H, W) bool, the pixels of the object.
        scene: (T, H, W), the depth without the object.
    """

    frames: Tensor
    depth: Tensor
    cameras: Cameras
    object: Tensor
    scene: Tensor


class Outcome(NamedTuple):
    """A memory after all frames.

    Attributes:
        points: number of stored points of the object.
        static: (T, h, w) bool, cells of all views that read back as the surface of the scene, within 5 %.
        refused: share of the cells with the scene alone that filters excluded.
        memory: the memory.
        written: the results of writing.
    """

    points: int
    static: Tensor
    refused: float
    memory: LatentSpatialMemory
    written: list[WriteResult]


def read_gray(path: Path) -> Tensor:
    """(H, W) uint8."""
    return torch.from_numpy(np.asarray(Image.open(path).convert("L")).copy())


def cow() -> CutOut:
    """The cow of spatia case_3."""
    folder = data_folder() / "spatia_trajectories" / "case_3"
    return _crop(read_image(folder / "img.jpg"), read_gray(folder / "mask.png") > 127, (480, 800, 180, 390))


def man() -> CutOut:
    """The man with a rucksack in the second photograph of berlin."""
    folder = data_folder() / "opensfm_berlin_outdoor"
    mask = read_gray(folder / "masks" / "02.jpg.png") < 128
    return _crop(read_image(folder / "images" / "02.jpg"), mask, (960, 1140, 1900, 2360))


def _crop(image: Tensor, mask: Tensor, box: tuple[int, int, int, int]) -> CutOut:
    left, right, top, bottom = box
    return CutOut(image[:, top:bottom, left:right], mask[top:bottom, left:right])


def composite(cut_out: CutOut, height: float) -> Composite:
    """Composite an object into the recording.

    Args:
        cut_out: the object.
        height: of the object in meters; 0 leaves the recording unchanged.
    """
    recording = read_hololens()
    index = every_fourth(len(recording.images))[:FRAMES]
    cameras = recording.cameras[index].rescale(SIZE)
    frames = nnf.interpolate(recording.images[index], SIZE, mode="area").movedim(1, 0).contiguous()
    scene = nnf.interpolate(recording.depth[index, None], SIZE, mode="nearest-exact")[:, 0]
    depth, pixels = scene.clone(), torch.zeros_like(scene, dtype=torch.bool)
    # where the recording has no depth, the depth around it decides about occlusion
    background = fill(scene)
    noise = torch.Generator(device="cpu").manual_seed(0)
    for t in range(FRAMES if height else 0):
        z = 1.2 + 0.3 * math.sin(0.5 * t)
        tall = round(height * cameras.intrinsics[t, 1, 1].item() / z)
        width = max(round(tall * cut_out.mask.shape[1] / cut_out.mask.shape[0]), 1)
        image = nnf.interpolate(cut_out.image[None], (tall, width), mode="area")[0]
        inside = nnf.interpolate(cut_out.mask[None, None].float(), (tall, width), mode="area")[0, 0] > 0.5
        left = round((0.5 + 0.5 * math.sin(0.35 * t)) * (SIZE[1] - width))
        top = round(0.55 * SIZE[0] - tall / 2)
        rows, columns = slice(max(top, 0), min(top + tall, SIZE[0])), slice(left, left + width)
        inside, image = inside[rows.start - top : rows.stop - top], image[:, rows.start - top : rows.stop - top]
        inside = inside & (background[t, rows, columns] > z)
        own = z * (1 + NOISE * torch.randn(inside.shape, generator=noise, dtype=torch.float32, device="cpu"))
        pixels[t, rows, columns] = inside
        depth[t, rows, columns] = torch.where(inside, own, scene[t, rows, columns])
        frames[:, t, rows, columns] = torch.where(inside, image, frames[:, t, rows, columns])
    return Composite(frames, depth, cameras, pixels, scene)


def fill(depth: Tensor, reach: int = 8) -> Tensor:
    """Fill invalid depth (T, H, W) with the mean of valid pixels within ``reach``; +inf where there are none."""
    side = 2 * reach + 1
    total = nnf.avg_pool2d(depth[:, None], side, 1, reach)[:, 0]
    share = nnf.avg_pool2d((depth > 0).float()[:, None], side, 1, reach)[:, 0]
    return torch.where(depth > 0, depth, torch.where(share > 0, total / share, torch.inf))


def write_all(scene: Composite, filters: Filters, *, exclude: Tensor | None = None, carve: bool = True) -> Outcome:
    """Write every frame, then count what the memory holds.

    Args:
        scene: the frames.
        filters: that decide which cells are written.
        exclude: (T, H, W) bool, pixels that must not be written.
        carve: whether points in space that is seen to be empty are removed.
    """
    # the only channel marks cells of the object: cells whose depth is that of one of its pixels
    marks = torch.zeros(1, FRAMES, *GRID, dtype=torch.float32, device="cpu")
    mixed = torch.zeros(FRAMES, *GRID, dtype=torch.bool, device="cpu")
    truth = torch.zeros(FRAMES, *GRID, dtype=torch.float32, device="cpu")
    for t in range(FRAMES):
        alone = cells_of(torch.where(scene.object[t], scene.depth[t], 0), scene.cameras[t], GRID)
        seen = cells_of(scene.depth[t], scene.cameras[t], GRID)
        rest = cells_of(torch.where(scene.object[t], 0, scene.scene[t]), scene.cameras[t], GRID)
        mixed[t] = alone.depth.isfinite()
        marks[0, t] = (mixed[t] & ((seen.depth - alone.depth).abs() < (seen.depth - rest.depth).abs())).float()
        truth[t] = cells_of(scene.scene[t], scene.cameras[t], GRID).depth
    memory = LatentSpatialMemory(1)
    writer = MemoryWriter(memory, filters=filters, carve=carve)
    written: list[WriteResult] = []
    for start in range(0, FRAMES, CHUNK):
        now = slice(start, start + CHUNK)
        written += writer.write(
            marks[:, now],
            scene.frames[:, now],
            scene.cameras[now],
            depth=scene.depth[now],
            exclude=None if exclude is None else exclude[now],
            stamps=range(FRAMES)[now],
        )
    view = memory.read(scene.cameras.rescale(GRID))
    right = truth.isfinite() & view.mask & ((view.depth - truth).abs() <= TOLERANCE * truth) & (view.latents[0] == 0)
    plain = truth.isfinite() & ~mixed
    refused = torch.stack([w.filter_result.mask for w in written if w.filter_result is not None]) & plain
    points = int((memory.cache.features()[:, 0] > 0).sum())
    return Outcome(points, right, (refused.sum() / plain.sum()).item(), memory, written)
