# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Where the depth of new frames comes from, and how it is brought to the scale of what the memory knows."""

from .alignment import Alignment, align
from .estimator import DepthEstimate, DepthEstimator
from .monocular import MonocularDepth
from .multiview import DepthAnything3Depth, MapAnythingDepth
from .recorded import MemoryDepth, RecordedDepth

__all__ = [
    "Alignment",
    "DepthAnything3Depth",
    "DepthEstimate",
    "DepthEstimator",
    "MapAnythingDepth",
    "MemoryDepth",
    "MonocularDepth",
    "RecordedDepth",
    "align",
]
