# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What filters keep out of a memory on real images (MIRAGE_DATA), and how much static surface they cost.

``python -m mirage.evaluation.filters`` prints the figures, writes them to ``filters.json``, and draws the decisions of
every filter over the images, ``filters_*.jpg``. The thresholds are the defaults of the filters. Those of the sky filter
are first guesses; the outline was committed before them. The 10 % of depth, twice the tolerance of the memory for one
surface, was fixed beforehand; that whole objects are completed, and that the color must change in most of the frames,
was decided after the first figures of both objects (88 and 89 % without).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras

from ..data.scenes import motorcycle
from ..filters import (
    ConsistencyFilter,
    EdgeFilter,
    FarFilter,
    Filter,
    FilterResult,
    Filters,
    MotionFilter,
    Observation,
    SkyFilter,
    overlay,
)
from ..geometry.grids import cells_of, grow, masked_cells
from ..io.files import read_image
from ..io.images import contact_sheet
from ..memory import LatentSpatialMemory
from . import _studies
from .moving_objects import GRID, Composite, Outcome, composite, cow, man, read_gray, write_all
from .recording import data_folder

SKY = Path(__file__).with_name("sky_case_2.json")
DATA = (
    "Images of spatia (Apache-2.0), OpenSfM's berlin (BSD-2) and Middlebury 2014; hololens from DeepVideoMVS (MIT), "
    "40 frames, with a cow and a man composited in."
)
METHOD = (
    "Points on it: stored points whose depth is the object's, after 40 latent frames. Static surface lost: relative to "
    "a memory written with perfect masks, in all 40 views. Refused: cells of the static scene that a filter excluded."
)
HORIZON = 3.0  # meters, set by hand: beyond it hololens sees the far end of the room


def observe(
    frame: Tensor, grid: tuple[int, int], depth: Tensor | None = None, exclude: Tensor | None = None
) -> Observation:
    """An observation of a single image, with an arbitrary camera."""
    size = (frame.shape[1], frame.shape[2])
    camera = Cameras(
        torch.tensor([[500.0, 0, size[1] / 2], [0, 500.0, size[0] / 2], [0, 0, 1]], dtype=torch.float32, device="cpu"),
        torch.eye(4, dtype=torch.float32, device="cpu"),
        size,
    )
    return Observation(frame, camera, grid, depth=depth, exclude=exclude)


def cow_mask() -> tuple[Tensor, Tensor, tuple[int, int]]:
    """The image, the mask of the cow with its soft border, and the grid."""
    folder = data_folder() / "spatia_trajectories" / "case_3"
    return read_image(folder / "img.jpg"), read_gray(folder / "mask.png") > 0, (44, 78)


def people_mask() -> tuple[Tensor, Tensor, tuple[int, int]]:
    """The first street photograph at 960 x 1280 with cells of 16 x 16 pixels: image, mask and grid."""
    folder = data_folder() / "opensfm_berlin_outdoor"
    image = nnf.interpolate(read_image(folder / "images" / "01.jpg")[None], (960, 1280), mode="area")[0]
    mask = read_gray(folder / "masks" / "01.jpg.png") < 128
    return image, nnf.interpolate(mask[None, None].float(), (960, 1280), mode="nearest-exact")[0, 0] > 0, (60, 80)


def count_masked(mask: Tensor, grid: tuple[int, int]) -> tuple[int, int, int]:
    """Count cells with a masked pixel: all of them, those that the strict rule writes, and those that are written when
    the mask is resampled with ``torch.nn.functional.interpolate(mode="nearest")``."""
    stride = (mask.shape[0] // grid[0], mask.shape[1] // grid[1])
    touched = mask.reshape(grid[0], stride[0], grid[1], stride[1]).any(3).any(1)
    nearest = nnf.interpolate(mask[None, None].float(), grid, mode="nearest")[0, 0] > 0
    strict = masked_cells(mask, grid)
    return int(touched.sum()), int((touched & ~strict).sum()), int((touched & ~nearest).sum())


def sky_reference() -> Tensor:
    """The sky of spatia case_2 as outlined by hand, (H, W) bool."""
    reference = json.loads(SKY.read_text())
    height, width = reference["size"]
    image = Image.new("L", (width, height))
    for outline in reference["outlines"]:
        ImageDraw.Draw(image).polygon([tuple(corner) for corner in outline], fill=255)
    return torch.from_numpy(np.asarray(image).copy()) > 0


def sky_image() -> Tensor:
    """The image of spatia case_2, (3, H, W)."""
    return read_image(data_folder() / "spatia_trajectories" / "case_2" / "img.jpg")


def measure_sky() -> tuple[float, float, FilterResult]:
    """The share of cells with sky that is excluded, the share of other cells that is lost, and the decision."""
    grid = (44, 78)
    result = Filters([SkyFilter()])(observe(sky_image(), grid))
    sky = masked_cells(sky_reference(), grid)
    return result.mask[sky].float().mean().item(), result.mask[~sky].float().mean().item(), result


def loose_mask(mask: Tensor) -> Tensor:
    """A mask as a segmentation network might give it: 2 pixels too small on all sides, and missing in every fifth
    frame."""
    shrunk = torch.stack([~grow(~one, 2) for one in mask])
    shrunk[::5] = False
    return shrunk


def lost(outcome: Outcome, reference: Outcome) -> float:
    """The share of the static surface in one memory that another does not have."""
    return 1 - int((outcome.static & reference.static).sum()) / int(reference.static.sum())


def measure_moving_object(name: str, scene: Composite) -> tuple[list[dict[str, Any]], Outcome]:
    """The rows of the table, and the outcome of consistency and motion."""
    nothing = write_all(scene, Filters(), carve=False)
    perfect = write_all(scene, Filters(), exclude=scene.object, carve=False)
    loose = loose_mask(scene.object)
    both: list[Filter] = [ConsistencyFilter(), MotionFilter()]
    every: list[Filter] = [*both, EdgeFilter()]
    outcomes = {
        "no filter": nothing,
        "carving alone": write_all(scene, Filters()),
        "consistency": write_all(scene, Filters(both[:1])),
        "motion": write_all(scene, Filters(both[1:])),
        "consistency and motion": write_all(scene, Filters(both)),
        "loose masks alone": write_all(scene, Filters(), exclude=loose, carve=False),
        "loose masks, consistency, motion, edge": write_all(scene, Filters(every), exclude=loose),
        "perfect masks": perfect,
    }
    rows = [
        {
            "object": name,
            "filters": kind,
            "points": outcome.points,
            "share": outcome.points / nothing.points,
            "lost": lost(outcome, perfect),
            "refused": outcome.refused,
            "carved": sum(written.carved for written in outcome.written),
        }
        for kind, outcome in outcomes.items()
    ]
    return rows, outcomes["consistency and motion"]


class Stale(NamedTuple):
    """Numbers of points in a memory when an object is gone at the second visit.

    Attributes:
        object: points of the object where the second visit has depth, before it.
        left: those of them that are left after it.
        others: all other points, before it.
        still: those of them that are left after it.
        anyway: points that are lost in the same way when there was no object.
    """

    object: int
    left: int
    others: int
    still: int
    anyway: int


def measure_stale(scene: Composite, frames: tuple[int, ...] = (8, 14, 23, 32)) -> Stale:
    """Write a frame with the object, then visit it and its neighbors without the object; summed over several frames."""
    total = torch.zeros(5, dtype=torch.int64, device="cpu")
    for t in frames:
        alone = torch.where(scene.object[t], scene.depth[t], 0)
        of_object, seen = (cells_of(depth, scene.cameras[t], GRID).depth for depth in (alone, scene.depth[t]))
        marks = (of_object.isfinite() & ((seen - of_object).abs() <= 0.05 * of_object)).float()
        marks[masked_cells(scene.scene[t] <= 0, GRID, 0.5) & (marks > 0)] = 2  # the second visit has no depth here
        _, _, points, kept = visit_twice(scene, t, scene.scene[t], 0 * marks)
        total += torch.tensor(
            [*visit_twice(scene, t, scene.depth[t], marks), points - kept], dtype=torch.int64, device="cpu"
        )
    return Stale(*total.tolist())


def visit_twice(scene: Composite, t: int, first: Tensor, marks: Tensor) -> tuple[int, int, int, int]:
    """Write a frame's depth (H, W) with marked cells (h, w), then visit the scene; points marked 1 before and after,
    and points marked 0 before and after."""
    memory = LatentSpatialMemory(1)
    memory.write(marks[None, None], scene.cameras[t], first[None])
    mark, xyz = memory.cache.features()[:, 0].clone(), memory.cache.xyz.clone()
    for again in (t, t - 1, t + 1):
        memory.carve(scene.scene[again], scene.cameras[again], GRID)
        memory.write(
            torch.zeros(1, 1, *GRID, dtype=torch.float32, device="cpu"),
            scene.cameras[again],
            scene.scene[again][None],
            stamps=[1],
        )
    still = (xyz[:, None] == memory.cache.xyz).all(2).any(1)
    counts = (mark == 1, (mark == 1) & still, mark == 0, (mark == 0) & still)
    return tuple(int(count.sum()) for count in counts)  # type: ignore[return-value]


def draw_masks(out: Path) -> None:
    images, labels = [], []
    for name, (frame, mask, grid) in {"cow": cow_mask(), "people": people_mask()}.items():
        result = Filters()(observe(frame, grid, exclude=mask))
        part = (slice(None), slice(-500, None)) if name == "people" else (slice(None), slice(150, 420), slice(400, 900))
        images.append(overlay(frame, result)[part])
        labels.append(f"{name}: every cell with a masked pixel is excluded")
    _studies.save_image(out / "filters_masks.jpg", contact_sheet([images], [labels], width=690))


def draw_moving_object(out: Path, scene: Composite, outcome: Outcome) -> None:
    picks = [8, 14, 23, 34, 38]
    frames = [scene.frames[:, t] for t in picks]
    results_of_frames = [result for t in picks if (result := outcome.written[t].filter_result) is not None]
    overlays = [overlay(frame, result) for frame, result in zip(frames, results_of_frames, strict=True)]
    names = [f"frame {t}" for t in picks]
    kept = [f"{result.fractions['kept']:.0%} kept" for result in results_of_frames]
    _studies.save_image(out / "filters_moving_objects.jpg", contact_sheet([frames, overlays], [names, kept], width=400))


def draw_depth(out: Path, static: Composite) -> None:
    scene = motorcycle().trim(16)
    grid = (scene.depth.shape[0] // 16, scene.depth.shape[1] // 16)
    edges = Observation(scene.image, scene.keys[:1], grid, depth=scene.depth)
    strict, default = EdgeFilter(max_masked=0.0), EdgeFilter()
    images = [overlay(scene.image, Filters([one])(edges)) for one in (default, strict)]
    far = observe(static.frames[:, 9], GRID, static.scene[9])
    images.append(overlay(far.frame, Filters([FarFilter(HORIZON)])(far)))
    images[2] = nnf.interpolate(images[2][None], scene.image.shape[1:], mode="bilinear")[0]
    labels = ["edge, default", "edge, strict", f"far: beyond {HORIZON:g} m"]
    _studies.save_image(out / "filters_depth.jpg", contact_sheet([images], [labels], width=460))


def main() -> None:
    out = _studies.parser("filters", __doc__).parse_args().out
    masks = []
    for name, (_, mask, grid) in {"cow (case_3)": cow_mask(), "street people (01)": people_mask()}.items():
        touched, strict, nearest = count_masked(mask, grid)
        masks.append({"name": name, "cells": touched, "strict": strict, "nearest": nearest})
    out_share, lost_share, result = measure_sky()
    out.mkdir(parents=True, exist_ok=True)
    _studies.save_image(out / "filters_sky.jpg", overlay(sky_image(), result)[:, :300])
    objects: list[dict[str, Any]] = []
    for name, cut_out, height in (("cow", cow(), 0.35), ("man", man(), 0.8)):
        scene = composite(cut_out, height)
        rows, filtered = measure_moving_object(name, scene)
        objects += rows
        if name == "cow":
            draw_moving_object(out, scene, filtered)
            stale = measure_stale(scene)
    draw_masks(out)
    draw_depth(out, composite(cow(), 0))
    results: dict[str, Any] = {"masks": masks, "sky": {"out": out_share, "lost": lost_share}}
    results |= {"objects": objects, "stale": stale._asdict()}
    print(json.dumps(results, indent=1))
    _studies.write(out, "filters", DATA, METHOD, **results)


if __name__ == "__main__":
    main()
