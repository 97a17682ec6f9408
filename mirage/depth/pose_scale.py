# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""The scale between estimated depth and camera poses of another unit, from the colors of the frames."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nnf

from mirage_kernels import Cameras, unproject

from ..errors import DataError

__all__ = ["fit_pose_scale"]

GRID = 96  # points along the longer side of a frame
GAPS, PAIRS = (1, 2, 4, 8), 5  # frames between the two of a pair, and pairs of each gap
MIN_COSINE = 0.97  # of the angle between their directions
OCTAVES, PER_OCTAVE = 8, 4  # scales from 2^-8 to 2^8
FINE = 9  # scales between two neighbors of the coarse ones
MIN_INSIDE = 0.25  # fraction of a frame's points that the other frame must see
MAX_ERROR = 0.2  # of a color: larger errors are those of occluded points
MAX_RATIO = 0.5  # logarithm of two depths
MIN_GAIN = 0.02  # by which the best scale must be better than none at all


def fit_pose_scale(frames: Tensor, depth: Tensor, cameras: Cameras) -> float:
    """Find the factor by which depth must be multiplied to be in the unit of the camera poses.

    Points of a frame are projected into another one at a series of scales. At the right one, they have its colors and
    depths.

    Args:
        frames: (T, 3, H, W), values 0 to 1.
        depth: (T, H, W) float32 z-depth up to a scale; 0 where invalid.
        cameras: T cameras over (H, W).

    Returns:
        The factor, above 0; 1 if the cameras only turn.

    Raises:
        DataError: frames do not overlap, there is no valid depth, or no scale explains the colors.
    """
    valid = depth[depth > 0]
    if torch.equal(cameras.centers, cameras.centers[:1].expand_as(cameras.centers)):
        return 1.0
    pairs = _choose_pairs(cameras)
    if not pairs or not len(valid):
        raise DataError("depth: expected overlapping frames and valid depth, to find the scale of the poses")
    typical = float(valid.median())
    baseline = max(float((cameras.centers[i] - cameras.centers[j]).norm()) for i, j in pairs)
    # The parallax of a point at this distance is the whole view; the scale is near some such distances.
    start = baseline / typical * 8
    exponents = torch.arange(-OCTAVES * PER_OCTAVE, OCTAVES * PER_OCTAVE + 1, dtype=torch.float32, device="cpu")
    scales = (start * 2 ** (exponents / PER_OCTAVE)).tolist()
    errors = [_error(frames, depth, cameras, pairs, scale) for scale in scales]
    best = min(range(len(scales)), key=errors.__getitem__)
    far = errors[-1]  # as if the camera only turned
    if not errors[best] < (1 - MIN_GAIN) * far:
        raise DataError(f"depth: expected frames whose colors tell the scale of the poses, got none better than "
                        f"{1 - errors[best] / far:.1%}")  # fmt: skip
    step = 2 ** (1 / PER_OCTAVE)
    fine = [scales[best] * step ** (2 * n / (FINE - 1) - 1) for n in range(FINE)]
    refined = [_error(frames, depth, cameras, pairs, scale) for scale in fine]
    return float(fine[refined.index(min(refined))])


def _choose_pairs(cameras: Cameras) -> list[tuple[int, int]]:
    """Pairs of frames that see nearly the same, between which the camera moves most."""
    found: list[tuple[int, int]] = []
    for gap in GAPS:
        moved = []
        for i in range(len(cameras) - gap):
            turn = float((cameras.cam2world[i, :3, 2] * cameras.cam2world[i + gap, :3, 2]).sum())
            way = float((cameras.centers[i] - cameras.centers[i + gap]).norm())
            if turn > MIN_COSINE and way > 0:
                moved.append((way, i))
        found += [(i, i + gap) for _, i in sorted(moved, reverse=True)[:PAIRS]]
    return found


def _error(frames: Tensor, depth: Tensor, cameras: Cameras, pairs: list[tuple[int, int]], scale: float) -> float:
    """Median over the pairs of how much colors and depth differ; infinite where too few points are seen."""
    height, width = depth.shape[1:]
    shrink = max(height, width) / GRID
    grid = (max(2, round(height / shrink)), max(2, round(width / shrink)))
    errors = []
    for i, j in pairs:
        points = unproject(depth[i : i + 1] * scale, None, cameras[i], grid=grid)
        uv, z, inside = cameras[j].project(points.xyz)
        seen = points.valid & inside[0]
        if seen.float().mean() < MIN_INSIDE * max(float(points.valid.float().mean()), 1e-3):
            errors.append(float("inf"))
            continue
        column, row = uv[0][seen].long().unbind(-1)
        measured = depth[j, row, column]
        ratio = (z[0][seen] / scale / measured.clamp(min=1e-6)).log().abs()[measured > 0].clamp(max=MAX_RATIO)
        at = (uv[0][seen] / uv.new_tensor([width, height]) * 2 - 1)[None, None]
        there = nnf.grid_sample(frames[j : j + 1], at, align_corners=False, padding_mode="border")[0, :, 0]
        here = nnf.adaptive_avg_pool2d(frames[i : i + 1], grid)[0].flatten(1)[:, seen]
        color = (there - here).abs().mean(0).clamp(max=MAX_ERROR)
        errors.append(float(color.mean()) / MAX_ERROR + (float(ratio.mean()) / MAX_RATIO if len(ratio) else 1.0))
    return float(torch.tensor(errors, dtype=torch.float64, device="cpu").median())
