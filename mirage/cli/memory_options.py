# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What is remembered, on the command line: the options, and the source of depth and the filters that they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..depth import DepthEstimator, MonocularDepth
from ..errors import DataError
from ..filters import ConsistencyFilter, EdgeFilter, Filters, MotionFilter
from ..io.files import read_mask, read_text

DEFAULT = "default"


class Remembering(NamedTuple):
    """Where depth comes from, what is left out, and what is noted of both."""

    estimator: DepthEstimator | None
    filters: Filters | None
    settings: dict[str, Any]


def default_filters() -> Filters:
    """Depth edges, what moves, and what stands before a remembered surface; sky is a matter of the scene."""
    return Filters([EdgeFilter(), MotionFilter(), ConsistencyFilter()])


def add_remembering_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is remembered")
    group.add_argument(
        "--depth-model",
        type=Path,
        help="folder of Depth Pro, Depth Anything V2 (metric) or ZoeDepth: gives the depth of new frames, and of the "
        "picture where it has none (default: the memory's own depth)",
    )
    group.add_argument(
        "--filters",
        help="'default' (depth edges, what moves, what contradicts the memory), or a JSON file of filters "
        "(default: none)",
    )
    group.add_argument("--mask", type=Path, help="picture that is white where the picture must not be remembered")


def read_filters(args: argparse.Namespace) -> Filters | None:
    """The filters that are asked for, before anything is loaded."""
    if args.filters is None:
        return None
    if args.filters == DEFAULT:
        return default_filters()
    return Filters.from_json(read_text(Path(args.filters), "filters"))


def read_exclusion(args: argparse.Namespace, size: tuple[int, int]) -> torch.Tensor | None:
    """(H, W) bool, True where the picture must not be remembered."""
    if args.mask is None:
        return None
    mask = read_mask(args.mask)
    if tuple(mask.shape) != size:
        raise DataError(f"{args.mask}: expected a mask of the picture's size {size}, got {tuple(mask.shape)}")
    return mask


def open_remembering(args: argparse.Namespace, device: torch.device) -> Remembering:
    """Load what the options ask for."""
    filters = read_filters(args)
    estimator = None if args.depth_model is None else MonocularDepth.load(args.depth_model, device=device)
    settings = {
        "depth": "memory" if estimator is None else estimator.name,
        "filters": [] if filters is None else filters.to_list(),
    }
    return Remembering(estimator, filters, settings)
