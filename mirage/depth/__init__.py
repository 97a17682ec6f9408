# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Where the depth of new frames comes from, and how it is brought to the scale of what the memory knows."""

from .alignment import Alignment, align
from .cells import pool_depth, resize_depth
from .estimator import DepthEstimate, DepthEstimator
from .far_side import fill_from_far_side
from .given import GivenDepth, MemoryDepth
from .monocular import MonocularDepth
from .multiview import DepthAnything3Depth, MapAnythingDepth

__all__ = [
    "Alignment",
    "DepthAnything3Depth",
    "DepthEstimate",
    "DepthEstimator",
    "GivenDepth",
    "MapAnythingDepth",
    "MemoryDepth",
    "MonocularDepth",
    "align",
    "fill_from_far_side",
    "pool_depth",
    "resize_depth",
]
