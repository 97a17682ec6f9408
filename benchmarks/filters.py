# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What filters keep out of a memory, on real pictures (MIRAGE_DATA), and what static surface they cost.

``python -m benchmarks.filters`` prints the figures, writes them to ``filters.json``, of which ``python -m
benchmarks.report`` makes the tables, and draws every filter over the pictures in ``filters_*.jpg``. Thresholds are the
filters' defaults. The sky's are first guesses, the outline was committed before them. The 10 % of depth, twice what the
memory takes for one surface, were fixed beforehand; that whole things are completed, and that colour must change in
most of the frames, was decided after looking at the figures of both things (88 and 89 % without).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as nnf

from benchmarks import machine
from benchmarks.ghosts import GRID, Haunted, Outcome, cow, haunt, read_grey, walk, walker
from benchmarks.scenes import recordings
from mirage.data.scenes import motorcycle
from mirage.filters import (
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
from mirage.geometry.grids import cells_of, grow, masked_cells
from mirage.io.files import read_image
from mirage.io.images import contact_sheet, to_bytes
from mirage.memory import LatentSpatialMemory
from mirage_kernels import Cameras

RESULTS = Path(__file__).parent / "results"
SKY = Path(__file__).resolve().parents[1] / "tests" / "mirage" / "filters" / "images" / "sky_case_2.json"
DATA = (
    "Pictures of spatia (Apache-2.0), OpenSfM's berlin (BSD-2) and Middlebury 2014; hololens from DeepVideoMVS (MIT), "
    "40 frames, with a cow and a man set into them."
)
METHOD = (
    "Points on it: remembered points whose depth is the thing's, after 40 latent frames. Static surface lost: of "
    "what a memory shows that was written with perfect masks, in all 40 views. Refused: cells of the scene alone that "
    "were out."
)
HORIZON = 3.0  # metres, by hand: behind it hololens sees the far end of the room


def look_at(
    frame: Tensor, grid: tuple[int, int], depth: Tensor | None = None, exclude: Tensor | None = None
) -> Observation:
    """A picture without a place in the world."""
    size = (frame.shape[1], frame.shape[2])
    camera = Cameras(torch.tensor([[500.0, 0, size[1] / 2], [0, 500.0, size[0] / 2], [0, 0, 1]]), torch.eye(4), size)
    return Observation(frame, camera, grid, depth=depth, exclude=exclude)


def cow_mask() -> tuple[Tensor, Tensor, tuple[int, int]]:
    """The picture, the mask of what moves (its soft border included), and the grid."""
    folder = recordings() / "spatia_trajectories" / "case_3"
    return read_image(folder / "img.jpg"), read_grey(folder / "mask.png") > 0, (44, 78)


def people_mask() -> tuple[Tensor, Tensor, tuple[int, int]]:
    """The first street photograph at 960 x 1280, where cells are of 16 x 16 pixels."""
    folder = recordings() / "opensfm_berlin_outdoor"
    picture = nnf.interpolate(read_image(folder / "images" / "01.jpg")[None], (960, 1280), mode="area")[0]
    mask = read_grey(folder / "masks" / "01.jpg.png") < 128
    return picture, nnf.interpolate(mask[None, None].float(), (960, 1280), mode="nearest-exact")[0, 0] > 0, (60, 80)


def count_masked(mask: Tensor, grid: tuple[int, int]) -> tuple[int, int, int]:
    """Cells with a masked pixel; of them, those that the strict rule writes all the same; those that are written where
    the mask is resampled to the grid by picking (``torch.nn.functional.interpolate``, ``"nearest"``)."""
    stride = (mask.shape[0] // grid[0], mask.shape[1] // grid[1])
    touched = mask.reshape(grid[0], stride[0], grid[1], stride[1]).any(3).any(1)
    picked = nnf.interpolate(mask[None, None].float(), grid, mode="nearest")[0, 0] > 0
    strict = masked_cells(mask, grid)
    return int(touched.sum()), int((touched & ~strict).sum()), int((touched & ~picked).sum())


def sky_reference() -> Tensor:
    """The sky of spatia case_2 as outlined by hand, (H, W) bool."""
    reference = json.loads(SKY.read_text())
    height, width = reference["size"]
    drawn = Image.new("L", (width, height))
    for outline in reference["outlines"]:
        ImageDraw.Draw(drawn).polygon([tuple(corner) for corner in outline], fill=255)
    return torch.from_numpy(np.asarray(drawn).copy()) > 0


def judge_sky() -> tuple[float, float, FilterResult]:
    """Of the cells with any sky in them, the share that is out; of the others, the share that is lost."""
    frame, grid = read_image(recordings() / "spatia_trajectories" / "case_2" / "img.jpg"), (44, 78)
    result = Filters([SkyFilter()])(look_at(frame, grid))
    sky = masked_cells(sky_reference(), grid)
    return result.mask[sky].float().mean().item(), result.mask[~sky].float().mean().item(), result


def loose_mask(thing: Tensor) -> Tensor:
    """What a segmentation network might give: 2 pixels too small all around, and in every fifth frame nothing."""
    shrunk = torch.stack([~grow(~mask, 2) for mask in thing])
    shrunk[::5] = False
    return shrunk


def lost(outcome: Outcome, whole: Outcome) -> float:
    """Of the static surface that one memory shows, the share that another does not."""
    return 1 - int((outcome.static & whole.static).sum()) / int(whole.static.sum())


def judge_ghosts(name: str, haunted: Haunted) -> tuple[list[dict[str, Any]], Outcome]:
    """Rows of the table, and what consistency and motion leave."""
    nothing = walk(haunted, Filters(), carve=False)
    perfect = walk(haunted, Filters(), exclude=haunted.thing, carve=False)
    loose = loose_mask(haunted.thing)
    both: list[Filter] = [ConsistencyFilter(), MotionFilter()]
    every: list[Filter] = [*both, EdgeFilter()]
    outcomes = {
        "no filter": nothing,
        "carving alone": walk(haunted, Filters()),
        "consistency": walk(haunted, Filters(both[:1])),
        "motion": walk(haunted, Filters(both[1:])),
        "consistency and motion": walk(haunted, Filters(both)),
        "loose masks alone": walk(haunted, Filters(), exclude=loose, carve=False),
        "loose masks, consistency, motion, edge": walk(haunted, Filters(every), exclude=loose),
        "perfect masks": perfect,
    }
    rows = [
        {
            "thing": name,
            "filters": kind,
            "points": o.ghosts,
            "share": o.ghosts / nothing.ghosts,
            "lost": lost(o, perfect),
            "refused": o.refused,
            "carved": sum(w.carved for w in o.written),
        }
        for kind, o in outcomes.items()
    ]
    return rows, outcomes["consistency and motion"]


class Stale(NamedTuple):
    """Points of a memory after a thing has gone: on the thing where the second look has depth, before and after; all
    others, before and after; and how many others go where there was no thing in the first place."""

    thing: int
    left: int
    others: int
    still: int
    anyway: int


def judge_stale(haunted: Haunted, frames: tuple[int, ...] = (8, 14, 23, 32)) -> Stale:
    """A thing stands in a frame when the memory first looks and is gone when it looks again, from there and from the
    frames before and after; summed over several such frames."""
    total = torch.zeros(5, dtype=torch.int64)
    for t in frames:
        alone = torch.where(haunted.thing[t], haunted.depth[t], 0)
        of_thing, shown = (cells_of(depth, haunted.cameras[t], GRID).depth for depth in (alone, haunted.depth[t]))
        marks = (of_thing.isfinite() & ((shown - of_thing).abs() <= 0.05 * of_thing)).float()
        marks[masked_cells(haunted.scene[t] <= 0, GRID, 0.5) & (marks > 0)] = 2  # what is there now is not known
        _, _, points, kept = visit_twice(haunted, t, haunted.scene[t], 0 * marks)
        total += torch.tensor([*visit_twice(haunted, t, haunted.depth[t], marks), points - kept])
    return Stale(*total.tolist())


def visit_twice(haunted: Haunted, t: int, first: Tensor, marks: Tensor) -> tuple[int, int, int, int]:
    """Of one frame's depth (H, W) with cells marked (h, w): points marked 1 before and after, and marked 0."""
    memory = LatentSpatialMemory(1)
    memory.write(marks[None, None], haunted.cameras[t], first[None])
    mark, where = memory.cache.features()[:, 0].clone(), memory.cache.xyz.clone()
    for again in (t, t - 1, t + 1):
        memory.carve(haunted.scene[again], haunted.cameras[again], GRID)
        memory.write(torch.zeros(1, 1, *GRID), haunted.cameras[again], haunted.scene[again][None], stamps=[1])
    still = (where[:, None] == memory.cache.xyz).all(2).any(1)
    counts = (mark == 1, (mark == 1) & still, mark == 0, (mark == 0) & still)
    return tuple(int(count.sum()) for count in counts)  # type: ignore[return-value]


def save(path: Path, picture: Tensor, width: int = 1400) -> None:
    image = Image.fromarray(to_bytes(picture))
    image.thumbnail((width, 4 * width))
    image.save(path, quality=78)


def draw_masks(out: Path) -> None:
    pictures, labels = [], []
    for name, (frame, mask, grid) in {"cow": cow_mask(), "people": people_mask()}.items():
        result = Filters()(look_at(frame, grid, exclude=mask))
        part = (slice(None), slice(-500, None)) if name == "people" else (slice(None), slice(150, 420), slice(400, 900))
        pictures.append(overlay(frame, result)[part])
        labels.append(f"{name}: every cell that a masked pixel touches is out")
    save(out / "filters_masks.jpg", contact_sheet([pictures], [labels], width=690))


def draw_ghosts(out: Path, haunted: Haunted, outcome: Outcome) -> None:
    picks = [8, 14, 23, 34, 38]
    frames = [haunted.frames[:, t] for t in picks]
    results = [result for t in picks if (result := outcome.written[t].filter_result) is not None]
    judged = [overlay(frame, result) for frame, result in zip(frames, results, strict=True)]
    names = [f"frame {t}" for t in picks]
    kept = [f"{result.fractions['kept']:.0%} kept" for result in results]
    save(out / "filters_ghosts.jpg", contact_sheet([frames, judged], [names, kept], width=400))


def draw_depth(out: Path, haunted: Haunted) -> None:
    scene = motorcycle().trim(16)
    grid = (scene.depth.shape[0] // 16, scene.depth.shape[1] // 16)
    edges = Observation(scene.image, scene.keys[:1], grid, depth=scene.depth)
    strict, default = EdgeFilter(max_masked=0.0), EdgeFilter()
    shown = [overlay(scene.image, Filters([one])(edges)) for one in (default, strict)]
    far = look_at(haunted.frames[:, 9], GRID, haunted.scene[9])
    shown.append(overlay(far.frame, Filters([FarFilter(HORIZON)])(far)))
    shown[2] = nnf.interpolate(shown[2][None], scene.image.shape[1:], mode="bilinear")[0]
    labels = ["edge, default", "edge, strict", f"far: beyond {HORIZON:g} m"]
    save(out / "filters_depth.jpg", contact_sheet([shown], [labels], width=460))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for filters.json and the pictures")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    masks = []
    for name, (_, mask, grid) in {"cow (case_3)": cow_mask(), "street people (01)": people_mask()}.items():
        touched, strict, nearest = count_masked(mask, grid)
        masks.append({"name": name, "cells": touched, "strict": strict, "nearest": nearest})
    out_share, lost_share, sky = judge_sky()
    frame = read_image(recordings() / "spatia_trajectories" / "case_2" / "img.jpg")
    save(out / "filters_sky.jpg", overlay(frame, sky)[:, :300])
    things: list[dict[str, Any]] = []
    for name, thing, height in (("cow", cow(), 0.35), ("man", walker(), 0.8)):
        haunted = haunt(thing, height)
        rows, filtered = judge_ghosts(name, haunted)
        things += rows
        if name == "cow":
            draw_ghosts(out, haunted, filtered)
            stale = judge_stale(haunted)
    draw_masks(out)
    draw_depth(out, haunt(cow(), 0))
    result: dict[str, Any] = {"kind": "filters", "machine": machine.facts(), "data": DATA, "method": METHOD}
    result |= {"masks": masks, "sky": {"out": out_share, "lost": lost_share}}
    result |= {"things": things, "stale": stale._asdict()}
    text = json.dumps(result, indent=1)
    print(text)
    (out / "filters.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
