# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Does a scale that drifts tear a memory apart? Depth that grows by 1 % a frame, written as it is, and aligned first.

The 73 frames of a real recording (MIRAGE_DATA, ``hololens_dev``); the depth of frame k is multiplied by 1.01^k. Before
every frame is written, the memory is read from its camera; a cell that shows what was written at least 20 frames
earlier is *revisited*. Every row keeps the true place of its cell as its features, so how far a revisited cell lies
from where it belongs is a distance in the picture, in latent cells.

``python -m benchmarks.depth_drift`` prints the figures and writes ``depth_drift.json``, of which ``python -m
benchmarks.report`` draws the curves.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from benchmarks import machine, scenes
from mirage.depth import Alignment, align
from mirage.memory import LatentSpatialMemory
from mirage_kernels import Cameras, unproject

DRIFT, APART, LATE = 1.01, 20, 60
FEWEST = 64  # revisited cells for a frame to count
DATA = f"The 73 frames of hololens_dev; the depth of frame k is multiplied by {DRIFT:g}^k."
METHOD = (
    f"Before a frame is written the memory is read from its camera; of the cells that were written at least {APART} "
    "frames earlier, the distance in the picture from where they belong, in latent cells."
)


class Visit(NamedTuple):
    """What a frame saw again: the distances (N,) of the cells from where they belong, in cells."""

    frame: int
    distances: Tensor


class Walk(NamedTuple):
    """Revisits, in order; and by frame what of the drift is left in its depth, 1 = none, and the fit."""

    visits: list[Visit]
    left: dict[int, float]
    fits: dict[int, Alignment]


def true_places(depth: Tensor, camera: Cameras) -> Tensor:
    """World points of the cells of a frame, as latents (3, 1, h, w)."""
    points = unproject(depth[None], depth.new_zeros(1, 0, *scenes.GRID), camera)
    return points.xyz.T.reshape(3, 1, *scenes.GRID)


def revisit(memory: LatentSpatialMemory, camera: Cameras, frame: int) -> Tensor:
    """How far from their places old rows are shown to a camera over the grid, (N,) cells."""
    shown = memory.cache.splat(camera, extent_scale=0)
    rows = shown.index[0, shown.mask[0]]
    old = memory.cache.stamp[rows] <= frame - APART
    here, there = memory.cache.xyz[rows], memory.cache.features(rows)
    distances: Tensor = (camera.project(here)[0][0] - camera.project(there)[0][0])[old].norm(dim=1)
    return distances


def walk(depth: Tensor, cameras: Cameras, drift: float, *, aligned: bool, shift: bool = False) -> Walk:
    """Write every frame with its depth times ``drift`` to the power of its number."""
    memory = LatentSpatialMemory(3)
    result = Walk([], {}, {})
    for frame in tqdm(range(len(depth)), unit="frame"):
        camera, factor = cameras[frame], drift**frame
        grid = camera.rescale(scenes.GRID)
        distances = revisit(memory, grid, frame)
        if len(distances) >= FEWEST:
            result.visits.append(Visit(frame, distances))
        estimate = factor * depth[frame]
        if aligned and frame:
            fit = align(estimate, camera, memory.read(grid), memory.cache.xyz, shift=shift)
            result.fits[frame] = fit
            if not fit.accepted:
                continue
            factor, estimate = factor * fit.scale, fit.apply(estimate)
        result.left[frame] = factor
        memory.write(true_places(depth[frame], camera), camera, estimate[None], stamps=[frame])
    return result


def late(result: Walk) -> dict[str, float]:
    """Of all cells that frames from number 60 on saw again; and the worst mean of one such frame."""
    visits = [visit for visit in result.visits if visit.frame >= LATE]
    distances = torch.cat([visit.distances for visit in visits])
    return {
        "cells": len(distances),
        "mean": distances.mean().item(),
        "median": distances.median().item(),
        "95 %": distances.quantile(0.95).item(),
        "worst frame": max(visit.distances.mean().item() for visit in visits),
    }


def describe(result: Walk) -> dict[str, Any]:
    """What the curves and the table need."""
    return {
        "late": late(result),
        "refused": [frame for frame, fit in result.fits.items() if not fit.accepted],
        "visits": [[visit.frame, visit.distances.mean().item()] for visit in result.visits],
        "left": [[frame, factor] for frame, factor in result.left.items()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=default, help="folder for depth_drift.json")
    args = parser.parse_args()
    depth, cameras = scenes.frames("hololens")
    walks = {
        "as it is": walk(depth, cameras, DRIFT, aligned=False),
        "aligned": walk(depth, cameras, DRIFT, aligned=True),
        "aligned with a shift": walk(depth, cameras, DRIFT, aligned=True, shift=True),
    }
    rows = [{"name": name, **describe(result)} for name, result in walks.items()]
    for row in rows:
        figures = "  ".join(f"{what} {value:.4g}" for what, value in row["late"].items())
        print(f"{row['name']}: {figures}  frames refused {row['refused'] or 'none'}")
    told: dict[str, Any] = {"kind": "depth_drift", "machine": machine.facts(), "data": DATA, "method": METHOD}
    told |= {"drift": DRIFT, "late_from": LATE, "walks": rows}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "depth_drift.json").write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
