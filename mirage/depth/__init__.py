# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Depth estimators for new frames, and the alignment of their depth to the memory's scale."""

from .alignment import Alignment, align
from .estimator import DepthEstimate, DepthEstimator
from .guess import guess_depth
from .monocular import MonocularDepth
from .multiview import DepthAnything3Depth, MapAnythingDepth
from .pose_scale import fit_pose_scale
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
    "fit_pose_scale",
    "guess_depth",
]
