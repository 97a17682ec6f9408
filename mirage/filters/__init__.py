# SPDX-FileCopyrightText: 2026 The Mirage authors
# SPDX-License-Identifier: Apache-2.0
"""What may be remembered: filters put out sky, what moves, depth edges, and what the memory contradicts.

Every filter marks pixels or cells of a frame for one reason; :class:`Filters` runs several, and the first in their
order names a cell's reason. A cell is out with any marked pixel in it, or with more than a filter's ``max_masked``
share of them. True in a mask means: not to be remembered. The user's own masks are two, ``exclude`` and ``keep``, and
win over every filter.
"""

from .chain import Filters, overlay
from .consistency import ConsistencyFilter
from .geometry import EdgeFilter, FarFilter
from .motion import MotionFilter
from .observation import DepthHistory, Filter, FrameObservation, Observation, Reason, Verdict
from .open_vocabulary import OpenVocabularyFilter
from .semantic import SemanticFilter
from .sky import SkyFilter

__all__ = [
    "ConsistencyFilter",
    "DepthHistory",
    "EdgeFilter",
    "FarFilter",
    "Filter",
    "Filters",
    "FrameObservation",
    "MotionFilter",
    "Observation",
    "OpenVocabularyFilter",
    "Reason",
    "SemanticFilter",
    "SkyFilter",
    "Verdict",
    "overlay",
]
