# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The error of a memory whose depth drifts by 1 % per frame, with and without alignment.

The depth of frame k of a recording (73 frames, MIRAGE_DATA) is multiplied by 1.01^k. Before a frame is written, the
memory is read from its camera; a cell that was written at least 20 frames earlier is *revisited*. The features of every
row are the true position of its cell, so that the error of a revisited cell is a distance in the image, in latent
cells.

``python -m mirage.evaluation.depth_drift`` prints the figures and writes ``depth_drift.json``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

from mirage_kernels import Cameras, unproject

from ..depth import Alignment, align
from ..memory import LatentSpatialMemory
from . import _studies
from .recording import GRID, read_hololens

DRIFT, APART, LATE = 1.01, 20, 60
MIN_CELLS = 64  # revisited cells for a frame to count
DATA = f"The 73 frames of hololens_dev; the depth of frame k is multiplied by {DRIFT:g}^k."
METHOD = (
    f"Before a frame is written, the memory is read from its camera; for cells that were written at least {APART} "
    "frames earlier, the distance in the image from their true place, in latent cells."
)


class Visit(NamedTuple):
    """The errors (N,) of the revisited cells of a frame, in cells."""

    frame: int
    errors: Tensor


class Run(NamedTuple):
    """The visits in order; by frame the scale of the depth that was written (1 = true), and the alignment."""

    visits: list[Visit]
    left: dict[int, float]
    fits: dict[int, Alignment]


def true_positions(depth: Tensor, camera: Cameras) -> Tensor:
    """World points of the cells of a frame, as latents (3, 1, h, w)."""
    points = unproject(depth[None], depth.new_zeros(1, 0, *GRID), camera)
    return points.xyz.T.reshape(3, 1, *GRID)


def revisit(memory: LatentSpatialMemory, camera: Cameras, frame: int) -> Tensor:
    """The errors of the old rows that a camera over the grid sees, (N,) in cells."""
    view = memory.cache.splat(camera, extent_scale=0)
    rows = view.index[0, view.mask[0]]
    old = memory.cache.stamp[rows] <= frame - APART
    stored, true = memory.cache.xyz[rows], memory.cache.features(rows)
    errors: Tensor = (camera.project(stored)[0][0] - camera.project(true)[0][0])[old].norm(dim=1)
    return errors


def write_all(depth: Tensor, cameras: Cameras, drift: float, *, aligned: bool, shift: bool = False) -> Run:
    """Write every frame with drifting depth, and note the errors of what it revisits.

    Args:
        depth: (T, H, W), the true depth.
        cameras: T cameras over (H, W).
        drift: factor per frame.
        aligned: whether the depth is aligned to the memory before it is written.
        shift: whether the alignment also fits a shift.
    """
    memory = LatentSpatialMemory(3)
    result = Run([], {}, {})
    for frame in tqdm(range(len(depth)), unit="frame"):
        camera, factor = cameras[frame], drift**frame
        grid = camera.rescale(GRID)
        errors = revisit(memory, grid, frame)
        if len(errors) >= MIN_CELLS:
            result.visits.append(Visit(frame, errors))
        estimate = factor * depth[frame]
        if aligned and frame:
            fit = align(estimate, camera, memory.read(grid), memory.cache.xyz, shift=shift)
            result.fits[frame] = fit
            if not fit.accepted:
                continue
            factor, estimate = factor * fit.scale, fit.apply(estimate)
        result.left[frame] = factor
        memory.write(true_positions(depth[frame], camera), camera, estimate[None], stamps=[frame])
    return result


def late(result: Run) -> dict[str, float]:
    """Statistics of all cells that frames from number 60 on revisited, and the largest mean error of one such frame."""
    visits = [visit for visit in result.visits if visit.frame >= LATE]
    errors = torch.cat([visit.errors for visit in visits])
    return {
        "cells": len(errors),
        "mean": errors.mean().item(),
        "median": errors.median().item(),
        "95 %": errors.quantile(0.95).item(),
        "worst frame": max(visit.errors.mean().item() for visit in visits),
    }


def describe(result: Run) -> dict[str, Any]:
    """The curves and the figures of the table."""
    return {
        "late": late(result),
        "refused": [frame for frame, fit in result.fits.items() if not fit.accepted],
        "visits": [[visit.frame, visit.errors.mean().item()] for visit in result.visits],
        "left": [[frame, factor] for frame, factor in result.left.items()],
    }


def main() -> None:
    args = _studies.parser("depth_drift", __doc__).parse_args()
    recording = read_hololens()
    runs = {
        "not aligned": write_all(recording.depth, recording.cameras, DRIFT, aligned=False),
        "aligned": write_all(recording.depth, recording.cameras, DRIFT, aligned=True),
        "aligned with a shift": write_all(recording.depth, recording.cameras, DRIFT, aligned=True, shift=True),
    }
    rows = [{"name": name, **describe(result)} for name, result in runs.items()]
    for row in rows:
        figures = "  ".join(f"{what} {value:.4g}" for what, value in row["late"].items())
        print(f"{row['name']}: {figures}  frames refused {row['refused'] or 'none'}")
    _studies.write(args.out, "depth_drift", DATA, METHOD, drift=DRIFT, late_from=LATE, runs=rows)


if __name__ == "__main__":
    main()
