# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Command-line options for what is written to the memory: depth network, filters and mask."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..cameras.intrinsics import MAX_ASPECT_ERROR
from ..data.scenes import resize_mask
from ..depth import DepthEstimator, MonocularDepth
from ..errors import DataError
from ..filters import ConsistencyFilter, EdgeFilter, Filters, MotionFilter
from ..filters import read_filters as load_filters
from ..io.arrays import is_array_file
from ..io.files import read_mask
from ..io.photos import read_photo_info
from ..models.nano.depth import NanoDepth
from ..models.nano.files import NANO
from .messages import note

DEFAULT = "default"


class MemoryOptions(NamedTuple):
    """What the options select.

    Attributes:
        estimator: estimates the depth of new frames; None to use the memory's own depth.
        filters: exclude cells from the memory; None to write every cell.
        settings: entries for ``metrics.json``.
    """

    estimator: DepthEstimator | None
    filters: Filters | None
    settings: dict[str, Any]


def default_filters() -> Filters:
    """The filters of ``--filters default``: depth edges, motion and consistency. Sky is left to the user, because only
    outdoor scenes need it."""
    return Filters([EdgeFilter(), MotionFilter(), ConsistencyFilter()])


def add_memory_options(parser: argparse.ArgumentParser, *, mask: bool = True) -> None:
    """Add ``--depth-model``, ``--filters`` and, if wanted, ``--mask`` to a parser."""
    group = parser.add_argument_group("what is written to the memory")
    group.add_argument(
        "--depth-model",
        type=Path,
        metavar="FOLDER",
        help="folder of a depth network: Depth Pro, Depth Anything V2 (metric) or ZoeDepth; or 'nano' for a small one "
        "that is part of this package and knows rooms. It estimates the depth of new frames, and of the image if "
        "--depth is not set (default: new frames take the memory's own depth)",
    )
    group.add_argument(
        "--filters",
        metavar="FILE",
        help="keep unreliable cells out of the memory: 'default' for depth edges, moving objects and contradictions to "
        "the memory, or a JSON file of filters (default: no filters)",
    )
    if not mask:
        return
    group.add_argument(
        "--mask",
        type=Path,
        metavar="FILE",
        help="mask (image or .npy); white pixels are kept out of the memory. One of another size is resized "
        "(default: no mask)",
    )


def read_filters(args: argparse.Namespace) -> Filters | None:
    """The filters of ``--filters``; None if the option is not set.

    Raises:
        DataError: the file is missing, or holds no list of filters.
    """
    if args.filters is None:
        return None
    if args.filters == DEFAULT:
        return default_filters()
    return load_filters(args.filters)


def read_exclusion(
    args: argparse.Namespace, size: tuple[int, int], full: tuple[int, int] | None = None
) -> torch.Tensor | None:
    """Read the mask of ``--mask``.

    Args:
        args: the parsed options.
        size: (H, W) of the image as it was decoded. A mask of another size is resized.
        full: (H, W) of the image in its file; a mask of that size is resized without a note. By default ``size``.

    Returns:
        (H, W) bool, True where the image must not be written to the memory; None if the option is not set.

    Raises:
        DataError: the file is missing or damaged, or the mask has another aspect.
    """
    if args.mask is None:
        return None
    mask = read_mask(args.mask, at_least=size)
    h, w = tuple(mask.shape) if is_array_file(args.mask) else read_photo_info(args.mask).size
    height, width = full or size
    check_mask_aspect(args.mask, (h, w), (height, width))
    if (h, w) != (height, width):
        note(f"{args.mask}: resized from {w} x {h} to the image's {width} x {height} pixels")
    return mask if tuple(mask.shape) == size else resize_mask(mask, size)


def check_mask_aspect(path: Path, mask: tuple[int, int], image: tuple[int, int]) -> None:
    """Check that a mask of size (H, W) has the aspect of its image.

    Raises:
        DataError: it has another aspect.
    """
    if abs(math.log(mask[1] / mask[0] * image[0] / image[1])) > MAX_ASPECT_ERROR:
        expected, got = (f"{width} x {height}" for height, width in (image, mask))
        raise DataError(f"{path}: expected the aspect of the image, {expected}, got {got} pixels")


def load_depth_model(folder: Path, device: torch.device) -> DepthEstimator:
    """Load the depth network of ``--depth-model``.

    Args:
        folder: its folder, or ``nano``.
        device: for the network.

    Raises:
        DataError: it is missing or damaged, or a package is not installed.
    """
    try:
        return NanoDepth.load(device=device) if str(folder) == NANO else MonocularDepth.load(folder, device=device)
    except DataError as error:
        raise DataError(f"--depth-model: {error}") from None


def load_memory_options(args: argparse.Namespace, device: torch.device) -> MemoryOptions:
    """Load the depth network and the filters that the options select.

    Args:
        args: the parsed options.
        device: for the depth network.

    Raises:
        DataError: a file or folder is missing or damaged, or a package is not installed.
    """
    filters = read_filters(args)
    estimator: DepthEstimator | None = None
    if args.depth_model is not None:
        estimator = load_depth_model(args.depth_model, device)
    settings = {
        "depth": "memory" if estimator is None else estimator.name,
        "filters": [] if filters is None else filters.to_list(),
    }
    return MemoryOptions(estimator, filters, settings)
