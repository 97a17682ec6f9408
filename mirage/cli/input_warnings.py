# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Warnings about inputs that can be used but are probably not what was meant."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mirage_kernels import Cameras

from ..errors import DataError
from ..geometry.grids import valid_depth
from .messages import warn

MAX_MEDIAN = 200.0  # m; a larger median is probably one of millimeters
MIN_VALID = 0.02  # share of the pixels with depth
MAX_EXCLUDED = 0.9  # share of the pixels that a mask excludes
MIN_FOV, MAX_FOV = 1.0, 175.0  # degrees
MIN_POSSIBLE_FOV = 1e-3
MAX_SAMPLES = 20_000
# Depth usually decreases towards the bottom of an image, disparity increases. Rank correlation of depth with the row,
# for 73 recorded indoor maps: at most 0.65, for their inverse up to 0.85.
MIN_CORRELATION = 0.7
MIN_CORRELATION_IF_FAR = 0.5  # for maps with a median above this depth in meters
FAR = 15.0


def warn_about_depth(depth: Tensor, name: str) -> None:
    """Warn about a depth map with few valid pixels, in millimeters, or of disparity instead of depth.

    Args:
        depth: (H, W) in meters, with at least one valid pixel.
        name: of the option or file.
    """
    valid = valid_depth(depth)
    share = valid.float().mean().item()
    if share < MIN_VALID:
        warn(f"{name}: only {share:.2%} of the pixels have a valid depth (finite and above 0)")
    values = depth[valid]
    median, largest = values.median().item(), values.max().item()
    correlation = _correlation_with_row(depth, valid)
    if median > MAX_MEDIAN:
        warn(
            f"{name}: the median depth is {median:.4g} m; if the file is in millimeters, pass --depth-scale 0.001"
            + ("; if it holds disparity, convert it to depth" if correlation > MIN_CORRELATION_IF_FAR else "")
        )
    elif correlation > (MIN_CORRELATION_IF_FAR if median > FAR else MIN_CORRELATION):
        warn(
            f"{name}: the values increase towards the bottom of the image (rank correlation {correlation:.2f}), as "
            "those of disparity do; expected depth in meters, which is 1 / disparity up to a factor"
        )
    elif 0.98 <= largest <= 1:
        warn(
            f"{name}: all values lie between 0 and 1 (median {median:.2g}), as those of relative depth or disparity "
            "do; expected depth in meters"
        )


def _correlation_with_row(depth: Tensor, valid: Tensor) -> float:
    """Spearman's rank correlation of depth with the row, on at most 20,000 pixels; 0 for too few or constant ones."""
    row, column = valid.nonzero(as_tuple=True)
    step = -(-len(row) // MAX_SAMPLES)
    row, column = row[::step], column[::step]
    values = depth[row, column]
    if len(values) < 100 or values.min() == values.max():
        return 0.0
    rank = values.argsort().argsort().double()
    return float(torch.corrcoef(torch.stack([rank, row.double()]))[0, 1].nan_to_num())


def warn_about_intrinsics(cameras: Cameras, name: str) -> None:
    """Warn about a principal point outside the image, and about a field of view that no usual camera has.

    Args:
        cameras: over the image; only the first is looked at.
        name: of the option or file.

    Raises:
        DataError: the field of view is so small that the intrinsics cannot be meant.
    """
    (fx, _, cx), (_, fy, cy), _ = cameras.intrinsics[0].tolist()
    h, w = cameras.size
    if not (0 <= cx <= w and 0 <= cy <= h):
        warn(
            f"{name}: the principal point ({cx:.4g}, {cy:.4g}) lies outside the image of {w} x {h} pixels; are the "
            "intrinsics those of another size?"
        )
    angle = math.degrees(2 * math.atan(max(w / fx, h / fy) / 2))
    if angle < MIN_POSSIBLE_FOV:
        raise DataError(
            f"{name}: expected intrinsics in pixels of the image, got a field of view of {angle:.3g} degrees"
        )
    if not MIN_FOV <= angle <= MAX_FOV:
        warn(f"{name}: the field of view is {angle:.3g} degrees; are the intrinsics in pixels of the image?")


def warn_about_exclusion(depth: Tensor, exclude: Tensor | None, name: str) -> None:
    """Warn if a mask leaves little or nothing of an image with depth.

    Args:
        depth: (H, W) in meters.
        exclude: (H, W) bool, True where the image is excluded; None if there is no mask.
        name: of the option or file.
    """
    if exclude is None:
        return
    share = exclude.float().mean().item()
    if not (valid_depth(depth) & ~exclude).any() and valid_depth(depth).any():
        warn(f"{name}: excludes {share:.1%} of the image, and leaves nothing with depth to write; white is excluded")
    elif share > MAX_EXCLUDED:
        warn(f"{name}: excludes {share:.1%} of the image; white is excluded, is the mask inverted?")
