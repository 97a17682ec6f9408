# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""Filters that keep unreliable cells out of the memory: sky, moving objects, depth edges, inconsistent depth.

Each filter marks pixels or cells of a frame for one :class:`Reason`. :class:`Filters` runs several filters; the first
one that marks a cell sets its reason. A cell is marked if more than a fraction ``max_masked`` of its pixels is marked
(0: any pixel). In masks, True means: do not write to the memory. The user's masks ``exclude`` and ``keep`` take
precedence over all filters.
"""

from .chain import Filters, overlay, read_filters
from .consistency import ConsistencyFilter
from .geometry import EdgeFilter, FarFilter
from .motion import MotionFilter
from .observation import DepthHistory, Filter, FilterResult, FrameObservation, Observation, Reason
from .open_vocabulary import OpenVocabularyFilter
from .semantic import SemanticFilter
from .sky import SkyFilter

__all__ = [
    "ConsistencyFilter",
    "DepthHistory",
    "EdgeFilter",
    "FarFilter",
    "Filter",
    "FilterResult",
    "Filters",
    "FrameObservation",
    "MotionFilter",
    "Observation",
    "OpenVocabularyFilter",
    "Reason",
    "SemanticFilter",
    "SkyFilter",
    "overlay",
    "read_filters",
]
